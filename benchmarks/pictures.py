"""The result pictures of README.md: the workflows' pictures and settings, through the library and the bundled model.

    python -m benchmarks.pictures [--only NAME] [--to docs/images]

Each shows what went in beside what came out. `hair` shows crops at full size over one colour, all with the same
matte, and only the colours estimated differently: not at all, by pymatting, by this library. It needs pymatting.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background
from vitmatte.compositing.blend import colour, composite
from vitmatte.pictures.reading import read_image, read_mask

from .foreground import METHODS, estimate

ROOT = Path(__file__).parent.parent

# Templates: what is shown is made with their settings.
PORTRAIT = "Change the background of a portrait (ViTMatte matting)"
PRODUCT = "Product photo on transparent background (ViTMatte matting)"
SEGMENTED = "Refine a SAM mask (ViTMatte matting)"
SCREEN = "Green screen keying without spill (ViTMatte matting)"
TRIMAP = ("inner", "outer", "unit", "invert", "low", "high", "fill_holes", "remove_specks", "strands")
CROP = 210  # pixels a side
GAP, WIDTH, QUALITY = 8, 1000, 82  # pixels between two pictures and of all of them at most (see WIDTHS); of the JPEG


def example(name: str) -> Tensor:
    """A picture [1, H, W, 3]."""
    return read_image(ROOT / "pictures" / name)


def settings(workflow: str) -> dict[str, object]:
    """Of the workflow's trimap node, as arguments of `make_trimap`."""
    nodes = json.loads((ROOT / "workflows" / f"{workflow}.json").read_text(encoding="utf-8"))["nodes"]
    values = next(node["widgets_values"] for node in nodes if node["type"] == "ViTMatteTrimap")
    return dict(zip(TRIMAP, values, strict=True))


def alpha_of(workflow: str, image: Tensor, mask: Tensor, refine: float = 1) -> Tensor:
    """[1, H, W], with that workflow's trimap."""
    trimap = make_trimap(mask, image=image, **settings(workflow))  # type: ignore[arg-type]
    return matte(load_model("vitmatte-tiny"), image, trimap, refine=refine)


def checkerboard(height: int, width: int, side: int = 16) -> Tensor:
    """[1, H, W, 3], light greys."""
    rows, columns = torch.arange(height)[:, None] // side, torch.arange(width) // side
    return (0.78 + 0.22 * ((rows + columns) % 2))[None, ..., None].expand(1, height, width, 3)


def steps() -> list[Tensor]:
    """What `make demo` does with the portrait, step by step."""
    image, mask = example("portrait.jpg"), read_mask(ROOT / "pictures/portrait-mask.png")
    trimap = make_trimap(mask, inner=20, outer=30)
    alpha = matte(load_model("vitmatte-tiny"), image, trimap, refine=1)
    planes = (plane.reshape(1, *image.shape[1:3], 1).expand(-1, -1, -1, 3) for plane in (mask, trimap, alpha))
    return [picture[:, :, 40:760] for picture in (image, *planes, replace_background(image, alpha, colour("#c83c9f")))]


def portrait() -> list[Tensor]:
    image = example("portrait.jpg")
    alpha = alpha_of(PORTRAIT, image, read_mask(ROOT / "pictures/portrait-mask.png"))
    return [image, replace_background(image, alpha, example("lake.jpg"))]


def product() -> list[Tensor]:
    image = example("plant.jpg")
    alpha = alpha_of(PRODUCT, image, read_mask(ROOT / "pictures/plant-mask.png"))
    cut = cut_out(image, alpha)
    return [image, composite(cut[..., :3], cut[..., 3], checkerboard(*image.shape[1:3]))]


def refined() -> list[Tensor]:
    image, mask = example("lemur.jpg"), read_mask(ROOT / "pictures/lemur-segmentation.png")
    alpha = alpha_of(SEGMENTED, image, mask)
    planes = (plane.reshape(1, *image.shape[1:3], 1).expand(-1, -1, -1, 3) for plane in (mask, alpha))
    return [picture[:, 40:, 140:548] for picture in (image, *planes)]


def screen() -> list[Tensor]:
    image = example("green-screen.jpg")
    alpha = alpha_of(SCREEN, image, read_mask(ROOT / "pictures/portrait-mask.png"))
    before = replace_background(image, alpha, example("lake.jpg"), estimate=False)
    return [image, before, replace_background(image, alpha, example("lake.jpg"), despill="green")]


def hair() -> list[Tensor]:
    """Columns: METHODS. Rows: the portrait's hair over purple, the lemur's fur over blue."""
    columns: list[list[Tensor]] = [[] for _ in METHODS]
    for name, mask, workflow, behind, top, left in (
        ("portrait.jpg", "portrait-mask.png", PORTRAIT, "#5a1e78", 20, 400),
        ("lemur.jpg", "lemur-segmentation.png", SEGMENTED, "#1e3cb4", 60, 360),
    ):
        image = example(name)
        alpha = alpha_of(workflow, image, read_mask(ROOT / "pictures" / mask))
        for column, method in zip(columns, METHODS, strict=True):
            kind = np.float64 if method == "pymatting" else np.float32
            found = estimate(method, image[0].numpy().astype(kind), alpha[0].numpy().astype(kind))
            shown = composite(torch.from_numpy(found).float()[None], alpha, colour(behind))
            column.append(shown[:, top : top + 220, left : left + 240])
    return [torch.cat(column, dim=1) for column in columns]


def strands() -> list[Tensor]:
    """Columns: photograph, mattes without and with the refinement, cut-outs of both. Rows: the portrait, the plant."""
    columns: list[list[Tensor]] = [[] for _ in range(5)]
    for name, mask, workflow, top, left in (("portrait.jpg", "portrait-mask.png", PORTRAIT, 10, 410),
                                            ("plant.jpg", "plant-mask.png", PRODUCT, 60, 60)):
        image, rough = example(name), read_mask(ROOT / "pictures" / mask)
        mattes = [alpha_of(workflow, image, rough, refine) for refine in (0, 1)]
        shown = [image, *(alpha[..., None].expand(-1, -1, -1, 3) for alpha in mattes),
                 *(replace_background(image, alpha, colour("#1e5ab4")) for alpha in mattes)]
        for column, picture in zip(columns, shown, strict=True):
            column.append(picture[:, top:top + CROP, left:left + CROP])
    return [torch.cat(column, dim=1) for column in columns]


PICTURES = {"portrait": steps, "portrait-lake": portrait, "plant-cutout": product, "lemur-refined": refined,
            "green-screen-lake": screen, "hair-colours": hair, "refined-strands": strands}
WIDTHS = {"portrait": 1832, "refined-strands": 1100}


def beside(pictures: list[Tensor], most: int) -> Image.Image:
    """One picture, white between them; crops at full size fit without being made smaller."""
    height = pictures[0].shape[1]
    gap = torch.ones(1, height, GAP, 3)
    row = torch.cat([part for picture in pictures for part in (gap, picture.float())][1:], dim=2)
    whole = Image.fromarray((row[0].clamp(0, 1) * 255).round().byte().numpy())
    if whole.width > most:
        whole = whole.resize((most, round(whole.height * most / whole.width)), Image.Resampling.LANCZOS)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description="the pictures of README.md")
    parser.add_argument("--only", choices=PICTURES)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    for name in [options.only] if options.only else PICTURES:
        target = options.to / f"{name}.jpg"
        beside(PICTURES[name](), WIDTHS.get(name, WIDTH)).save(target, quality=QUALITY, optimize=True)
        print(f"{target} {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
