"""Pictures of the nodes' help pages that need no ComfyUI: `python tests/support/make_help.py [NODE ...]`.

- web/docs/ViTMatteTrimap/radii.jpg, strands.jpg, marks.jpg: what these do to the unknown area.
- web/docs/NODE/wrong.jpg: how it looks when something went wrong; the numbers are those of the page's table. The page
  of Trimap from Mask shows that of Preview Trimap.

All are made from the pack's photographs, its clip and the bundled model, at the size that they are shown at. With
names of nodes only their pictures are made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from make_pictures import ROOT, save_jpeg
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

sys.path.insert(0, str(ROOT))

from vitmatte import Steady, cut_out, load_model, make_trimap, matte, replace_background  # noqa: E402
from vitmatte.compositing.blend import colour, composite  # noqa: E402
from vitmatte.compositing.overlay import tint  # noqa: E402
from vitmatte.pictures.reading import read_image, read_mask  # noqa: E402
from vitmatte.video.file import VideoFile  # noqa: E402

DOCS = ROOT / "web/docs"
PANEL, GAP, LABEL = 240, 6, 26  # pixels
BYTES = 60_000
Box = tuple[int, int, int]  # top, left and side of the square of a picture that is shown
HAIR: Box = (40, 340, 400)  # of the portrait
HEAD: Box = (0, 100, 700)
FUR: Box = (20, 120, 460)  # of the lemur
LEAVES: Box = (60, 220, 360)  # of the plant
POT: Box = (290, 310, 240)
LEMUR: Box = (0, 80, 320)  # of the clip
NECK: Box = (0, 80, 180)
RIM: Box = (10, 80, 100)
CLIPS = {"ViTMatteVideo", "ViTMatteSteady", "ViTMatteExampleVideo"}  # nodes that take or give the clip
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


def shaken(person: Subject, radius: float, steady: float = 0.0) -> Tensor:
    """What of a matte changes, in red, when the mask of a still picture moves by 3 pixels to and fro."""
    model = load_model()
    trimaps = [make_trimap(mask, inner=radius, outer=radius) for mask in (person.mask, person.mask.roll(3, 2))]
    both = [matte(model, person.image, trimap) for trimap in trimaps]
    if steady:
        steadier, found = Steady(steady), []
        for i in range(8):
            found += steadier.push(person.image[0], both[i % 2][0], trimaps[i % 2][0])
        both = [frame.alpha[None] for frame in found[4:6]]
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


def of_clip(number: int) -> Subject:
    """A frame of the clip and its mask."""
    image, mask = ([frame.image for frame in VideoFile(ROOT / "pictures" / name).frames()][number][None]
                   for name in ("clip.mp4", "clip-masks.mkv"))
    return Subject(image, mask[..., 0])


def wrong_of_clips() -> dict[str, Panels]:
    """What went wrong, by node of CLIPS."""
    model, dark = load_model(), colour("#20242c")
    now, before = of_clip(30), of_clip(12)
    wide = torch.nn.functional.max_pool2d(now.mask, 17, stride=1, padding=8)  # background for 8 pixels

    def found(one: Subject, inner: float = 12, outer: float = 14, **options: bool) -> Tensor:
        return matte(model, one.image, make_trimap(one.mask, inner=inner, outer=outer, **options))  # type: ignore[arg-type]

    def over(alpha: Tensor) -> Tensor:
        return replace_background(now.image, alpha, dark)

    good = over(found(now)), LEMUR
    return {
        "ViTMatteVideo": numbered(
            good, (over(found(Subject(now.image, before.mask))), LEMUR), (over(found(now, invert=True)), LEMUR),
            (shaken(now, 5), NECK), (over(found(Subject(now.image, wide), 2, 14)), NECK)),
        "ViTMatteSteady": numbered(good, (over(found(before)), LEMUR), (shaken(now, 3, steady=0.5), RIM)),
        "ViTMatteExampleVideo": numbered(
            (now.image, LEMUR), (now.mask[..., None].expand(-1, -1, -1, 3), LEMUR), (stained(now), NECK)),
    }


def main(nodes: list[str]) -> None:
    made: dict[str, Panels] = {}
    if not nodes or "ViTMatteTrimap" in nodes:
        found = options(subject("portrait.jpg", "portrait-mask.png"))
        made |= {f"ViTMatteTrimap/{name}": panels for name, panels in found.items()}
    pages = wrong() if not nodes or set(nodes) - CLIPS - {"ViTMatteTrimap"} else {}
    if not nodes or set(nodes) & CLIPS:
        pages |= wrong_of_clips()
    made |= {f"{node}/wrong": panels for node, panels in pages.items() if not nodes or node in nodes}
    for name, panels in made.items():
        save_jpeg(sheet(panels), DOCS / f"{name}.jpg", BYTES)


if __name__ == "__main__":
    main(sys.argv[1:])
