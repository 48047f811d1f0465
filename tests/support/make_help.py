"""Pictures of the nodes' help pages that need no ComfyUI: `python tests/support/make_help.py`.

- web/docs/ViTMatteTrimap/options.jpg: what radii, strands and marks do to the unknown area.
- web/docs/ViTMatteMatting/wrong.jpg: what a wrong trimap does to the matte.
"""

from __future__ import annotations

import torch
from make_pictures import ROOT, save_jpeg
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background
from vitmatte.compositing.blend import colour
from vitmatte.compositing.overlay import tint
from vitmatte.pictures.reading import read_image, read_mask

PANEL, GAP, LABEL = 300, 6, 26  # pixels
BYTES = 90_000
TOP, LEFT, SIDE = 40, 340, 400  # of the portrait that is shown: hair


def sheet(panels: list[tuple[str, Tensor]]) -> Image.Image:
    """Pictures [1, H, W, 3] side by side, each with a line of text below."""
    whole = Image.new("RGB", (len(panels) * (PANEL + GAP) - GAP, PANEL + LABEL), (32, 32, 32))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(15)
    for i, (text, picture) in enumerate(panels):
        part = picture[0, TOP:TOP + SIDE, LEFT:LEFT + SIDE].mul(255).round().to(torch.uint8)
        whole.paste(Image.fromarray(part.numpy()).resize((PANEL, PANEL), Image.Resampling.LANCZOS),
                    (i * (PANEL + GAP), 0))
        draw.text((i * (PANEL + GAP) + 4, PANEL + 3), text, fill=(230, 230, 230), font=font)
    return whole


def main() -> None:
    image, mask = read_image(ROOT / "pictures/portrait.jpg"), read_mask(ROOT / "pictures/portrait-mask.png")
    mark = torch.zeros_like(mask)
    mark[:, 300:420, 560:680] = 1
    trimaps = {
        "inner 6, outer 6": make_trimap(mask, inner=6, outer=6),
        "inner 20, outer 30": make_trimap(mask, inner=20, outer=30),
        "outer 6, strands 40": make_trimap(mask, inner=20, outer=6, strands=40, image=image),
        "background mark": make_trimap(mask, inner=20, outer=30, background=mark),
    }
    save_jpeg(sheet([(text, tint(image, trimap)) for text, trimap in trimaps.items()]),
              ROOT / "web/docs/ViTMatteTrimap/options.jpg", BYTES)

    model, dark = load_model(), colour("#20242c")

    def result(trimap: Tensor) -> Tensor:
        return replace_background(image, matte(model, image, trimap), dark)

    good = trimaps["inner 20, outer 30"]
    plain = cut_out(image, matte(model, image, good), estimate=False)
    save_jpeg(sheet([
        ("as it should be", result(good)),
        ("unknown area too narrow", result(trimaps["inner 6, outer 6"])),
        ("rough mask as trimap", result(mask)),
        ("mask the wrong way round", result(make_trimap(mask, inner=20, outer=30, invert=True))),
        ("colours of the picture kept", plain[..., :3] * plain[..., 3:] + (1 - plain[..., 3:]) * dark),
    ]), ROOT / "web/docs/ViTMatteMatting/wrong.jpg", BYTES)


if __name__ == "__main__":
    main()
