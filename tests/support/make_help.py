"""Pictures of the nodes' help pages that need no ComfyUI: `PYTHONPATH=. python tests/support/make_help.py`.

- web/docs/ViTMatteTrimap/radii.jpg, strands.jpg, marks.jpg: what these do to the unknown area.
- web/docs/NODE/wrong.jpg: how it looks when something went wrong; the numbers are those of the page's table. The page
  of Trimap from Mask shows that of Preview Trimap.

All are made from the pack's photographs and the bundled model, at the size that they are shown at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from make_pictures import ROOT, save_jpeg
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background
from vitmatte.compositing.blend import colour, composite
from vitmatte.compositing.overlay import tint
from vitmatte.pictures.reading import read_image, read_mask

DOCS = ROOT / "web/docs"
PANEL, GAP, LABEL = 240, 6, 26  # pixels
BYTES = 60_000
Box = tuple[int, int, int]  # top, left and side of the square of a picture that is shown
HAIR: Box = (40, 340, 400)  # of the portrait
HEAD: Box = (0, 100, 700)
FUR: Box = (20, 120, 460)  # of the lemur
LEAVES: Box = (60, 220, 360)  # of the plant
POT: Box = (290, 310, 240)
Panels = list[tuple[str, Tensor, Box]]  # text below, picture [1, H, W, 3], what of it is shown


@dataclass(frozen=True)
class Subject:
    """A photograph [1, H, W, 3] with the mask [1, H, W] that comes with it."""

    image: Tensor
    mask: Tensor

    def trimap(self, inner: float = 20, outer: float = 30, **options: object) -> Tensor:
        """[1, H, W]."""
        return make_trimap(self.mask, inner=inner, outer=outer, image=self.image, **options)  # type: ignore[arg-type]


def subject(image: str, mask: str) -> Subject:
    """Two files of pictures/."""
    return Subject(read_image(ROOT / "pictures" / image), read_mask(ROOT / "pictures" / mask))


def sheet(panels: Panels) -> Image.Image:
    """Pictures side by side, each with a line of text below."""
    whole = Image.new("RGB", (len(panels) * (PANEL + GAP) - GAP, PANEL + LABEL), (32, 32, 32))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(15)
    for i, (text, picture, (top, left, side)) in enumerate(panels):
        part = picture[0, top:top + side, left:left + side].clamp(0, 1).mul(255).round().to(torch.uint8)
        whole.paste(Image.fromarray(part.numpy()).resize((PANEL, PANEL), Image.Resampling.LANCZOS),
                    (i * (PANEL + GAP), 0))
        draw.text((i * (PANEL + GAP) + 5, PANEL + 3), text, fill=(230, 230, 230), font=font)
    return whole


def numbered(*shown: tuple[Tensor, Box]) -> Panels:
    """1, 2, 3 below pictures, which a table in any language explains."""
    return [(str(i + 1), picture, box) for i, (picture, box) in enumerate(shown)]


def stained(one: Subject) -> Tensor:
    """A photograph, purple outside of its mask."""
    return one.image + (1 - one.mask[..., None]) * 0.7 * (colour("#a01e90") - one.image)


def boxed(shape: torch.Size, top: int, left: int, height: int, width: int) -> Tensor:
    """A mask of that shape which is 1 in a rectangle, as one paints a mark."""
    mark = torch.zeros(shape)
    mark[:, top:top + height, left:left + width] = 1
    return mark


def outlined(picture: Tensor, mark: Tensor) -> Tensor:
    """A picture with a white line round a mark [1, H, W]."""
    inner = -torch.nn.functional.max_pool2d(-mark, 7, stride=1, padding=3)
    return torch.where((mark > inner)[..., None], torch.ones(()), picture)


def options(person: Subject) -> dict[str, Panels]:
    """What radii, strands and marks do to the unknown area of a trimap."""
    def seen(**given: object) -> tuple[Tensor, Box]:
        return tint(person.image, person.trimap(**given)), HAIR  # type: ignore[arg-type]

    def marked(**mark: Tensor) -> tuple[Tensor, Box]:
        picture, box = seen(**mark)
        return outlined(picture, *mark.values()), box

    marks = {"unknown": (330, 380, 90, 90), "foreground": (150, 520, 90, 60), "background": (270, 560, 130, 130)}
    return {
        "radii": [(f"inner {inner}, outer {outer}", *seen(inner=inner, outer=outer))
                  for inner, outer in ((6, 6), (20, 30), (60, 60))],
        "strands": [(f"outer 6, strands {strands}", *seen(outer=6, strands=strands)) for strands in (0, 15, 60)],
        "marks": [(name, *marked(**{name: boxed(person.mask.shape, *place)})) for name, place in marks.items()],
    }


def shaken(person: Subject, radius: float) -> Tensor:
    """What of a matte changes, in red, when the mask of a still picture moves by 3 pixels."""
    model = load_model()
    both = [matte(model, person.image, make_trimap(mask, inner=radius, outer=radius))
            for mask in (person.mask, person.mask.roll(3, 2))]
    change = ((both[0] - both[1]).abs() * 2).clamp(0, 1)[..., None]
    return person.image * (1 - change) * 0.6 + change * torch.tensor([1.0, 0.15, 0.1])


def wrong() -> dict[str, Panels]:
    """What went wrong, by node."""
    model, dark = load_model(), colour("#20242c")
    person, plant = subject("portrait.jpg", "portrait-mask.png"), subject("plant.jpg", "plant-mask.png")
    lake, screen = read_image(ROOT / "pictures/lake.jpg"), read_image(ROOT / "pictures/green-screen.jpg")
    good, narrow, inverted = person.trimap(), person.trimap(4, 4), person.trimap(invert=True)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in person.mask.shape[1:]), indexing="ij")
    pierced = Subject(person.image, person.mask * ((rows - 300).hypot(columns - 330.0) > 60))
    alpha, keyed, leaves = (matte(model, picture, trimap) for picture, trimap in (
        (person.image, good), (screen, good), (plant.image, plant.trimap(0, 0))))
    holed, backwards = (matte(model, person.image, trimap) for trimap in (pierced.trimap(), inverted))

    def over(trimap: Tensor) -> Tensor:
        return replace_background(person.image, matte(model, person.image, trimap), dark)

    rim = replace_background(screen, keyed, dark, estimate=False), HAIR
    olive = cut_out(plant.image, leaves, despill="green")
    return {
        "ViTMatteMatting": numbered((over(good), HAIR), (over(narrow), HAIR), (over(person.mask), HAIR),
                                    (over(inverted), HAIR), (shaken(person, 5), HAIR)),
        "ViTMatteTrimapPreview": numbered(
            *((tint(person.image, trimap), HEAD)
              for trimap in (good, narrow, person.trimap(90, 140), pierced.trimap(), inverted))),
        "ViTMatteForeground": numbered(
            (over(good), HAIR), rim,
            (composite(olive[..., :3], leaves, dark), LEAVES), (replace_background(person.image, holed, dark), HEAD)),
        "ViTMatteReplaceBackground": numbered(
            (replace_background(person.image, alpha, lake), HEAD), rim,
            (replace_background(person.image, backwards, lake), HEAD),
            (replace_background(person.image, holed, lake), HEAD), (shaken(person, 5), HAIR)),
        "ViTMatteModelLoader": numbered((replace_background(person.image, alpha, dark), HAIR),
                                        (replace_background(plant.image, leaves, dark), POT)),
        "ViTMatteExample": numbered(
            (stained(person), HEAD), (stained(subject("lemur.jpg", "lemur-segmentation.png")), FUR),
            (stained(Subject(lake, torch.zeros(lake.shape[:3]))), (0, 200, min(lake.shape[1:3])))),
    }


def main() -> None:
    for name, panels in options(subject("portrait.jpg", "portrait-mask.png")).items():
        save_jpeg(sheet(panels), DOCS / f"ViTMatteTrimap/{name}.jpg", BYTES)
    for node, panels in wrong().items():
        save_jpeg(sheet(panels), DOCS / f"{node}/wrong.jpg", BYTES)


if __name__ == "__main__":
    main()
