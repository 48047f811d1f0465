"""The pack's icon and banner in the Comfy registry, from the portrait in `pictures/`, by the bundled model.

    python -m benchmarks.icon [--to docs/images]

Half of each is the portrait with its colours estimated, over a new colour; half is the matte, hair by hair.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitmatte import cut_out
from vitmatte.compositing.blend import composite
from vitmatte.pictures.reading import read_mask

from .pictures import PORTRAIT, ROOT, alpha_of, example

ICON, BANNER = (400, 400), (1260, 540)  # the registry takes icons up to 400 x 400, and banners of 21:9
HEAD = (126, 4, 614, 492)  # of the portrait: left, top, right, bottom
BUST = (0, 0, 640, 540)
SPLIT = 0.52  # of the head's width is picture, the rest matte
TOP, BOTTOM = (255, 176, 59), (233, 79, 92)  # the new background, a ramp from top to bottom
DARK, WHITE, GREY = (17, 18, 23), (255, 255, 255), (171, 175, 186)


def ramp(height: int, width: int) -> Tensor:
    """[1, H, W, 3], the new background."""
    colours = torch.tensor([TOP, BOTTOM], dtype=torch.float32) / 255
    return torch.lerp(colours[0], colours[1], torch.linspace(0, 1, height)[:, None])[None, :, None].expand(
        1, height, width, 3)


def halves() -> tuple[Image.Image, Image.Image]:
    """The whole portrait over the ramp, and its matte over the dark."""
    image = example("portrait.jpg")
    alpha = alpha_of(PORTRAIT, image, read_mask(ROOT / "pictures/portrait-mask.png"))
    cut = cut_out(image, alpha)
    picture = composite(cut[..., :3], alpha, ramp(*image.shape[1:3]))
    dark = torch.tensor(DARK) / 255
    matte = dark + alpha[..., None] * (1 - dark)
    first, second = (Image.fromarray((part[0].numpy() * 255).round().astype(np.uint8)) for part in (picture, matte))
    return first, second


def split(picture: Image.Image, matte: Image.Image, at: int) -> Image.Image:
    """`picture` left of `at`, `matte` right of it."""
    whole = picture.copy()
    whole.paste(matte.crop((at, 0, *matte.size)), (at, 0))
    return whole


def icon(picture: Image.Image, matte: Image.Image) -> Image.Image:
    """The head, half and half."""
    first, second = (part.resize(ICON, Image.Resampling.LANCZOS, box=HEAD) for part in (picture, matte))
    return split(first, second, round(SPLIT * ICON[0]))


def banner(picture: Image.Image, matte: Image.Image) -> Image.Image:
    """The same at the portrait's own size, and the name on what is left of the matte's background."""
    whole = Image.new("RGB", BANNER, DARK)
    whole.paste(split(picture, matte, round(HEAD[0] + SPLIT * (HEAD[2] - HEAD[0]))).crop(BUST), (0, 0))
    draw = ImageDraw.Draw(whole)
    draw.text((720, 190), "ViTMatte", fill=WHITE, font=ImageFont.load_default(104), stroke_width=1)
    draw.text((725, 312), "for ComfyUI", fill=GREY, font=ImageFont.load_default(46))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    parts = halves()
    icon(*parts).save(folder / "icon.png", optimize=True)
    banner(*parts).save(folder / "banner.jpg", quality=92, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
