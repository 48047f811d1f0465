"""The command line's options for trimaps."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..shots.trimap import MaskOptions
from ..trimap.make import INNER, OUTER, UNITS

MARKS = ("unknown", "foreground", "background")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `mask_options` and `given_marks` read."""
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


def given_marks(options: argparse.Namespace) -> dict[str, Path]:
    """The files and folders of marks that are given, by what they mark."""
    return {name: given for name in MARKS if (given := getattr(options, f"mark_{name}")) is not None}


def mask_options(options: argparse.Namespace) -> MaskOptions:
    """How masks become trimaps.

    Raises:
        ValueError: options that `make_trimap` does not take.
    """
    found = MaskOptions(inner=options.inner, outer=options.outer, unit=options.unit, strands=options.strands,
                        invert=options.invert, low=options.low, high=options.high, fill_holes=options.fill_holes,
                        remove_specks=options.remove_specks)
    found.check()
    return found
