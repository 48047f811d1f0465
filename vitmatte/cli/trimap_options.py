"""The command line's options for trimaps."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import TOLERANCE
from ..pictures import reading
from ..pictures.pairing import counterparts
from ..trimap.make import INNER, OUTER, UNITS, check_options, make_trimap

log = logging.getLogger(__name__)

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


Marks = dict[str, Path]  # by the name of what they mark


def given_marks(options: argparse.Namespace) -> list[Path]:
    """The files and folders of marks that are given."""
    return [given for name in MARKS if (given := getattr(options, f"mark_{name}")) is not None]


def check(options: argparse.Namespace) -> None:
    """Raises ValueError for options that `make_trimap` does not take."""
    check_options(inner=options.inner, outer=options.outer, strands=options.strands, unit=options.unit,
                  low=options.low, high=options.high, fill_holes=options.fill_holes,
                  remove_specks=options.remove_specks)


def marks_of(options: argparse.Namespace, masks: list[Path]) -> dict[Path, Marks]:
    """The files of marks that belong to each mask: those of its name in a folder (see `pairing`), or one for all.

    Raises:
        ValueError, OSError: options that `make_trimap` does not take, or marks that are not there; before any work.
    """
    check(options)
    marks: dict[Path, Marks] = {mask: {} for mask in masks}
    for name in MARKS:
        given: Path | None = getattr(options, f"mark_{name}")
        if given is None:
            continue
        if not given.exists():
            raise FileNotFoundError(f"no picture or folder {given}, for --mark-{name}")
        paths = counterparts(given, [mask.stem for mask in masks], "masks") if given.is_dir() else {}
        for mask, found in marks.items():
            found[name] = paths.get(mask.stem, given)
    return marks


def trimap_of(options: argparse.Namespace, mask: Path, image: Tensor | None, marked: Marks) -> Tensor:
    """The trimap [1, H, W] of a mask's file, with the files of its marks; the photograph [1, H, W, 3] is for strands.

    Raises:
        ValueError, OSError: from reading and from `make_trimap`, with the mask's name.
    """
    marks = {name: reading.read_mask(path) for name, path in marked.items()}
    return made_of(options, reading.read_mask(mask), image, marks, str(mask))


def made_of(options: argparse.Namespace, values: Tensor, image: Tensor | None, marks: Mapping[str, Any],
            mask: str) -> Tensor:
    """The same of a mask that was read [1, H, W], with marks by name; `mask` is its name for messages."""
    image = image if options.strands > 0 else None
    darkest, brightest = (float(value) for value in values.aminmax())
    if options.high == 1 and 0 < brightest < 1 - TOLERANCE and not options.invert:
        log.warning("%s: nothing in it is white: its values reach from %.3g to %.3g of 1, and below --high they are no "
                    "foreground", mask, darkest, brightest)
    try:
        return make_trimap(values, inner=options.inner, outer=options.outer, unit=options.unit, invert=options.invert,
                           low=options.low, high=options.high, fill_holes=options.fill_holes, image=image,
                           remove_specks=options.remove_specks, strands=options.strands, **dict(marks))
    except ValueError as error:
        raise ValueError(f"{mask}: {error}") from error
