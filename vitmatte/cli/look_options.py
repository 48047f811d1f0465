"""The command line's options for how cut-outs look."""

from __future__ import annotations

import argparse

from ..compositing.blend import FITS, SCREENS
from ..shots.cutout import COLOURS


def add(parser: argparse.ArgumentParser, picture: str) -> None:
    """Adds --fit, --linear, --colours and --despill; `picture` is what is cut out, for the help."""
    parser.add_argument("--fit", choices=FITS, default="cover",
                        help="how a background of another size is used (default: %(default)s; contain: on black)")
    parser.add_argument("--linear", action="store_true", help="composite light, as a camera does, not sRGB values")
    parser.add_argument("--colours", choices=COLOURS, default="estimated",
                        help="estimated: free hair and edges of the old background's colour; picture: leave the "
                             f"{picture}'s (default: %(default)s)")
    parser.add_argument("--despill", choices=SCREENS, default="none",
                        help="take a green or blue screen's light from the subject (default: %(default)s)")
