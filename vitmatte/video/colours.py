"""Y'CbCr to RGB and back, by the matrix and range that a file names (ITU-T H.273, tables 2 to 4).

swscale's own conversion is not used: from 10 bits it takes a way through 8 (FFmpeg 8.0: up to 4 of 1023 off). It only
unpacks: any layout becomes planes of 16 bits, chroma at full resolution.

With E' in 0..1 and C in -0.5..0.5, a code of n bits is, for the limited range, 2^(n-8) (16 + 219 E') and
2^(n-8) (128 + 224 C), and for the full one (2^n - 1) E' and 2^(n-1) + (2^n - 1) C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

RGB, BT709, UNSPECIFIED, BT601 = 0, 1, 2, 6  # MatrixCoefficients of H.273
LIMITED, FULL = 1, 2  # AVColorRange
# Kr and Kb by MatrixCoefficients: BT.709, FCC, BT.601 (625 and 525 lines), SMPTE 240M, BT.2020.
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
           9: (0.2627, 0.0593)}
PQ, HLG = 16, 18  # TransferCharacteristics of high dynamic range
HD = 720  # lines from which players take colours without a matrix for BT.709


@dataclass(frozen=True)
class Colours:
    """What a clip's numbers mean, in H.273's code points; 2 is unspecified.

    Args:
        matrix: of Y'CbCr, or 0 for RGB.
        full: the full range of codes, and not the limited one.
        primaries, transfer: kept as they are.
        bits: of a channel.
    """

    matrix: int = RGB
    full: bool = True
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    bits: int = 8

    @property
    def hdr(self) -> bool:
        """Whether the numbers are of high dynamic range, which are no sRGB code values."""
        return self.transfer in (PQ, HLG)


def colours_of(frame: Any, context: Any, name: str) -> Colours:
    """What a decoded frame's numbers mean; matrix and range are what players assume where the file names none.

    Args:
        frame: of PyAV.
        context: of the decoder it came from.
        name: for the message.

    Raises:
        ValueError: a matrix that is not read here.
    """
    kind = frame.format
    bits = max(component.bits for component in kind.components)
    tags = {"primaries": int(context.color_primaries), "transfer": int(context.color_trc), "bits": bits}
    if kind.is_rgb or kind.has_palette:
        return Colours(**tags)
    grey = _is_grey(frame)
    given = int(frame.color_range)
    full = given == FULL or kind.name.startswith("yuvj") or (grey and given != LIMITED)
    matrix = int(frame.colorspace)
    if grey or matrix in (UNSPECIFIED, 3):  # 3 is reserved
        matrix = BT709 if frame.height >= HD else BT601
    if matrix not in WEIGHTS:
        raise ValueError(f"{name}: its colours have MatrixCoefficients {matrix} (ITU-T H.273), which are not read "
                         f"here; expected RGB or one of {', '.join(map(str, WEIGHTS))}: convert it to BT.709 first")
    return Colours(matrix, full, **tags)


def rgb_of(frame: Any, colours: Colours) -> Tensor:
    """A decoded frame as [H, W, 3], float32: 0..1, and beyond where its codes are (whiter than white)."""
    if colours.matrix == RGB:
        if colours.bits <= 8:
            return torch.from_numpy(frame.to_ndarray(format="rgb24").astype(np.float32) / 255)
        return torch.from_numpy(frame.to_ndarray(format="rgb48le").astype(np.float32) / 65535)
    if _is_grey(frame):
        return grey_of(frame, colours).unsqueeze(-1).repeat(1, 1, 3)
    whole = _unpacked(frame)
    luma, blue, red = (torch.from_numpy(_codes(whole, i)) for i in range(3))
    y, cb, cr = _luma(luma, colours), _chroma(blue, colours), _chroma(red, colours)
    kr, kb = WEIGHTS[colours.matrix]
    r, b = y + (2 - 2 * kr) * cr, y + (2 - 2 * kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return torch.stack([r, g, b], dim=-1)


def grey_of(frame: Any, colours: Colours, *, alpha: bool = False) -> Tensor:
    """The brightness of a decoded frame, or its alpha, [H, W], float32 in 0..1."""
    kind = frame.format
    if alpha:
        if kind.is_planar and not kind.is_big_endian:
            return torch.from_numpy(_codes(frame, 3) / (2**colours.bits - 1))
        wide = colours.bits > 8
        pixels = frame.to_ndarray(format="rgba64le" if wide else "rgba")
        return torch.from_numpy(pixels[..., 3].astype(np.float32) / (65535 if wide else 255))
    if colours.matrix == RGB:
        return (rgb_of(frame, colours) @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float32)).clamp(0, 1)
    if _is_grey(frame):
        if not re.fullmatch("gray(8|[0-9]+le)?", kind.name):  # with alpha, big-endian, of one bit
            frame = frame.reformat(format="gray16le")
            colours = replace(colours, bits=16)
        return _luma(torch.from_numpy(_codes(frame, 0)) * 2 ** (16 - colours.bits), colours).clamp(0, 1)
    return _luma(torch.from_numpy(_codes(_unpacked(frame), 0)), colours).clamp(0, 1)


def codes(picture: Tensor, colours: Colours, *, subsampled: bool = False) -> list[np.ndarray]:
    """The planes Y, Cb and Cr of a picture, and alpha where it has a fourth channel.

    Args:
        picture: [H, W, 3 or 4] float32; [H, W] for grey, whose chroma is neutral.
        colours: matrix, range and bits of the planes; alpha always has the full range.
        subsampled: chroma at half the height and width, as 4:2:0 has it: between two rows, on every second column.

    Returns:
        [H, W] each, or smaller for subsampled chroma; uint8, or uint16 for more than 8 bits.
    """
    scale, top = 2 ** (colours.bits - 8), 2**colours.bits - 1
    alpha: Tensor | None = None
    if picture.ndim == 2:
        y, chroma = picture, [picture.new_zeros(picture.shape)] * 2
    else:
        kr, kb = WEIGHTS[colours.matrix]
        r, g, b = picture[..., :3].unbind(-1)
        y = kr * r + (1 - kr - kb) * g + kb * b
        chroma = [(b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)]
        alpha = picture[..., 3] if picture.shape[-1] == 4 else None
    if subsampled:
        chroma = [_halved(plane) for plane in chroma]
    if colours.full:
        planes, low, high = [y * top, *(plane * top + 128 * scale for plane in chroma)], 0, top
    else:
        planes = [(16 + 219 * y) * scale, *((128 + 224 * plane) * scale for plane in chroma)]
        low, high = scale, 255 * scale - 1  # the codes beside these are for synchronisation (BT.601, BT.709)
    if alpha is not None:
        planes.append(alpha * top)
    kind = np.uint8 if colours.bits <= 8 else np.uint16
    limits = [(low, high)] * 3 + [(0, top)]
    return [plane.round().clamp(*ends).cpu().numpy().astype(kind) for plane, ends in zip(planes, limits, strict=False)]


def _halved(plane: Tensor) -> Tensor:
    """[H, W] to [ceil(H / 2), ceil(W / 2)]: rows averaged, columns by 1 2 1 around every second one."""
    padded = torch.nn.functional.pad(plane[None, None], (1, 1, 0, plane.shape[0] % 2), mode="replicate")[0, 0]
    rows = (padded[::2] + padded[1::2]) / 2
    width = plane.shape[1]
    return (rows[:, :width:2] + 2 * rows[:, 1:width + 1:2] + rows[:, 2::2][:, :(width + 1) // 2]) / 4


def _top(bits: int) -> int:
    """The highest code of that many bits, in 16."""
    return (2**bits - 1) << (16 - bits)


def _luma(plane: Tensor, colours: Colours) -> Tensor:
    return plane / _top(colours.bits) if colours.full else (plane / 256 - 16) / 219


def _chroma(plane: Tensor, colours: Colours) -> Tensor:
    return (plane - 32768) / _top(colours.bits) if colours.full else (plane / 256 - 128) / 224


def _is_grey(frame: Any) -> bool:
    return sum(not part.is_alpha for part in frame.format.components) == 1 and not frame.format.has_palette


def _unpacked(frame: Any) -> Any:
    """The frame as planes of 16 bits, all of the same size, each code 2^(16-n) times what it was: with equal ranges
    and matrices given, swscale changes none."""
    return frame.reformat(format="yuv444p16le", src_colorspace=BT709, dst_colorspace=BT709, src_color_range=LIMITED,
                          dst_color_range=LIMITED)


def _codes(frame: Any, number: int) -> np.ndarray:
    """A plane of a frame, [H, W] float32."""
    wide, plane = max(part.bits for part in frame.format.components) > 8, frame.planes[number]
    values = np.frombuffer(plane, np.uint16 if wide else np.uint8).reshape(plane.height, -1)
    return values[:, :plane.width].astype(np.float32)
