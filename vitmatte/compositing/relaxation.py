"""The relaxation behind the foreground's colours: which pixels are updated, and how.

Pixels are updated a strip at a time, the even rows and then the odd ones, each from its four neighbours; `foreground`
has the equations. Blocks that are known throughout are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..steps import Step

SMOOTHNESS = 1e-2
EDGE_WEIGHT = 0.1
BLOCK = 64  # pixels a side; a strip of blocks at a time stays in a processor's cache


class Strip(NamedTuple):
    """Every second row of a run of blocks; N rows of M pixels."""

    rows: slice  # of the padded colours
    columns: slice
    weights: Tensor  # [4, N, M]: of the neighbours above, below, left and right; their sum is 1
    alpha: Tensor  # [N, M]
    gain: Tensor  # [N, M]: 1 / (S + alpha^2 + (1 - alpha)^2)
    image: Tensor  # [3, N, M]


def odd_and_even(
    image: Tensor, alpha: Tensor, pairs: tuple[Tensor, Tensor], everywhere: bool, step: Step
) -> list[list[Strip]]:
    """The strips of the even rows, and those of the odd ones; pairs: see `neighbour_weights`."""
    both = []
    for first in (0, 1):
        some = []
        for strip in _strips(image, alpha, pairs, first, everywhere):
            some.append(strip)
            step(0.5 * first + 0.5 * strip.rows.stop / len(alpha))
        both.append(some)
    return both


def _strips(
    image: Tensor, alpha: Tensor, pairs: tuple[Tensor, Tensor], first: int, everywhere: bool
) -> Iterator[Strip]:
    """The even (first = 0) or odd (1) rows of all blocks that need updates, neighbouring blocks in one strip."""
    height, width = alpha.shape
    active = torch.ones(-(-height // BLOCK), -(-width // BLOCK), device=alpha.device) if everywhere else _mixed(alpha)
    for band, row in enumerate(active.tolist()):
        top, bottom = band * BLOCK + first, min((band + 1) * BLOCK, height)
        for left, right in _runs(row) if top < bottom else ():
            yield _strip(image, alpha, pairs, slice(top, bottom, 2), slice(left * BLOCK, min(right * BLOCK, width)))


def neighbour_weights(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """w between vertical neighbours [H + 1, W] and horizontal ones [H, W + 1]; 0 across the picture's border."""
    both = []
    for dim in (0, 1):
        steps = alpha.diff(dim=dim).abs_().mul_(EDGE_WEIGHT).add_(SMOOTHNESS)
        both.append(functional.pad(steps, (0, 0, 1, 1) if dim == 0 else (1, 1)))
    return both[0], both[1]


def _mixed(alpha: Tensor) -> Tensor:
    """Which blocks are neither foreground nor background throughout; [rows of blocks, columns], bool."""
    highest, lowest = (functional.max_pool2d(plane[None], BLOCK, ceil_mode=True)[0] for plane in (alpha, -alpha))
    return (highest > 0) & (lowest > -1)


def _runs(row: list[bool]) -> Iterator[tuple[int, int]]:
    """(begin, end) of the stretches of true."""
    begin = None
    for i, value in enumerate([*row, False]):
        if value and begin is None:
            begin = i
        elif not value and begin is not None:
            yield begin, i
            begin = None


def _strip(image: Tensor, alpha: Tensor, pairs: tuple[Tensor, Tensor], rows: slice, columns: slice) -> Strip:
    """The rows (every second one) and columns of image [3, H, W] and alpha [H, W]."""
    alpha = alpha[rows, columns]
    vertical, horizontal = pairs
    sides = (vertical[rows, columns], vertical[rows.start + 1:rows.stop + 1:2, columns],
             horizontal[rows, columns], horizontal[rows, columns.start + 1:columns.stop + 1])
    total = sides[0] + sides[1]
    total.add_(sides[2]).add_(sides[3])
    share = total.reciprocal()
    weights = torch.stack([side * share for side in sides])
    rest = 1 - alpha
    gain = total.addcmul_(alpha, alpha).addcmul_(rest, rest).reciprocal_()
    return Strip(rows, columns, weights, alpha, gain, image[:, rows, columns])


def update(framed: Tensor, strip: Strip) -> None:
    """One application of the formula to a strip of the colours [6, H + 2, W + 2]."""
    rows, columns, (above, below, before, after), alpha, gain, image = strip
    top, bottom, left, right = rows.start, rows.stop, columns.start, columns.stop
    found = framed[:, top:bottom:2, left + 1:right + 1] * above
    found.addcmul_(framed[:, top + 2:bottom + 2:2, left + 1:right + 1], below)
    found.addcmul_(framed[:, top + 1:bottom + 1:2, left:right], before)
    found.addcmul_(framed[:, top + 1:bottom + 1:2, left + 2:right + 2], after)
    rest = 1 - alpha
    wrong = image - found[:3] * alpha
    wrong.addcmul_(found[3:], rest, value=-1).mul_(gain)
    found[:3].addcmul_(wrong, alpha)
    found[3:].addcmul_(wrong, rest)
    framed[:, top + 1:bottom + 1:2, left + 1:right + 1] = found.clamp_(0, 1)
