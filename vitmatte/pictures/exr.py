"""OpenEXR pictures: light, not code values; scan lines, channels R, G, B, A or Y.

By OpenImageIO; where that is not installed by FFmpeg's encoder, which ComfyUI brings with PyAV and which has fewer
compressions. The values are the same.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import whole_file
from ..srgb import to_linear
from .formats import PYAV_COMPRESSIONS
from .metadata import Metadata
from .packages import openimageio, pyav
from .pixels import write_pixels

LAYOUTS = {1: "grayf32le", 3: "gbrpf32le", 4: "gbrapf32le"}
MAX_HALF = 65504.0


def write_exr(
    path: str | os.PathLike[str],
    picture: Tensor,
    *,
    half: bool = True,
    premultiplied: bool = True,
    compression: str = "zip",
    metadata: Metadata | None = None,
) -> None:
    """Writes a picture as OpenEXR, whole or not at all.

    Args:
        picture: [H, W], a matte; or [H, W, 3 or 4], sRGB code values, which become light (values beyond 0..1 are kept),
            and straight alpha.
        half: 16-bit floating point, the nearest values, 65504 at most; else 32-bit.
        premultiplied: colours times alpha, as OpenEXR means them; else straight, which nothing in the file says.
        compression: none, rle, zips, zip, piz; with OpenImageIO also dwaa and dwab, which lose something.
        metadata: its primaries and shape of pixels are written.

    Raises:
        RuntimeError: neither OpenImageIO nor PyAV.
    """
    values = picture.detach().float().cpu()
    if values.ndim == 3:
        light = to_linear(values[..., :3])
        if values.shape[-1] == 4:
            light = torch.cat([light * values[..., 3:] if premultiplied else light, values[..., 3:]], dim=-1)
        values = light
    if half:
        values = values.clamp(-MAX_HALF, MAX_HALF).to(torch.float16)
    found = openimageio()
    if found is not None:
        pixels = np.ascontiguousarray(values.numpy().reshape(*values.shape[:2], -1))
        attributes: dict[str, Any] = {"compression": compression, "DateTime": ""}  # else it is that of the writing
        if metadata is not None and values.ndim == 3 and metadata.primaries is not None:
            attributes["chromaticities"] = (found.TypeDesc("float[8]"), metadata.primaries)
        if metadata is not None and metadata.pixel_aspect != 1:
            attributes["PixelAspectRatio"] = metadata.pixel_aspect
        with whole_file(path) as temporary:
            write_pixels(temporary, pixels, attributes)
    else:
        content = _by_pyav(np.ascontiguousarray(values.float().numpy()), half, PYAV_COMPRESSIONS[compression])
        with whole_file(path) as temporary:
            Path(temporary).write_bytes(content)


def _by_pyav(values: np.ndarray, half: bool, compression: str) -> bytes:
    av = pyav()
    frame = av.VideoFrame.from_ndarray(values, format=LAYOUTS[1 if values.ndim == 2 else values.shape[-1]])
    encoder = av.codec.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base = Fraction(1)
    encoder.options = {"format": "half" if half else "float", "compression": compression}
    encoder.thread_count = 1
    return b"".join(bytes(packet) for packet in encoder.encode(frame))
