"""What lies within a radius of marked pixels, or of a soft mask's edge: exact, whatever the radius.

Distances are Euclidean and found along one axis, then along the other. The distance to the nearest place on a line is
the least of the neighbours' distances plus the way to them; each step of the search reaches twice as far as the one
before, so the cost grows with the logarithm of the radius. Of a pixel at distance g along the column, a row keeps by
how much the half-width sqrt(r^2 - g^2) that it reaches falls short of r: what is at most r after walking along the row
is within the radius. All of it is in whole numbers, as narrow as the radius allows, so that no device rounds. Only the
window in which the radius can matter is computed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..steps import Step, ignore, strips

FINENESS = 64  # parts of a pixel in which the place of a soft mask's edge is counted


def within(marked: Tensor, radius: float, step: Step = ignore) -> Tensor:
    """Pixels at most `radius` from a marked one, centre to centre.

    Args:
        marked: [B, H, W], bool.
        radius: pixels.
        step: called between the parts of the computation.

    Returns:
        [B, H, W], bool; true for the marked pixels themselves.
    """
    found = marked.clone()
    window = _window(_steps(marked), marked, radius)
    if window is not None:
        part = found[window]  # the nearest marked pixel has unmarked neighbours, so it is in the window too
        far = _square(radius, part, 1)[1] + 1
        distance = part.logical_not().view(torch.uint8).to(_narrowest(2 * far)).mul_(far)
        step(0.1)
        found[window] = _spread(distance, radius, 1, (1, 2), step)
    return found


def within_contour(values: Tensor, level: float, radius: float, step: Step = ignore) -> Tensor:
    """Pixels whose centre is at most `radius` from the contour on which `values` cross `level`.

    The contour is known where it crosses the lines between the centres of neighbouring pixels, one at least the
    level and one below: there values are taken as linear, and the place is rounded to 1/64 pixel. So the edge between
    0 and 1 lies half-way for level 0.5, and that of a mask drawn with smooth (anti-aliased) edges where it was drawn.

    Args:
        values: [B, H, W], floating point in 0..1.
        level: in 0..1.
        radius: pixels.
        step: called between the parts of the computation.

    Returns:
        [B, H, W], bool.
    """
    values = values.float()
    upper = values >= level
    found = torch.zeros_like(upper)
    window = _window(_steps(upper), upper, radius)
    if window is not None:
        part = values[window]
        vertical, horizontal = _steps(upper[window])
        step(0.1)
        near = _near_crossings(part, vertical, level, radius, (1, 2), lambda share: step(0.5 * share))
        near |= _near_crossings(part, horizontal, level, radius, (2, 1), lambda share: step(0.5 + 0.5 * share))
        found[window] = near
    return found


def _near_crossings(
    values: Tensor, crossed: Tensor, level: float, radius: float, dims: tuple[int, int], step: Step
) -> Tensor:
    """`within_contour` for the crossings between neighbours along dims[0] alone; `crossed` is 1 where they are."""
    far = _square(radius, values, FINENESS)[1] + 1
    dtype = _narrowest(2 * far + FINENESS)
    frame, row, column = crossed.nonzero(as_tuple=True)
    first = frame, row, column
    second = (frame, row + 1, column) if dims[0] == 1 else (frame, row, column + 1)
    start, end = values[first], values[second]
    share = (level - start) / (end - start)
    place = (share.clamp(0, 1) * FINENESS).round_().to(torch.int32)
    distance = torch.full(values.shape, far, dtype=dtype, device=values.device)
    distance[first] = place.clamp(max=far).to(dtype)
    distance[second] = torch.minimum(distance[second], (FINENESS - place).to(dtype))
    step(0.1)
    return _spread(distance, radius, FINENESS, dims, step)


def _steps(marked: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 [B, H - 1, W] and [B, H, W - 1]: 1 where vertical and horizontal neighbours differ."""
    bits = marked.view(torch.uint8)
    return bits[:, 1:] ^ bits[:, :-1], bits[..., 1:] ^ bits[..., :-1]


def _window(steps: tuple[Tensor, Tensor], plane: Tensor, radius: float) -> tuple[slice, slice, slice] | None:
    """Index of the box around all pixels that differ from a neighbour, wider by the radius; None without such."""
    reach = _square(radius, plane, 1)[1] + 1
    ranges = []
    for dim in (1, 2):
        size, other = plane.shape[dim], 3 - dim
        flags = torch.zeros(size, dtype=torch.uint8, device=plane.device)
        for axis, step in enumerate(steps, start=1):
            if step.numel():
                line = step.amax(dim=other).amax(dim=0)
                flags[:len(line)] |= line
                if axis == dim:
                    flags[1:] |= line
        places = flags.nonzero()
        if not len(places):
            return None
        ranges.append(slice(max(int(places[0]) - reach, 0), min(int(places[-1]) + reach + 1, size)))
    return slice(None), ranges[0], ranges[1]


def _spread(distance: Tensor, radius: float, unit: int, dims: tuple[int, int], step: Step) -> Tensor:
    """[B, H, W], bool: pixels within the radius of places that are `distance`, in 1/unit pixel, along dims[0].

    `distance`, [B, H, W], is that to the places next to each pixel alone, and is overwritten.
    """
    square, most = _square(radius, distance, unit)
    reach = most // unit
    _walk(distance, dims[0], reach, unit, step)
    # n^2 + g^2 <= r^2 holds for whole numbers exactly when n <= isqrt(floor(r^2) - g^2).
    short = [reach - math.isqrt(square - g * g) // unit for g in range(most + 1)]
    table = torch.tensor([*short, reach + 1], dtype=_narrowest(2 * reach + 1), device=distance.device)
    distance.clamp_(max=most + 1)
    rest = torch.empty(distance.shape, dtype=table.dtype, device=table.device)
    for rows in strips(distance.shape[1], lambda share: step(0.4 + 0.2 * share)):
        some = distance[:, rows]
        rest[:, rows] = table.index_select(0, some.flatten().int()).view(some.shape)
    _walk(rest, dims[1], reach, 1, lambda share: step(0.6 + share))
    return rest <= reach


def _walk(distance: Tensor, dim: int, reach: int, unit: int, step: Step) -> None:
    """Makes `distance` the least, over pixels up to `reach` away along `dim`, of theirs plus the way to them."""
    size = distance.shape[dim]
    reach, done = min(reach, size - 1), 0
    further = torch.empty_like(distance)
    while done < reach:
        way = min(done + 1, reach - done)
        torch.add(distance, way * unit, out=further)
        for here, there in ((way, 0), (0, way)):
            target = distance.narrow(dim, here, size - way)
            torch.minimum(target, further.narrow(dim, there, size - way), out=target)
        done += way
        step(0.1 + 0.3 * done / reach)


def _square(radius: float, plane: Tensor, unit: int) -> tuple[int, int]:
    """The radius, in 1/unit pixel, squared, and the whole part of it; no more than the picture's size needs."""
    scaled = min(radius, sum(plane.shape[1:])) * unit
    square = math.floor(scaled * scaled * (1 + 1e-12))  # so that math.sqrt(13), squared, is 13 and not less
    return square, math.isqrt(square)


def _narrowest(most: int) -> torch.dtype:
    """The narrowest type of whole numbers that holds 0 to `most`: the narrower, the faster."""
    return torch.uint8 if most < 2**8 else torch.int16 if most < 2**15 else torch.int32
