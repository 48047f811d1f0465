"""Trimaps: what is surely foreground (1), surely background (0), and unknown (0.5).

A pixel is unknown when it is soft in the mask, or when its Euclidean distance, pixel centre to pixel centre, to the
nearest pixel of the other kind is at most the radius. Distances are exact, and their cost does not grow with the
radius: along a column the distance to the nearest pixel is a running maximum; along a row every pixel at column
distance g makes unknown the interval of half-width sqrt(r^2 - g^2), and a union of intervals is a running sum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNKNOWN = 0.5

# Values this near 0 and 1 count as 0 and 1: one 8-bit step, and a rounding of it in half precision. It is needed:
# ComfyUI 0.33 loads the white of an 8-bit grey PNG as 65280/65535 = 0.9961.
TOLERANCE = 1 / 255 + 1e-4


def make_trimap(mask: Tensor, *, inner: float, outer: float) -> Tensor:
    """A trimap from a rough mask.

    Args:
        mask: [B, H, W] or [H, W], 0 = background to 1 = foreground; values between (further than an 8-bit step from
            either) count as unknown.
        inner: pixels by which the unknown area reaches into the foreground; fractions allowed.
        outer: pixels by which it reaches into the background.

    Returns:
        Shape of the mask, float32: 0, 0.5 (unknown) or 1. The picture's border is no edge.

    Raises:
        ValueError: for another shape or range, no pixels, values that are not finite, or negative radii.
    """
    for name, radius in (("inner", inner), ("outer", outer)):
        if not (isinstance(radius, (int, float)) and math.isfinite(radius) and radius >= 0):
            raise ValueError(f"{name} is {radius!r}; expected a number of pixels, 0 or more")
    check_plane(mask, "mask")
    values = (mask if mask.ndim == 3 else mask.unsqueeze(0)).float()
    foreground, background = sure_areas(values)
    unknown = ~(foreground | background)
    unknown |= foreground & within(~foreground, inner)
    unknown |= background & within(~background, outer)
    return torch.where(unknown, UNKNOWN, foreground.float()).view(mask.shape)


def sure_areas(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Where a mask or trimap in 0..1 is (surely foreground, surely background), both bool and of its shape."""
    return plane >= 1 - TOLERANCE, plane <= TOLERANCE


def check_plane(plane: Tensor, name: str) -> None:
    """Raises ValueError unless `plane` is [B, H, W] or [H, W] with at least one pixel, all in 0..1."""
    if plane.ndim not in (2, 3):
        raise ValueError(f"{name} has shape {list(plane.shape)}; expected [batch, height, width] or [height, width]")
    if plane.numel() == 0:
        raise ValueError(f"{name} has shape {list(plane.shape)}: it is empty")
    if not (plane.is_floating_point() or plane.dtype == torch.bool):
        raise ValueError(f"{name} is {plane.dtype}; expected floating point in 0..1: divide by 255")
    low, high = (float(v) for v in torch.aminmax(plane.float()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    if low < 0 or high > 1:
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected 0..1: scale or clamp it first")


def within(marked: Tensor, radius: float) -> Tensor:
    """Pixels at most `radius` from a marked one.

    Args:
        marked: [B, H, W], bool.
        radius: pixels.

    Returns:
        [B, H, W], bool; true for the marked pixels themselves.
    """
    _, height, width = marked.shape
    reach = _reaches(radius, height + width, marked.device)
    half = reach[_column_distance(marked).clamp_(max=len(reach) - 1)]  # -1 where the column holds no pixel near enough
    column = torch.arange(width, device=marked.device)
    first = (column - half).clamp_(min=0, max=width)
    after = (column + half + 1).clamp_(max=width)
    # +1 where an interval begins, -1 after it ends; the running sum counts the intervals over each pixel.
    ends = torch.zeros(*marked.shape[:2], width + 1, dtype=torch.int32, device=marked.device)
    count = (half >= 0).to(torch.int32)
    ends.scatter_add_(2, first, count).scatter_add_(2, after, -count)
    return ends.cumsum(dim=2)[..., :width] > 0


def _reaches(radius: float, most: int, device: torch.device) -> Tensor:
    """Half-widths along the row for column distances 0, 1, ... up to the radius, and -1 for all beyond.

    n^2 + g^2 <= r^2 holds for whole numbers exactly when n <= isqrt(floor(r^2) - g^2): integers only, so that no
    device rounds. `most` bounds the radius; no two pixels of the picture are further apart.
    """
    radius = min(radius, most)
    square = math.floor(radius * radius * (1 + 1e-12))  # so that math.sqrt(13), squared, is 13 and not less
    return torch.tensor([math.isqrt(square - g * g) for g in range(math.isqrt(square) + 1)] + [-1], device=device)


def _column_distance(marked: Tensor) -> Tensor:
    """[B, H, W] pixels to the nearest marked pixel of the same column; far more than the height where none is."""
    height = marked.shape[1]
    row = torch.arange(height, device=marked.device).view(1, -1, 1)
    far = 4 * (height + marked.shape[2])
    above = torch.where(marked, row, -far).cummax(dim=1).values
    below = torch.where(marked, row, far + height).flip(1).cummin(dim=1).values.flip(1)
    return torch.minimum(row - above, below - row)
