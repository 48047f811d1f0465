"""The tiles of a picture that are computed, and its cells, which have one displacement each."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

CELL = 4  # pixels along each side of a cell
TILE = 16  # pixels along each side of a tile, a multiple of CELL
NEAR = 8  # pixels: tiles within about this of the area are computed too


class Tiles:
    """Tiles of a picture of size (h, w), which is thought to go on to multiples of TILE.

    Args:
        size: (h, w).
        area: [H, W], bool, of the same picture in any resolution: only tiles are computed that hold some of it, or lie
            near it. None for all.
        device: of the tensors.
    """

    def __init__(self, size: tuple[int, int], area: Tensor | None, device: torch.device) -> None:
        self.size = size
        self.down, self.across = (-(-side // TILE) for side in size)
        self.padded = self.down * TILE, self.across * TILE
        self.cells = self.padded[0] // CELL, self.padded[1] // CELL
        wanted = torch.ones(self.down, self.across, device=device) if area is None else self._holding(area)
        self.row, self.column = wanted.nonzero(as_tuple=True)  # [N]
        pixel = torch.arange(TILE, device=device)
        self.y = (self.row[:, None, None] * TILE + pixel[:, None]).float()  # [N, T, 1]
        self.x = (self.column[:, None, None] * TILE + pixel).float()  # [N, 1, T]
        self.inside = ((self.y < size[0]) & (self.x < size[1])).unsqueeze(1).float()  # [N, 1, T, T]

    @cached_property
    def _between(self) -> Tensor:
        """[T, cells of a tile + 2]: how much each pixel of a row has of each cell, and of the one before and after."""
        count = TILE // CELL + 2
        pixel, cell = (torch.arange(side, dtype=torch.float32, device=self.y.device) for side in (TILE, count))
        pixel = (pixel + 0.5) / CELL + 0.5  # in cells, the first one's middle at 0
        return (1 - (pixel[:, None] - cell).abs()).clamp_(min=0)

    def _holding(self, area: Tensor) -> Tensor:
        step = NEAR * max(round(area.shape[0] / self.size[0]), 1)
        plane = F.avg_pool2d(area[None, None].float(), min(step, *area.shape), step, ceil_mode=True)
        plane = F.max_pool2d(plane, 3, 1, 1)
        side = TILE // NEAR
        plane = F.pad(plane, (0, self.across * side - plane.shape[3], 0, self.down * side - plane.shape[2]))
        return F.max_pool2d(plane, side)[0, 0] > 0

    def __len__(self) -> int:
        return len(self.row)

    def cut(self, planes: Tensor, halo: int = 0) -> Tensor:
        """[N, C, T, T] of planes [1, C, h, w]; with a halo of pixels around each tile. The border goes on."""
        if not halo and tuple(planes.shape[2:]) == self.padded:
            blocks = planes.view(planes.shape[1], self.down, TILE, self.across, TILE)
            return blocks[:, self.row, :, self.column]
        reach = torch.arange(-halo, TILE + halo, device=planes.device)
        rows = (self.row[:, None] * TILE + reach).clamp_(0, planes.shape[2] - 1)
        columns = (self.column[:, None] * TILE + reach).clamp_(0, planes.shape[3] - 1)
        return planes[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)

    def dense(self, cells: Tensor) -> Tensor:
        """[N, C, T, T]: values of cells [1, C, cells down, across], linear between their middles; the border goes on.

        As interpolate would enlarge the whole plane, of which most tiles may not be wanted.
        """
        side = TILE // CELL
        reach = torch.arange(-1, side + 1, device=cells.device)
        rows = (self.row[:, None] * side + reach).clamp_(0, self.cells[0] - 1)
        columns = (self.column[:, None] * side + reach).clamp_(0, self.cells[1] - 1)
        near = cells[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)  # each tile's cells and those around
        return self._between @ near @ self._between.T

    def pooled(self, tiles: Tensor) -> Tensor:
        """[1, C, cells down, across]: means over the cells of tiles [N, C, T, T]; 0 where no tile is."""
        side = TILE // CELL
        found = F.avg_pool2d(tiles, CELL)  # [N, C, T / CELL, T / CELL]
        canvas = tiles.new_zeros(tiles.shape[1], self.down, side, self.across, side)
        canvas[:, self.row, :, self.column] = found
        return canvas.view(1, tiles.shape[1], *self.cells)

    def middles(self) -> tuple[Tensor, Tensor]:
        """x and y of the cells' middles, in pixels, both [cells down, across]."""
        y, x = ((torch.arange(count, dtype=torch.float32, device=self.y.device) + 0.5) * CELL - 0.5
                for count in self.cells)
        return x[None, :].expand(self.cells), y[:, None].expand(self.cells)
