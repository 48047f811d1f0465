"""The command line's options for the formats of what is written."""

from __future__ import annotations

import argparse
from typing import Any

from ..pictures.formats import BITS, COMPRESSIONS, EVERY_BITS, Bits, parsed_bits
from ..pictures.writing import TRIMAP_SUFFIXES
from ..shots.jobs import Jobs

FORMATS = tuple(suffix[1:] for suffix in BITS if suffix not in (".tiff", ".jpeg"))
TRIMAP_FORMATS = tuple(suffix[1:] for suffix in TRIMAP_SUFFIXES if suffix != ".tiff")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds --format, --bits, --premultiplied, --straight and --compression."""
    _add_format(parser, FORMATS)
    parser.add_argument("--bits", type=_bits, metavar="|".join(map(str, EVERY_BITS)),
                        help="of a channel: 8 or 16 of PNG and TIFF (default: as many as the photograph's), half or "
                             "float of OpenEXR (default: as the photograph's, else half)")
    alpha = parser.add_mutually_exclusive_group()
    alpha.add_argument("--premultiplied", action="store_true", default=None,
                       help="colours times alpha: of OpenEXR, where it is the default, and TIFF")
    alpha.add_argument("--straight", action="store_true", help="of OpenEXR and TIFF (TIFF: the default)")


def add_for_trimaps(parser: argparse.ArgumentParser) -> None:
    """Adds --format and --compression."""
    _add_format(parser, TRIMAP_FORMATS)


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """The options by name, as `shots.cutout.Cutout` takes them."""
    return {"bits": options.bits, "premultiplied": False if options.straight else options.premultiplied,
            "compression": options.compression}


def suffix_of(options: argparse.Namespace, default: str | None = None) -> str | None:
    """How the names of a folder's results end, as far as that is chosen."""
    return default if options.format is None else f".{options.format}"


def check(options: argparse.Namespace, jobs: Jobs) -> None:
    """Raises ValueError where --format contradicts the name of a single result."""
    if options.format is None or jobs.is_folder():
        return
    path = jobs[0].output
    suffix = path.suffix.lower().replace("tiff", "tif").replace("jpeg", "jpg")
    if suffix != f".{options.format}":
        raise ValueError(f"{path}: --format is {options.format}, and the name of a single result says its format by "
                         f"itself: leave --format out, or give a name that ends in .{options.format}")


def _add_format(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    parser.add_argument("--format", choices=formats,
                        help="of a folder's results (default: png); of a single one the name says it")
    known = [f"{suffix[1:]}: {', '.join(names)}" for suffix, names in COMPRESSIONS.items()
             if suffix[1:] in formats]
    parser.add_argument("--compression", metavar="NAME", help=f"{'; '.join(known)} (the first is the default)")


def _bits(text: str) -> Bits:
    try:
        return parsed_bits(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
