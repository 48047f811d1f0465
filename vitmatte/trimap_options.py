"""The command line's options for trimaps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from . import image_files
from .trimap import INNER, OUTER, UNITS, make_trimap

MARKS = ("unknown", "foreground", "background")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `trimap_of` reads."""
    for name, default, place in (("inner", INNER, "into"), ("outer", OUTER, "outside")):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="N",
                            help=f"how far the unknown area reaches {place} the mask (default: %(default)g)")
    parser.add_argument("--unit", choices=UNITS, default="pixels",
                        help="of inner, outer and strands; percent: of the side of a square of the subject's area")
    parser.add_argument("--strands", type=float, default=0.0, metavar="N",
                        help="so much further than outer the unknown area may follow hair and fur in the photograph")
    parser.add_argument("--invert", action="store_true", help="the mask is black where the subject is")
    parser.add_argument("--low", type=float, default=0.0, help="mask values (0 to 1) up to this are background")
    parser.add_argument("--high", type=float, default=1.0,
                        help="mask values from this on are foreground, between low and high unknown; both 0.5: a hard "
                             "mask with smooth edges")
    parser.add_argument("--fill-holes", type=int, default=0, metavar="AREA", help="fill holes of up to AREA pixels")
    parser.add_argument("--remove-specks", type=int, default=0, metavar="AREA", help="remove bits of up to AREA pixels")
    for mark in MARKS:
        parser.add_argument(f"--mark-{mark}", type=Path, metavar="FILE",
                            help=f"what is white in this picture is {mark} (or a folder: files of the same names)")


def trimap_of(options: argparse.Namespace, mask: Path, photo: Path | None) -> Tensor:
    """The trimap [1, H, W] of a mask's file; the photograph's is read only for strands.

    Raises:
        ValueError, OSError: from reading and from `make_trimap`, with the mask's name.
    """
    marks: dict[str, Any] = {}
    for name in MARKS:
        given = getattr(options, f"mark_{name}")
        if given is not None:
            marks[name] = image_files.read_mask(_counterpart(given, mask))
    image = image_files.read_image(photo) if photo is not None and options.strands > 0 else None
    values = image_files.read_mask(mask)
    try:
        return make_trimap(values, inner=options.inner, outer=options.outer, unit=options.unit, invert=options.invert,
                           low=options.low, high=options.high, fill_holes=options.fill_holes, image=image,
                           remove_specks=options.remove_specks, strands=options.strands, **marks)
    except ValueError as error:
        raise ValueError(f"{mask}: {error}") from error


def _counterpart(given: Path, mask: Path) -> Path:
    """The file of a folder that has the mask's name up to the suffix; or the file itself."""
    if not given.is_dir():
        return given
    found = [path for path in image_files.pictures_in(given) if path.stem == mask.stem]
    if not found:
        raise FileNotFoundError(f"nothing in {given} for {mask.name}; expected a picture of the same name, any suffix")
    return found[0]
