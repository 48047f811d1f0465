"""TIFF with colours of 16 bits, or with premultiplied alpha, neither of which Pillow writes: pixels by OpenImageIO,
resolution and EXIF by Pillow."""

from __future__ import annotations

import errno
import logging
import os
import struct
from dataclasses import dataclass
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
STRIPS, TILES = (273, 279), (324, 325)  # tags of their places and bytes
# Bytes of a value by its type: TIFF 6.0 section 2, and BigTIFF's LONG8, SLONG8 and IFD8.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
END = 2**32  # of the positions that a TIFF of 32-bit positions has


@dataclass(frozen=True)
class Layout:
    """How directories of a TIFF are laid out, little-endian.

    Attributes:
        head: that the file begins with; the position of the first directory follows.
        place: bytes of a position, and of an entry's count, and how many of its value an entry holds itself.
        count: bytes of the number of entries.
    """

    head: bytes
    place: int
    count: int

    @property
    def entry(self) -> int:
        """Bytes of an entry: tag, type, count, and value or position."""
        return 4 + 2 * self.place

    def entries(self, content: bytes) -> dict[int, bytes]:
        """The entries of a directory by their tags."""
        parts = [content[i:i + self.entry] for i in range(0, len(content), self.entry)]
        return {int.from_bytes(part[:2], "little"): part for part in parts}

    def extent(self, entry: bytes) -> tuple[int, int, int]:
        """(position of an entry's values outside of it, or 0; bytes of all; bytes of one)."""
        size = SIZES.get(int.from_bytes(entry[2:4], "little"), 1)
        total = size * int.from_bytes(entry[4:4 + self.place], "little")
        return int.from_bytes(entry[4 + self.place:], "little") if total > self.place else 0, total, size


SMALL = Layout(b"II*\0", 4, 2)
BIG = Layout(b"II+\0\x08\0\0\0", 8, 8)  # BigTIFF, of more than 4 GB


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
        layout, entries = _checked(file, name)
        told = b""
        if layout is SMALL:
            end = _even_end(file)
            told = _directory(metadata).tobytes(end)  # positions in it count from the file's begin
            if end + len(told) + SMALL.entry * (len(entries) + len(told)) >= END:
                told = b""
        if not told:
            if metadata.exif is not None or metadata.dpi is not None:
                log.warning("%s: resolution and EXIF are left out of a TIFF of this size", name)
            return
        entries.pop(DATE, None)  # an empty one, since OpenImageIO writes the present time without
        file.write(told)
        entries |= SMALL.entries(told[2:2 + SMALL.entry * struct.unpack("<H", told[:2])[0]])
        place = _even_end(file)
        file.write(struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4))
        file.seek(4)
        file.write(struct.pack("<I", place))


def _checked(file: BinaryIO, name: str) -> tuple[Layout, dict[int, bytes]]:
    """How a TIFF is laid out, and its first directory; OSError unless all that this tells of is in the file."""
    head = file.read(16)
    layout = BIG if head.startswith(BIG.head[:4]) else SMALL
    begin, last = len(layout.head), file.seek(0, 2)
    place = int.from_bytes(head[begin:begin + layout.place], "little")
    file.seek(place)
    count = int.from_bytes(file.read(layout.count), "little")
    after = place + layout.count + layout.entry * count + layout.place
    if not head.startswith(layout.head) or place < begin + layout.place or not count or after > last:
        raise _cut_short(name)
    entries = layout.entries(file.read(layout.entry * count))
    ends = [at + total for at, total, _ in map(layout.extent, entries.values()) if at]
    if max(ends, default=0) > last or _end_of_pixels(file, layout, entries) > last:
        raise _cut_short(name)
    return layout, entries


def _cut_short(name: str) -> OSError:
    return OSError(errno.EIO, "it was cut short while it was written; the disk may be full", name)


def _end_of_pixels(file: BinaryIO, layout: Layout, entries: dict[int, bytes]) -> int:
    """Where the last strip or tile ends, by the directory; beyond any file where it does not say."""
    for offsets, sizes in (STRIPS, TILES):
        if offsets in entries and sizes in entries:
            first, length = (_numbers(file, layout, entries[tag]) for tag in (offsets, sizes))
            return max((a + b for a, b in zip(first, length, strict=False)), default=2**62)
    return 2**62


def _numbers(file: BinaryIO, layout: Layout, entry: bytes) -> list[int]:
    """The values of an entry of whole numbers."""
    at, total, size = layout.extent(entry)
    content = entry[4 + layout.place:][:total]
    if at:
        file.seek(at)
        content = file.read(total)
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


def _even_end(file: BinaryIO) -> int:
    """The place at a file's end where a directory may begin."""
    end = file.seek(0, 2)
    return end + file.write(bytes(end % 2))
