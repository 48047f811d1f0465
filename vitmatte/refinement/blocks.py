"""The unknown area as blocks of pixels: what lies between them is neither stored nor computed.

The blocks of the picture's grid in which a pixel is unknown are computed in runs of `size`. A plane of them is packed:
[BLOCK^2 M + 1], for each run its squares [BLOCK, BLOCK, m], and a last value of zero, which stands for every block that
is not there. A run's blocks lie last, so that what is done to a pixel of each is done to numbers that lie side by side
in memory. `surroundings` finds what lies around a block, in the blocks beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..padding import touched

BLOCK = 16  # pixels a side
MARGIN = 2  # pixels around a block that its own depend on: pixels of one 3x3 window are at most two apart
OWN = slice(MARGIN, MARGIN + BLOCK)  # of a block with its margin: its own rows or columns


@dataclass(frozen=True)
class Rectangle:
    """Rows top to bottom and columns left to right, in blocks."""

    top: int
    bottom: int
    left: int
    right: int

    def grown(self, by: int, height: int, width: int) -> Rectangle:
        """With `by` more on each side, inside a grid of height x width."""
        return Rectangle(max(0, self.top - by), min(height, self.bottom + by),
                         max(0, self.left - by), min(width, self.right + by))

    def of(self, grid: Tensor) -> Tensor:
        """This part of a grid."""
        return grid[self.top:self.bottom, self.left:self.right]

    def halves(self) -> tuple[Rectangle, Rectangle]:
        """Cut across the longer side."""
        if self.bottom - self.top >= self.right - self.left:
            middle = (self.top + self.bottom) // 2
            return (Rectangle(self.top, middle, self.left, self.right),
                    Rectangle(middle, self.bottom, self.left, self.right))
        middle = (self.left + self.right) // 2
        return (Rectangle(self.top, self.bottom, self.left, middle),
                Rectangle(self.top, self.bottom, middle, self.right))


def occupied_blocks(unknown: Tensor) -> Tensor:
    """[rows of blocks, columns], bool, on the CPU: in which some pixel of unknown [H, W] (bool) is unknown."""
    return touched(unknown, BLOCK).cpu()


def rectangles(occupied: Tensor, most: int, overlap: int) -> list[Rectangle]:
    """The grid in rectangles with at most so many occupied blocks each, those of the overlap around it included; empty
    ones are left out. A single block is not cut, and neither is a grid that fits whole."""
    height, width = occupied.shape

    def cut(whole: Rectangle) -> Iterator[Rectangle]:
        if not bool(whole.of(occupied).any()):
            return
        count = int(whole.grown(overlap, height, width).of(occupied).sum())
        if count <= most or max(whole.bottom - whole.top, whole.right - whole.left) == 1:
            yield whole
            return
        for half in whole.halves():
            yield from cut(half)

    return list(cut(Rectangle(0, height, 0, width)))


@dataclass(frozen=True)
class Blocks:
    """M occupied blocks of a picture.

    Args:
        rows, columns: [M], of their first pixels in the picture.
        beside: [3, 3, M], the number of the block above left, above, ... below right of each; M where there is none.
    """

    rows: Tensor
    columns: Tensor
    beside: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def runs(self, size: int) -> list[slice]:
        """The numbers of the blocks, so many at a time."""
        return [slice(first, min(first + size, len(self))) for first in range(0, len(self), size)]


def blocks_in(occupied: Tensor, rectangle: Rectangle, device: torch.device) -> Blocks:
    """The occupied blocks of a rectangle, in reading order."""
    inside = rectangle.of(occupied)
    rows, columns = inside.nonzero(as_tuple=True)
    numbers = torch.full((inside.shape[0] + 2, inside.shape[1] + 2), len(rows))
    numbers[rows + 1, columns + 1] = torch.arange(len(rows))
    beside = torch.stack([numbers[rows + i, columns + j] for i in range(3) for j in range(3)])
    return Blocks((rows + rectangle.top).mul_(BLOCK), (columns + rectangle.left).mul_(BLOCK),
                  beside.view(3, 3, -1).to(device))


def packed_zeros(blocks: Blocks, dtype: torch.dtype) -> Tensor:
    """A packed plane of zeros, on the blocks' device."""
    return torch.zeros(BLOCK**2 * len(blocks) + 1, device=blocks.beside.device, dtype=dtype)


def squares(packed: Tensor, run: slice) -> Tensor:
    """The part [BLOCK, BLOCK, m] of a packed plane that is a run's, as a view."""
    return packed[BLOCK**2 * run.start:BLOCK**2 * run.stop].view(BLOCK, BLOCK, -1)


def surroundings(blocks: Blocks, run: slice, size: int) -> Tensor:
    """Where in a packed plane a run's blocks with a margin around them lie, in runs of `size`:
    [(BLOCK + 2 MARGIN)^2 m]."""
    place = torch.arange(-MARGIN, BLOCK + MARGIN, device=blocks.beside.device)
    block, pixel = place.div(BLOCK, rounding_mode="floor") + 1, place % BLOCK
    number = blocks.beside[block[:, None], block[None, :], run]  # [BLOCK + 2 MARGIN, BLOCK + 2 MARGIN, m]
    first = number.div(size, rounding_mode="floor").mul_(size)  # of the run that it lies in
    long = (len(blocks) - first).clamp_(max=size)
    found = (pixel[:, None] * BLOCK + pixel[None, :]).unsqueeze(2) * long + number.sub_(first)
    found.add_(first, alpha=BLOCK**2).masked_fill_(number + first == len(blocks), BLOCK**2 * len(blocks))
    return (found.int() if BLOCK**2 * len(blocks) < 2**31 else found).flatten()


def read(plane: Tensor, blocks: Blocks, run: slice, margin: int = 0) -> Tensor:
    """[..., BLOCK + 2 margin, BLOCK + 2 margin, m] of a picture's plane [H, W] or [H, W, C]; what lies outside of the
    picture repeats its edge."""
    rows, columns = _places(blocks, run, margin, plane)
    height, width = plane.shape[:2]
    found = plane[rows.clamp(0, height - 1).unsqueeze(1), columns.clamp(0, width - 1).unsqueeze(0)]
    return found if plane.ndim == 2 else found.permute(3, 0, 1, 2)


def inside(plane: Tensor, blocks: Blocks, run: slice, *, margin: int = 0, edge: int = 0) -> Tensor:
    """[BLOCK + 2 margin, BLOCK + 2 margin, m], bool: which pixels lie in the picture, at least `edge` from outside."""
    rows, columns = _places(blocks, run, margin, plane)
    height, width = plane.shape[:2]
    within_rows = (rows >= edge) & (rows < height - edge)
    within_columns = (columns >= edge) & (columns < width - edge)
    return within_rows.unsqueeze(1) & within_columns.unsqueeze(0)


def _places(blocks: Blocks, run: slice, margin: int, plane: Tensor) -> tuple[Tensor, Tensor]:
    steps = torch.arange(-margin, BLOCK + margin).unsqueeze(1)
    return tuple((first[run] + steps).to(plane.device)  # type: ignore[return-value]
                 for first in (blocks.rows, blocks.columns))


def write(plane: Tensor, found: Tensor, where: Tensor, blocks: Blocks, run: slice) -> None:
    """Puts found [BLOCK, BLOCK, m] into a picture's plane [H, W], at the pixels `where` [BLOCK, BLOCK, m] (bool)."""
    row, column, number = where.nonzero(as_tuple=True)
    first = (blocks.rows[run].to(plane.device), blocks.columns[run].to(plane.device))
    at = number.to(plane.device)
    plane[first[0][at] + row.to(plane.device), first[1][at] + column.to(plane.device)] = \
        found[row, column, number].to(plane)
