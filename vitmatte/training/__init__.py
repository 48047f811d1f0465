"""Training a ViTMatte: composites made on the fly, the loop, and what it leaves on disk.

    python -m vitmatte train recipe.json

recipe (the configuration) <- data (composites) <- state (optimizer, ema, vit_weights) and validation <- loop.
"""
