"""What lies within a radius of marked pixels, or of a soft mask's edge: exact, whatever the radius.

Distances are Euclidean, and their cost does not grow with the radius: along a column the distance to the nearest
marked place is a running maximum; along a row every pixel at column distance g reaches the interval of half-width
sqrt(r^2 - g^2), and a union of intervals is a running sum. All of it is in whole numbers, so that no device rounds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FINENESS = 64  # parts of a pixel in which the place of a soft mask's edge is counted


def within(marked: Tensor, radius: float) -> Tensor:
    """Pixels at most `radius` from a marked one, centre to centre.

    Args:
        marked: [B, H, W], bool.
        radius: pixels.

    Returns:
        [B, H, W], bool; true for the marked pixels themselves.
    """
    row = torch.arange(marked.shape[1], device=marked.device).view(1, -1, 1)
    return _spread(_nearest(row, row, marked, marked, 1), radius, 1)


def within_contour(values: Tensor, level: float, radius: float) -> Tensor:
    """Pixels whose centre is at most `radius` from the contour on which `values` cross `level`.

    The contour is known where it crosses the lines between the centres of neighbouring pixels, one at least the
    level and one below: there values are taken as linear, and the place is rounded to 1/64 pixel. So the edge between
    0 and 1 lies half-way for level 0.5, and that of a mask drawn with smooth (anti-aliased) edges where it was drawn.

    Args:
        values: [B, H, W], floating point in 0..1.
        level: in 0..1.
        radius: pixels.

    Returns:
        [B, H, W], bool.
    """
    turned = _near_crossings(values.mT, level, radius).mT
    return _near_crossings(values, level, radius) | turned


def _near_crossings(values: Tensor, level: float, radius: float) -> Tensor:
    """`within_contour` for the crossings between vertical neighbours alone."""
    upper, lower = values[:, :-1].float(), values[:, 1:].float()
    crossed = (upper >= level) != (lower >= level)  # [B, H - 1, W]
    share = (level - upper) / torch.where(crossed, lower - upper, 1.0)
    row = torch.arange(values.shape[1], device=values.device).view(1, -1, 1) * FINENESS
    place = row[:, :-1] + (share.clamp(0, 1) * FINENESS).round_().to(row.dtype)
    none = torch.zeros_like(values[:, :1], dtype=torch.bool)
    blank = none.to(row.dtype)
    above = torch.cat([blank, place], dim=1), torch.cat([none, crossed], dim=1)  # seen from the lower pixel
    below = torch.cat([place, blank], dim=1), torch.cat([crossed, none], dim=1)
    return _spread(_nearest(above[0], below[0], above[1], below[1], FINENESS), radius, FINENESS)


def _nearest(above: Tensor, below: Tensor, has_above: Tensor, has_below: Tensor, unit: int) -> Tensor:
    """[B, H, W] distance along the column to the nearest place; far more than the picture's size where there is none.

    `above` holds places at or above each row, in 1/unit pixel, where `has_above` says so; `below` likewise.
    """
    _, height, width = has_above.shape
    row = torch.arange(height, device=has_above.device).view(1, -1, 1) * unit
    far = 4 * (height + width) * unit
    last = torch.where(has_above, above, -far).cummax(dim=1).values
    following = torch.where(has_below, below, far + height * unit).flip(1).cummin(dim=1).values.flip(1)
    return torch.minimum(row - last, following - row)


def _spread(distance: Tensor, radius: float, unit: int) -> Tensor:
    """[B, H, W], bool: pixels within the radius of places that are `distance`, in 1/unit pixel, along the columns."""
    batch, height, width = distance.shape
    reach = _reaches(radius, height + width, unit, distance.device)
    half = reach[distance.clamp_(max=len(reach) - 1)]  # -1 where the column holds nothing near enough
    column = torch.arange(width, device=distance.device)
    first = (column - half).clamp_(min=0, max=width)
    after = (column + half + 1).clamp_(max=width)
    # +1 where an interval begins, -1 after it ends; the running sum counts the intervals over each pixel.
    ends = torch.zeros(batch, height, width + 1, dtype=torch.int32, device=distance.device)
    count = (half >= 0).to(torch.int32)
    ends.scatter_add_(2, first, count).scatter_add_(2, after, -count)
    return ends.cumsum(dim=2)[..., :width] > 0


def _reaches(radius: float, most: int, unit: int, device: torch.device) -> Tensor:
    """Half-widths along the row, in pixels, for column distances 0, 1/unit, ... up to the radius; -1 for all beyond.

    n^2 + g^2 <= r^2 holds for whole numbers exactly when n <= isqrt(floor(r^2) - g^2). `most` bounds the radius; no
    two pixels of the picture are further apart.
    """
    radius = min(radius, most) * unit
    square = math.floor(radius * radius * (1 + 1e-12))  # so that math.sqrt(13), squared, is 13 and not less
    halves = [math.isqrt(square - g * g) // unit for g in range(math.isqrt(square) + 1)]
    return torch.tensor([*halves, -1], device=device)
