"""Training a ViTMatte: composites made on the fly, the loop, and what it leaves on disk.

    python -m vitmatte train recipe.json

recipe (the configuration) <- pictures <- placing, optics, light, strands, sheer <- composites <- stream <- loop.
"""
