"""What a photograph's file says besides its pixels, as far as it is kept with what is made of it."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0xA005
TURNED = (5, 6, 7, 8)  # orientations that swap width and height
DESCRIPTION = 0x010E
# Of the first directory: document's name, description, maker, camera, resolution, date, artist, computer, rating,
# copyright, Windows' title to subject, and what points to the directories of the exposure and of GPS. The others tell
# how pixels are stored, in a TIFF above all, or which program wrote the file.
KEPT = (0x010D, DESCRIPTION, 0x010F, 0x0110, ORIENTATION, 0x011A, 0x011B, 0x0128, 0x0132, 0x013B, 0x013C, 0x4746,
        0x4749, 0x8298, EXIF, GPS, *range(0x9C9B, 0x9CA0))
# How descriptions begin that programs write for themselves, on axes, channels and pages of their own file: ImageJ,
# tifffile's older ones, AstroTIFF, Aperio, ScanImage, Hamamatsu. Others are JSON, or XML such as OME, MetaMorph, Leica.
MACHINES = ("ImageJ=", "shape=", "SIMPLE ", "Aperio ", "state.", "SI.", "[Application]")
# The maker's own notes hold positions in the old file, and small pictures of the old background.
MAKER_NOTE = 0x927C
WIDTH, HEIGHT, COLOUR_SPACE = 0xA002, 0xA003, 0xA001
MAX_DPI = 65535  # of JPEG


@dataclass(frozen=True)
class Metadata:
    """What is kept of a picture's file besides its pixels.

    Attributes:
        dpi: (horizontal, vertical) dots per inch.
        exif: an EXIF block for an upright picture, with "Exif" before it.
        primaries: of OpenEXR's light: x and y of red, green, blue and white; None for those of sRGB.
        pixel_aspect: of OpenEXR: width of a pixel by its height.
    """

    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    primaries: tuple[float, ...] | None = None
    pixel_aspect: float = 1.0


def metadata_of(picture: Image, name: str) -> Metadata:
    """What is kept of a picture as it was opened, for what is made of it once it stands upright.

    Kept: resolution, and of EXIF the description, author and rights, camera, exposure, dates and GPS. The orientation
    becomes 1. Left out: the maker's notes and the thumbnail, which show the old background, the colour space of a
    picture with a profile, which says that itself, the program that wrote the file, and a description of the file's
    layout, by which programs would read what is made of it wrongly.

    Args:
        picture: before it is decoded; Pillow turns a TIFF while it does, and forgets that.
        name: for the warning that EXIF could not be copied.
    """
    dpi = _dpi(picture)
    try:
        exif, turned = _exif(picture)
    except Exception as error:  # Pillow fails with whatever a damaged block makes it stumble over
        if _decodes(picture):  # else the picture is damaged, and not its EXIF: its reader says so
            log.warning("%s: its EXIF cannot be copied and is left out (%.100s)", name,
                        str(error) or type(error).__name__)
        exif, turned = None, False
    return Metadata(dpi[::-1] if dpi and turned else dpi, exif)


def _decodes(picture: Image) -> bool:
    try:
        picture.load()
    except Exception:
        return False
    return True


def upright_size(picture: Image) -> tuple[int, int]:
    """(width, height) that a picture has once it stands upright, from what its file says before it is decoded."""
    tags = getattr(picture, "tag_v2", {})  # of a TIFF, whose size some versions of Pillow give upright already
    width, height = int(tags.get(0x0100, picture.width)), int(tags.get(0x0101, picture.height))
    return (height, width) if picture.getexif().get(ORIENTATION) in TURNED else (width, height)


def _dpi(picture: Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in picture.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(v) and 0 < v <= MAX_DPI for v in (x, y)) else None


def _exif(picture: Image) -> tuple[bytes | None, bool]:
    """The block, and whether turning upright swaps width and height."""
    from PIL.Image import Exif

    given, kept = picture.getexif(), Exif()
    turned = given.get(ORIENTATION) in TURNED
    for tag in KEPT:
        if tag in given and tag not in (EXIF, GPS):
            kept[tag] = 1 if tag == ORIENTATION else given[tag]
    if _describes_a_file(kept.get(DESCRIPTION)):
        del kept[DESCRIPTION]
    for tag in (EXIF, GPS):
        values = {key: value for key, value in given.get_ifd(tag).items() if key != MAKER_NOTE}
        if INTEROPERABILITY in values:
            values[INTEROPERABILITY] = given.get_ifd(INTEROPERABILITY)
        if turned and WIDTH in values and HEIGHT in values:
            values[WIDTH], values[HEIGHT] = values[HEIGHT], values[WIDTH]
        if picture.info.get("icc_profile"):
            values.pop(COLOUR_SPACE, None)
        if values:
            kept[tag] = values
    return (kept.tobytes() if len(kept) else None), turned


def _describes_a_file(description: object) -> bool:
    """Whether a description was written by a program, for programs that read that file."""
    text = str(description or "").strip().strip("\0")
    if text.startswith(MACHINES) or (text.startswith("<") and text.endswith(">")):
        return True
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False
