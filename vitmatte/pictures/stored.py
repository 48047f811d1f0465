"""How a picture's file stores its pixels, as far as Pillow's picture does not tell, and how many pictures it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names for whole numbers of more than 8 bits
# Tags of TIFF 6.0, section 8, and their values.
NEW_SUBFILE_TYPE, REDUCED = 254, 1
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
SAMPLE_FORMAT, SIGNED = 339, 2


@dataclass(frozen=True)
class Stored:
    """How a file stores its pixels, as far as Pillow's picture does not tell.

    Attributes:
        bits: of a channel: 8 or fewer, 16, or 32 of whole numbers; Pillow cuts the colours of 16-bit files to 8.
        signed: whole numbers below 0 can be stored.
        inverted: 0 stands for white (a TIFF's WhiteIsZero), which Pillow undoes for up to 8 bits only.
    """

    bits: int = 8
    signed: bool = False
    inverted: bool = False


def check_frames(file: ImageFile) -> None:
    """Raises ValueError for a file of several pictures. The further ones of a camera's JPEG (MPO) are previews or
    another eye's view, and a TIFF's may be smaller copies of its first."""
    count = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
    if count == 1:
        return
    if file.format == "TIFF":
        reduced = []
        for page in range(count):
            file.seek(page)
            reduced.append(_tag(file, NEW_SUBFILE_TYPE) & REDUCED)
        file.seek(0)
        if reduced == [0] + [REDUCED] * (count - 1):
            return
    kind = "pages" if file.format == "TIFF" else "frames"
    raise ValueError(f"it has {count} {kind}, of which one is wanted; save that one alone, or each of them to a folder "
                     "and give the folder")


def stored_as(file: ImageFile) -> Stored:
    """How an opened file, before it is loaded, stores its pixels; ValueError for signed values of 8 bits."""
    args = file.tile[0][3] if file.tile else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    raw = raw if isinstance(raw, str) else ""
    wide = ";16" in raw or (file.format == "PPM" and isinstance(args, tuple) and args[-1] > 255)
    bits = 16 if wide else 32 if file.mode == "I" else 8
    inverted = file.mode in (*WIDE_MODES, "F") and _tag(file, PHOTOMETRIC, 1) == WHITE_IS_ZERO
    signed = _tag(file, SAMPLE_FORMAT) == SIGNED
    if signed and bits == 8:
        raise ValueError("it has signed values of 8 bits; expected unsigned ones, of 8 or 16 bits")
    return Stored(bits, signed, inverted)


def _tag(file: ImageFile, number: int, default: int = 0) -> int:
    """A whole number among a TIFF's tags, the first where there is one for each channel; the default in files without
    tags."""
    tags: Any = getattr(file, "tag_v2", {})
    value = tags.get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)
