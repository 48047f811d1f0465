"""The command line's options for the formats of what is written."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..pictures.formats import BITS, COMPRESSIONS, EVERY_BITS, Bits, Form, parsed_bits, result_suffix
from ..pictures.writing import TRIMAP_SUFFIXES

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


def form_of(options: argparse.Namespace) -> Form:
    """How cut-outs are written."""
    return Form(options.bits, False if options.straight else options.premultiplied, options.compression)


def check(options: argparse.Namespace, outputs: list[Path], *, folder: bool) -> None:
    """Raises ValueError where --format contradicts the name of a single result."""
    if options.format is None or folder:
        return
    for path in outputs[:1]:
        suffix = path.suffix.lower().replace("tiff", "tif").replace("jpeg", "jpg")
        if suffix != f".{options.format}":
            raise ValueError(f"{path}: --format is {options.format}, and the name of a single result says its format "
                             f"by itself: leave --format out, or give a name that ends in .{options.format}")


def suffixes_of(options: argparse.Namespace) -> Callable[[Path], tuple[str, str]]:
    """How the names of a folder's results end, by the photograph: the cut-out's, and the matte's."""
    chosen = None if options.format is None else f".{options.format}"
    return lambda photo: (result_suffix(photo, chosen), result_suffix(photo, chosen, matte=True))


def suffixes_of_trimaps(options: argparse.Namespace) -> Callable[[Path], tuple[str, str]]:
    """The same for trimaps, of which there is one for each mask."""
    suffix = f".{options.format or 'png'}"
    return lambda _: (suffix, suffix)


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
