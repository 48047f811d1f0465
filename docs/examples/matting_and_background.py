"""The two things that Hugging Face's demonstration of ViTMatte shows, offline: a matte, and another background.

    python docs/examples/matting_and_background.py

It takes the bundled model and the pack's own pictures, calls what the documentation calls, and writes alpha.png,
cutout.png and lake.png to the working folder (or the one given). Run it where `vitmatte` can be imported: in the pack's
folder, or after `pip install .`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from vitmatte import (  # noqa: E402
    VitMatteForImageMatting,
    VitMatteImageProcessor,
    cut_out,
    make_trimap,
    replace_background,
)

MODEL = ROOT / "vitmatte" / "bundled" / "vitmatte-tiny"  # or "hustvl/vitmatte-small-composition-1k"


def main(folder: Path) -> None:
    # 1. A photograph, and a trimap: here from a rough mask; a hand-made one is as good.
    image = Image.open(ROOT / "pictures" / "portrait.jpg").convert("RGB")
    mask = Image.open(ROOT / "pictures" / "portrait-mask.png").convert("L")
    rough = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)
    trimap = Image.fromarray((make_trimap(rough, inner=20, outer=30) * 255).byte().numpy())

    # 2. The matte, as the documentation makes it.
    processor = VitMatteImageProcessor.from_pretrained(MODEL)
    model = VitMatteForImageMatting.from_pretrained(MODEL)
    inputs = processor(images=image, trimaps=trimap, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    alpha = processor.post_process_image_matting(outputs, [(image.height, image.width)])[0]

    # 3. A new background: the subject's own colours, without what shone through the hair.
    picture = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None]
    lake = Image.open(ROOT / "pictures" / "lake.jpg").convert("RGB")
    scene = torch.from_numpy(np.asarray(lake, dtype=np.float32) / 255)[None]
    new = replace_background(picture, alpha[None], scene, fit="cover")
    cutout = cut_out(picture, alpha[None])

    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in (("alpha", alpha), ("cutout", cutout[0]), ("lake", new[0])):
        Image.fromarray((pixels * 255).round().byte().numpy()).save(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
