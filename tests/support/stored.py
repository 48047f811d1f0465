"""Picture files that Pillow does not write: PNGs with any header and TIFFs with any tags, from arrays."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def png(pixels: np.ndarray, colour: int, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A PNG of [H, W] or [H, W, C], uint8 or uint16; colour 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    def framed(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)
    chunks = ((b"IHDR", head), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed(*chunk) for chunk in chunks)


def tiff(pixels: np.ndarray, order: str = "<", photometric: int = 1, extra_sample: int | None = None) -> bytes:
    """An uncompressed TIFF of [H, W] or [H, W, C] with the type's SampleFormat. order: < little, > big endian."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    shorts = {258: [8 * pixels.itemsize] * channels, 259: [1], 262: [photometric], 277: [channels],
              339: [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * channels}
    if extra_sample is not None:
        shorts[338] = [extra_sample]
    start = 8 + 2 + 12 * (len(shorts) + 5) + 4
    outside = sum(2 * len(values) for values in shorts.values() if len(values) > 2)
    longs = {256: [width], 257: [height], 273: [start + outside], 278: [height], 279: [len(data)]}
    entries = blobs = b""
    for tag, values in sorted({**shorts, **longs}.items()):
        value = struct.pack(order + ("H" if tag in shorts else "I") * len(values), *values)
        entries += struct.pack(order + "HHI", tag, 3 if tag in shorts else 4, len(values))
        if len(value) > 4:
            entries += struct.pack(order + "I", start + len(blobs))
            blobs += value
        else:
            entries += value.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(shorts) + len(longs))
    return head + entries + struct.pack(order + "I", 0) + blobs + data
