"""Fine strands beside a subject: hair, fur, grass, that a rough mask leaves out.

A strand is a bright or dark line narrower than a few pixels. Closing and opening (greatest and least value within a
window) remove such lines from a picture and leave edges of large things where they are, so what they change is the
strands, and a step, a horizon or a smooth gradient is none.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .components import connected_to
from .distance import within

# Set by trials with hair and fur cut from photographs (benchmarks/trimap.py).
CONTRAST = 0.03  # of a strand against what it lies on, in 0..1: below that noise and JPEG's ripples begin
NOISE_FACTOR = 3.0  # over the picture's own noise
WIDTH_SHARE = 1 / 300  # of the picture's longer side: widest strand
CROWDING = 0.2  # share of strand pixels around, from which on a place counts as finely textured


def strands_near(image: Tensor, start: Tensor, room: Tensor) -> Tensor:
    """Where strands run on from one area into another.

    Args:
        image: [B, H, W, 3], floating point in 0..1.
        start: [B, H, W], bool: where strands begin.
        room: [B, H, W], bool: where they may run.

    Returns:
        [B, H, W], bool: the part of `room` that is finely textured and connected through such places to `start`, and
        a margin around it.
    """
    texture = fine_texture(image)
    found = connected_to((texture & room) | start, start) & texture & room
    return within(found, 2 * _reach(image)) & room


def fine_texture(image: Tensor) -> Tensor:
    """[B, H, W], bool: where pictures [B, H, W, 3] hold strands, and the gaps between them."""
    planes = image.permute(0, 3, 1, 2).float()
    reach = _reach(image)
    line = torch.maximum(_closed(planes, reach) - planes, planes + _closed(-planes, reach)).amax(dim=1)
    noise = line.flatten(1).median(dim=1).values.view(-1, 1, 1)
    strand = (line > torch.clamp(NOISE_FACTOR * noise, min=CONTRAST)).float()
    around = functional.avg_pool2d(strand.unsqueeze(1), 4 * reach + 1, stride=1, padding=2 * reach,
                                   count_include_pad=False)
    return around[:, 0] >= CROWDING


def _reach(image: Tensor) -> int:
    """Half the widest strand's width, in pixels."""
    return max(1, round(max(image.shape[1:3]) * WIDTH_SHARE / 2))


def _closed(planes: Tensor, reach: int) -> Tensor:
    """Morphological closing of [B, C, H, W] by a square of 2 reach + 1 pixels a side."""
    size = 2 * reach + 1
    highest = functional.max_pool2d(planes, size, stride=1, padding=reach)
    return -functional.max_pool2d(-highest, size, stride=1, padding=reach)
