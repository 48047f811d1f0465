"""Attention with decomposed relative positions (Li et al., MViTv2, arXiv 2112.01526, section 4.1).

For tokens on a grid of H rows and W columns, the score of query i at (r, c) and key j at (s, t) is

    q_i . k_j / sqrt(d)  +  q_i . Rh[r - s]  +  q_i . Rw[c - t]

with tables Rh, Rw learned per block; the relative terms use the unscaled query. There is no mask: the zero padding of
windows takes part, as in training. With a reach R, a query attends only to keys with |r - s| <= R and |c - t| <= R.

Notation: G heads of all pictures (and windows), M queries, N = H * W keys in row-major order, d channels of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def relative_table(table: Tensor, length: int, reach: int | None = None) -> Tensor:
    """The relative position vectors of every pair of places on an axis.

    Args:
        table: [2 * L - 1, d], vector of offset o at row o + L - 1.
        length: places on the axis.
        reach: largest offset that is attended to. With it the table is taken as it was trained, and offsets beyond the
            table's own have its last vector; without it the table is resized linearly where L is not `length`.

    Returns:
        [length, length, d]: entry [r, s] belongs to offset r - s.
    """
    place = torch.arange(length, device=table.device)
    offset = place[:, None] - place[None, :]  # [length, length]
    fitted = stretched_table(table, length) if reach is None else trained_table(table, length)
    return fitted[offset + length - 1]


def stretched_table(table: Tensor, length: int) -> Tensor:
    """A table [2 * L - 1, d] resized linearly to the offsets of an axis of `length` places: [2 * length - 1, d]."""
    offsets = 2 * length - 1
    if table.shape[0] == offsets:
        return table
    columns = table.float().t().unsqueeze(0)  # [1, d, 2L-1]
    return F.interpolate(columns, size=offsets, mode="linear").squeeze(0).t().to(table.dtype)


def trained_table(table: Tensor, length: int) -> Tensor:
    """The vectors of a table [2 * L - 1, d], as they are, for the offsets of an axis of `length` places.

    Returns:
        [2 * length - 1, d]; offsets beyond the table's own have its first or last vector.
    """
    largest = table.shape[0] // 2
    offsets = torch.arange(1 - length, length, device=table.device)
    return table[offsets.clamp(-largest, largest) + largest]


@dataclass(frozen=True)
class RelativePositions:
    """Relative position vectors of a grid: rows [H, H, d], columns [W, W, d] (see `relative_table`)."""

    rows: Tensor
    columns: Tensor

    def scores(self, queries: Tensor) -> Tensor:
        """Relative terms of the queries [G, H * W, d] of all tokens, to be added to the scores: [G, H * W, H * W]."""
        height, width = self.rows.shape[0], self.columns.shape[0]
        grid = queries.unflatten(1, (height, width))  # [G, H, W, d]
        height_terms = torch.einsum("ghwd,hsd->ghws", grid, self.rows)  # [G, H, W, H]
        width_terms = torch.einsum("ghwd,wtd->ghwt", grid, self.columns)  # [G, H, W, W]
        return (height_terms[..., :, None] + width_terms[..., None, :]).flatten(3).flatten(1, 2)


def reach_mask(grid: tuple[int, int], reach: int, device: torch.device) -> Tensor:
    """Whether each query of a grid (H, W) attends to each key: bool [H * W, H * W]."""
    near = []
    for length in grid:
        place = torch.arange(length, device=device)
        near.append((place[:, None] - place[None, :]).abs() <= reach)
    rows, columns = near  # [H, H], [W, W]
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(2).flatten(0, 1)


def attention_probabilities(
    queries: Tensor, keys: Tensor, relative: RelativePositions | None, mask: Tensor | None = None
) -> Tensor:
    """The formula as it stands.

    Args:
        queries: [G, N, d]. keys: [G, N, d].
        relative: relative positions of the grid, or None for plain attention.
        mask: bool [N, N], which keys each query attends to; None: all.

    Returns:
        [G, N, N], each row with a sum of 1.
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    if relative is not None:
        scores = scores + relative.scores(queries)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)
