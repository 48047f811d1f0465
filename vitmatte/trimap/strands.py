"""Fine strands beside a subject: hair, fur, grass, that a rough mask leaves out.

A strand is a bright or dark line narrower than a few pixels. Closing and opening (greatest and least value within a
window) remove such lines from a picture and leave edges of large things where they are, so what they change is the
strands, and a step, a horizon or a smooth gradient is none.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..steps import Step, ignore, part, strips
from .components import connected_to
from .distance import within

# Set by trials with hair and fur cut from photographs (benchmarks/trimap.py).
CONTRAST = 0.03  # of a strand against what it lies on, in 0..1: below that noise and JPEG's ripples begin
NOISE_FACTOR = 3.0  # over the picture's own noise
WIDTH_SHARE = 1 / 300  # of the picture's longer side: widest strand
CROWDING = 0.2  # share of strand pixels around, from which on a place counts as finely textured

ROWS = 192  # of a picture at a time
# Of brightness between 0 and 1. Whole numbers of 16 bits take half the time of floats and hold differences within
# -1..2; those of 8-bit pictures are exact, so no rounding decides where a line is just as strong as the threshold.
LEVELS = 255 * 32


def strands_near(image: Tensor, start: Tensor, room: Tensor, step: Step = ignore) -> Tensor:
    """Where strands run on from one area into another.

    Args:
        image: [B, H, W, 3], floating point in 0..1.
        start: [B, H, W], bool: where strands begin.
        room: [B, H, W], bool: where they may run.
        step: called between the parts of the computation.

    Returns:
        [B, H, W], bool: the part of `room` that is finely textured and connected through such places to `start`, and
        a margin around it.
    """
    texture = fine_texture(image, part(step, 0, 0.6)) & room
    found = connected_to(texture | start, start, part(step, 0.6, 0.9)) & texture
    return within(found, 2 * _reach(image), part(step, 0.9, 1)) & room


def fine_texture(image: Tensor, step: Step = ignore) -> Tensor:
    """[B, H, W], bool: where pictures [B, H, W, 3] hold strands, and the gaps between them."""
    image, reach, height = image.detach(), _reach(image), image.shape[1]
    line = image.new_empty(image.shape[:3], dtype=torch.int16)
    for rows in strips(height, part(step, 0, 0.8), ROWS):
        around, inside = _with_margin(rows, 2 * reach, height)
        planes = image[:, around].float().mul(LEVELS).round_().permute(0, 3, 1, 2)
        planes = planes.to(torch.int16, memory_format=torch.contiguous_format)
        line[:, rows] = _lines(planes, reach)[:, inside]
    noise = _median(line).view(-1, 1, 1)
    step(0.82)
    strand = line > torch.clamp(NOISE_FACTOR * noise.float(), min=CONTRAST * LEVELS)
    crowded = torch.empty_like(strand)
    for rows in strips(height, part(step, 0.82, 1), ROWS):
        around, inside = _with_margin(rows, 2 * reach, height)
        crowded[:, rows] = (_share_around(strand[:, around], 2 * reach) >= CROWDING)[:, inside]
    return crowded


def _median(plane: Tensor) -> Tensor:
    """[B]: the median of each frame of [B, H, W], by NumPy, which is several times faster than PyTorch at it."""
    values = plane.flatten(1).cpu().numpy()
    middle = (values.shape[1] - 1) // 2
    return torch.from_numpy(np.partition(values, middle, axis=1)[:, middle].copy()).to(plane.device)


def _with_margin(rows: slice, margin: int, height: int) -> tuple[slice, slice]:
    """Rows of a picture with a margin where it has one, and the place of `rows` in them."""
    top = max(rows.start - margin, 0)
    return slice(top, min(rows.stop + margin, height)), slice(rows.start - top, rows.stop - top)


def _reach(image: Tensor) -> int:
    """Half the widest strand's width, in pixels."""
    return max(1, round(max(image.shape[1:3]) * WIDTH_SHARE / 2))


def _lines(planes: Tensor, reach: int) -> Tensor:
    """[B, H, W]: how far closing and opening by a square of 2 reach + 1 pixels change pictures [B, C, H, W]."""
    dark = -_highest(-_highest(planes, reach), reach) - planes
    planes = -planes
    bright = -_highest(-_highest(planes, reach), reach) - planes
    first, *others = torch.maximum(dark, bright).unbind(dim=1)  # faster than amax
    for plane in others:
        first = torch.maximum(first, plane)
    return first


def _highest(planes: Tensor, reach: int) -> Tensor:
    """The greatest value of [B, C, H, W] within a square of 2 reach + 1 pixels around each pixel: along the columns,
    then along the rows, from spans of 1, 2, 4, ... pixels. What lies outside does not count."""
    size = 2 * reach + 1
    for dim, frame in ((2, (0, 0, reach, reach)), (3, (reach, reach))):
        lowest = torch.finfo(planes.dtype).min if planes.is_floating_point() else torch.iinfo(planes.dtype).min
        planes, span = functional.pad(planes, frame, value=lowest), 1
        while span < size:
            further = min(span, size - span)
            length = planes.shape[dim] - further
            planes = torch.maximum(planes.narrow(dim, 0, length), planes.narrow(dim, further, length))
            span += further
    return planes


def _share_around(marked: Tensor, reach: int) -> Tensor:
    """[B, H, W]: the share of marked pixels, bool, within a square of 2 reach + 1 pixels around each."""
    counts = marked.to(torch.int32)
    area = torch.ones_like(counts[:1])
    for dim in (1, 2):
        counts, area = (_sums(plane, reach, dim) for plane in (counts, area))
    return counts / area


def _sums(plane: Tensor, reach: int, dim: int) -> Tensor:
    """The sums of a plane of whole numbers over up to `reach` pixels on either side along a dimension."""
    size = plane.shape[dim]
    before = plane.cumsum(dim, dtype=torch.int32)
    before = torch.cat([torch.zeros_like(before.narrow(dim, 0, 1)), before], dim=dim)  # [i]: of the first i
    places = torch.arange(size, device=plane.device)
    after = before.index_select(dim, (places + reach + 1).clamp(max=size))
    return after.sub_(before.index_select(dim, (places - reach).clamp(min=0)))
