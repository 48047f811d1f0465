"""OpenEXR pictures by FFmpeg's encoder: scan lines, zip (16 rows), channels B, G, R, A or Y."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..compositing.blend import to_linear
from ..files import whole_file
from .packages import pyav

LAYOUTS = {1: "grayf32le", 3: "gbrpf32le", 4: "gbrapf32le"}


def write_exr(path: str | os.PathLike[str], picture: Tensor, *, half: bool = True, premultiplied: bool = True) -> None:
    """Writes a picture as OpenEXR, whole or not at all.

    Args:
        picture: [H, W], a matte; or [H, W, 3 or 4], sRGB code values, which become light (values above 1 are kept), and
            straight alpha.
        half: 16-bit floating point, the nearest values; else 32-bit.
        premultiplied: colours times alpha, as OpenEXR means them; else straight.

    Raises:
        RuntimeError: no PyAV.
    """
    av = pyav()
    values = picture.detach().float().cpu()
    if values.ndim == 3:
        light = to_linear(values[..., :3])
        if values.shape[-1] == 4:
            light = torch.cat([light * values[..., 3:] if premultiplied else light, values[..., 3:]], dim=-1)
        values = light
    if half:
        values = values.to(torch.float16).to(torch.float32)  # the encoder cuts off what half has no place for
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values.numpy()), format=LAYOUTS[
        1 if values.ndim == 2 else values.shape[-1]])
    content = b"".join(bytes(packet) for packet in _encoder(frame, half).encode(frame))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _encoder(frame: Any, half: bool) -> Any:
    encoder = pyav().codec.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base = Fraction(1)
    encoder.options = {"format": "half" if half else "float", "compression": "zip16"}
    encoder.thread_count = 1
    return encoder
