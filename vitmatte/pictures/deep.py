"""PNG with 16 bits in all channels, which Pillow does not write."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
from torch import Tensor

from ..files import whole_file

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # PNG's, by channels
SUB = 1  # the filter of every row: each sample less that of the pixel on its left
LEVEL = 1  # of zlib; more takes many times as long for some percent


def write_png16(path: str | os.PathLike[str], picture: Tensor, *, profile: bytes | None = None) -> None:
    """Writes a picture as PNG with 16 bits a channel, whole or not at all (PNG, third edition, W3C 2025).

    Args:
        picture: [H, W] grey, or [H, W, 3 or 4] in 0..1, whose fourth channel is straight alpha; values beyond 0..1
            are the nearest that the format has.
        profile: the ICC profile of its colours; None for sRGB.
    """
    levels = (picture.detach().float().cpu().clamp(0, 1) * 65535).round().numpy().astype(np.uint16)
    levels = levels if levels.ndim == 3 else levels[..., None]
    height, width, channels = levels.shape
    samples = levels.astype(">u2").view(np.uint8).reshape(height, width * channels * 2)
    rows = np.empty((height, 1 + samples.shape[1]), np.uint8)
    rows[:, 0], rows[:, 1:] = SUB, samples
    rows[:, 1 + 2 * channels:] -= samples[:, :-2 * channels]
    parts = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPE[channels], 0, 0, 0))]
    if profile is not None and channels > 1:
        parts.append(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    elif channels > 1:
        parts.append(_chunk(b"sRGB", b"\0"))
    parts += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), LEVEL)), _chunk(b"IEND", b"")]
    with whole_file(path) as temporary:
        temporary.write_bytes(SIGNATURE + b"".join(parts))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
