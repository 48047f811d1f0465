"""TIFF with colours of 16 bits, or with premultiplied alpha, neither of which Pillow writes: pixels by OpenImageIO,
resolution and EXIF by Pillow."""

from __future__ import annotations

import errno
import logging
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import whole_file
from .metadata import EXIF, GPS, INTEROPERABILITY, Metadata
from .packages import needed_openimageio
from .pixels import write_pixels

log = logging.getLogger(__name__)

NAMES = {"none": "none", "lzw": "lzw", "deflate": "zip"}  # OpenImageIO's, of compressions
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH, DATE = 282, 283, 296, 2, 306
HEAD = b"II*\0"  # of a TIFF of 32-bit positions, little-endian
ENTRY = 12  # bytes of a directory's entry
STRIPS, TILES = (273, 279), (324, 325)  # tags of their places and bytes
SIZES = {3: 2, 4: 4}  # bytes of a SHORT and a LONG


def write_tiff(
    path: str | os.PathLike[str],
    levels: np.ndarray,
    *,
    premultiplied: bool = False,
    profile: bytes | None = None,
    metadata: Metadata | None = None,
    compression: str | None = None,
) -> None:
    """Writes a picture as TIFF, whole or not at all.

    Args:
        levels: [H, W, 3 or 4], uint8 or uint16, as they are to be stored.
        premultiplied: what the file says of the fourth channel (ExtraSamples, TIFF 6.0 section 18): associated or
            unassociated alpha.
        profile: the ICC profile of its colours; None for sRGB.
        metadata: resolution and EXIF.
        compression: none, lzw or deflate.

    Raises:
        RuntimeError: no OpenImageIO.
    """
    oiio = needed_openimageio("TIFFs with 16 bits a channel or premultiplied alpha")
    attributes: dict[str, Any] = {"compression": NAMES[compression or "none"], "DateTime": ""}
    if not premultiplied:
        attributes["oiio:UnassociatedAlpha"] = 1
    if profile is not None:
        attributes["ICCProfile"] = oiio.TypeDesc(f"uint8[{len(profile)}]"), np.frombuffer(profile, np.uint8)
    with whole_file(path) as temporary:
        write_pixels(temporary, np.ascontiguousarray(levels), attributes)
        tell_tags(temporary, metadata or Metadata(), str(path))


def tell_tags(path: Path, metadata: Metadata, name: str) -> None:
    """Gives a TIFF resolution and EXIF: a directory at the end of the file, of the old entries and the new, takes the
    place of its first.

    Args:
        path: the file, of one picture.
        name: for the warning where it has no room for them.

    Raises:
        OSError: the file is not whole: libtiff, which writes the last of it when it closes, does not tell when that
            fails, as on a full disk.
    """
    with path.open("r+b") as file:
        head = file.read(8)
        if len(head) < 8:
            raise _cut_short(name)
        if head[:4] != HEAD:  # more than 4 GB have positions of 64 bits
            log.warning("%s: resolution and EXIF are left out of a TIFF of this size", name)
            return
        (place,) = struct.unpack("<I", head[4:])
        file.seek(place)
        count = int.from_bytes(file.read(2), "little")
        content = file.read(ENTRY * count)
        entries = _entries(content)
        if place < 8 or not count or len(content) < ENTRY * count or _end_of_pixels(file, entries) > file.seek(0, 2):
            raise _cut_short(name)
        entries.pop(DATE, None)  # an empty one, since OpenImageIO writes the present time without
        end = _even_end(file)
        told = _directory(metadata).tobytes(end)  # positions in it count from the file's begin
        file.write(told)
        entries |= _entries(told[2:2 + ENTRY * struct.unpack("<H", told[:2])[0]])
        place = _even_end(file)
        file.write(struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4))
        file.seek(4)
        file.write(struct.pack("<I", place))


def _cut_short(name: str) -> OSError:
    return OSError(errno.EIO, "it was cut short while it was written; the disk may be full", name)


def _end_of_pixels(file: BinaryIO, entries: dict[int, bytes]) -> int:
    """Where the last strip or tile ends, by the directory; beyond any file where it does not say."""
    for offsets, sizes in (STRIPS, TILES):
        if offsets in entries and sizes in entries:
            return max((a + b for a, b in zip(_numbers(file, entries[offsets]), _numbers(file, entries[sizes]),
                                              strict=False)), default=2**62)
    return 2**62


def _numbers(file: BinaryIO, entry: bytes) -> list[int]:
    """The values of an entry, SHORT or LONG; fewer than it has where the file ends before."""
    kind, count = struct.unpack("<HI", entry[2:8])
    size = SIZES[kind]
    content = entry[8:8 + size * count]
    if size * count > 4:
        file.seek(int.from_bytes(entry[8:], "little"))
        content = file.read(size * count)
    return [int.from_bytes(content[i:i + size], "little") for i in range(0, len(content), size)]


def _directory(metadata: Metadata) -> Any:
    from PIL.Image import Exif
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    found = ImageFileDirectory_v2()
    if metadata.exif is not None:
        given = Exif()
        given.load(metadata.exif)
        for tag, value in given.items():
            if tag not in (EXIF, GPS):
                found[tag] = value
        for tag in (EXIF, GPS):
            values = dict(given.get_ifd(tag))
            if INTEROPERABILITY in values:
                values[INTEROPERABILITY] = given.get_ifd(INTEROPERABILITY)
            if values:
                found[tag] = values
    if metadata.dpi is not None:
        found[RESOLUTION_UNIT] = INCH
        found[X_RESOLUTION], found[Y_RESOLUTION] = metadata.dpi
    return found


def _entries(content: bytes) -> dict[int, bytes]:
    """The entries of a directory by their tags."""
    parts = [content[i:i + ENTRY] for i in range(0, len(content), ENTRY)]
    return {int.from_bytes(part[:2], "little"): part for part in parts}


def _even_end(file: BinaryIO) -> int:
    """The place at a file's end where a directory may begin."""
    end = file.seek(0, 2)
    return end + file.write(bytes(end % 2))
