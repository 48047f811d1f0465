"""PNG with 16 bits in all channels, which Pillow does not write. By zlib, so that it needs no package beside."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from ..files import whole_file
from .formats import COMPRESSIONS, PNG_LEVELS
from .metadata import Metadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # PNG's, by channels
SUB = 1  # the filter of every row: each sample less that of the pixel on its left
METRE = 0.0254  # inches are so many
EXIF_HEAD = b"Exif\0\0"
MEMORY_LEVEL = 9
ROWS = 256  # that are brought to levels at once, in double precision


def sixteen_bits(picture: Tensor) -> np.ndarray:
    """Values in 0..1 as uint16, the nearest; those beyond are 0 or 65535."""
    found = np.empty(picture.shape, np.uint16)
    for first in range(0, len(picture), ROWS):
        rows = picture[first:first + ROWS].detach().cpu().to(torch.float64, copy=True)
        found[first:first + ROWS] = rows.clamp_(0, 1).mul_(65535).round_().numpy()
    return found


def write_png16(
    path: str | os.PathLike[str],
    picture: Tensor,
    *,
    profile: bytes | None = None,
    metadata: Metadata | None = None,
    compression: str | None = None,
) -> None:
    """Writes a picture as PNG with 16 bits a channel, whole or not at all (PNG, third edition, W3C 2025).

    Args:
        picture: [H, W] grey, or [H, W, 3 or 4] in 0..1, whose fourth channel is straight alpha; values beyond 0..1
            are the nearest that the format has.
        profile: the ICC profile of its colours; None for sRGB.
        metadata: resolution and EXIF.
        compression: see `formats.PNG_LEVELS`.
    """
    levels = sixteen_bits(picture)
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
    parts += _said(metadata or Metadata())
    level, strategy = PNG_LEVELS[compression or COMPRESSIONS[".png"][0]]
    packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY_LEVEL, strategy)
    parts += [_chunk(b"IDAT", packer.compress(rows.data) + packer.flush()), _chunk(b"IEND", b"")]
    with whole_file(path) as temporary:
        temporary.write_bytes(SIGNATURE + b"".join(parts))


def _said(metadata: Metadata) -> list[bytes]:
    found = []
    if metadata.dpi is not None:
        found.append(_chunk(b"pHYs", struct.pack(">IIB", *(round(value / METRE) for value in metadata.dpi), 1)))
    if metadata.exif is not None:
        found.append(_chunk(b"eXIf", metadata.exif.removeprefix(EXIF_HEAD)))
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
