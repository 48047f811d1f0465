"""Sums over the neighbours of pixels and cells, written out for small tiles."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def gradient(framed: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's, along x and y, of planes [..., h + 2, w + 2]: [..., h, w] each, in values a pixel. As kornia's
    spatial_gradient, which takes several times as long for tiles."""
    above = framed[..., :-2, :] + 2 * framed[..., 1:-1, :] + framed[..., 2:, :]
    left = framed[..., :-2] + 2 * framed[..., 1:-1] + framed[..., 2:]
    return (above[..., 2:] - above[..., :-2]).div_(8), (left[..., 2:, :] - left[..., :-2, :]).div_(8)


def mean_around(planes: Tensor, side: int) -> Tensor:
    """Means over squares of cells, an odd number along each side; beyond the border lies 0. As kornia's box_blur and
    torch's avg_pool2d, which take several times as long for small squares."""
    (height, width), reach = planes.shape[-2:], side // 2
    framed = F.pad(planes, (reach,) * 4)
    rows, *others = (framed[..., i:i + height, :] for i in range(side))
    rows = sum(others, rows)
    total, *others = (rows[..., i:i + width] for i in range(side))
    return sum(others, total).div_(side * side)
