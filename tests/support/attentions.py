"""Random inputs of attention with relative positions."""

from __future__ import annotations

import torch

from vitmatte.inference.attention import OffsetTables
from vitmatte.model.attention import RelativePositions, relative_table

GRIDS = [(1, 1), (1, 7), (5, 3), (8, 8), (6, 11)]


def random_attention(grid, groups=3, dim=10, seed=0):
    """(queries, keys, values, relative positions by pair, and by offset) for a grid."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys, values = torch.randn(3, groups, grid[0] * grid[1], dim, generator=generator)
    tables = [torch.randn(2 * length - 1, dim, generator=generator) for length in grid]
    return queries, keys, values, RelativePositions(*map(relative_table, tables, grid)), OffsetTables(*tables)
