"""Attention within a reach, in cells of CELL x CELL queries, each with the keys around it as far as the reach.

Notation: G heads of all pictures, n stored tokens, R the reach, c cells of M = CELL^2 queries with K = (CELL + 2R)^2
keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.attention import trained_table
from ..model.block import VitDetAttention
from ..padding import touched
from .attention import OffsetTables, attend
from .context import Context
from .needed import BlockTokens

CELL = 8  # tokens on a side of a cell of queries

NOTHING = -1  # in an index: no token is stored there


def attend_in_cells(
    layer: VitDetAttention, queries: Tensor, keys: Tensor, values: Tensor, index: Tensor, block: BlockTokens,
    reach: int, context: Context,
) -> None:
    """Replaces the queries [G, n, d] of attending tokens by what they attend to."""
    groups, _, dim = queries.shape
    wide = torch.float32 if queries.device.type == "cpu" else queries.dtype
    halves = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    place, attending = cells_of(index, block.attending, CELL, 0)  # [c, CELL, CELL]
    around, _ = cells_of(torch.where(block.seen, index, NOTHING), block.attending, CELL, reach)  # [c, CELL + 2R, ...]
    terms = _relative_terms(layer, reach, queries.device, wide)
    count, side = CELL * CELL, CELL + 2 * reach
    for first, last in context.bands(len(place), groups * count * side * side * wide.itemsize, context.chunk_bytes):
        cells, size = last - first, groups * (last - first) * count * side * side
        buffer = context.scratch(size * 3 // 2 + 1 if halves else size, wide, queries.device)
        bias, products = buffer[:size].view(groups * cells, count, side * side), buffer[size:].view(queries.dtype)
        own, near = place[first:last].flatten(), around[first:last].flatten(1)  # [c * M], [c, K]
        q = queries.index_select(1, own.clamp_min(0)).view(groups, cells, CELL, CELL, dim)
        _write_bias(q.to(wide), terms, near, bias.view(groups, cells, CELL, CELL, side, side), context)
        there = near.clamp_min(0).flatten()
        k, v = (z.index_select(1, there).view(groups * cells, side * side, dim) for z in (keys, values))
        narrow = queries.dtype if halves else wide
        q = q.reshape(groups * cells, count, dim).to(narrow)
        found = attend(q, k.to(narrow), v.to(narrow), bias, products if halves else None)
        wanted = attending[first:last].flatten().nonzero().flatten()
        found = found.view(groups, cells * count, dim).index_select(1, wanted).to(queries.dtype)
        queries.index_copy_(1, own[wanted], found)
        context.step(size * dim * 2)


def _relative_terms(
    layer: VitDetAttention, reach: int, device: torch.device, dtype: torch.dtype
) -> OffsetTables | None:
    """The relative position vectors of offsets -R to R, as trained; the last ones where the tables end before."""
    if not layer.relative:
        return None
    tables = (trained_table(table.to(device), reach + 1).to(dtype) for table in (layer.rel_pos_h, layer.rel_pos_w))
    return OffsetTables(*tables)


def _write_bias(queries: Tensor, tables: OffsetTables | None, near: Tensor, out: Tensor, context: Context) -> None:
    """Writes the relative terms, and minus infinity for keys out of reach or not there.

    Args:
        queries: [G, c, CELL, CELL, d].
        tables: vectors of offsets -R to R.
        near: [c, (CELL + 2R)^2], numbers of the keys' tokens.
        out: [G, c, CELL, CELL, CELL + 2R, CELL + 2R].
    """
    side = out.shape[-1]
    query, key = torch.arange(CELL, device=near.device), torch.arange(side, device=near.device)
    # Key j of the surroundings stands at j - R: the offset of query i to it, from 0 for -R, is i - j + 2R.
    offset = query[:, None] - key[None, :] + side - CELL
    beyond = (offset < 0) | (offset > side - CELL)  # [CELL, side]
    if tables is None:
        terms = [queries.new_zeros(*queries.shape[:4], side)] * 2
    else:
        both = torch.cat([tables.rows, tables.columns]).t()  # [d, 2 (2R + 1)]
        found = queries @ both
        context.watch_halves(found, terms=2)
        halves = found.split(tables.rows.shape[0], dim=-1)
        rows = offset.clamp(0, side - CELL)[:, None, :].expand(*queries.shape[:4], side)
        columns = offset.clamp(0, side - CELL)[None, :, :].expand(*queries.shape[:4], side)
        terms = [half.gather(-1, index) for half, index in zip(halves, (rows, columns), strict=True)]
    minus = float("-inf")
    height_terms = terms[0].masked_fill(beyond[:, None, :], minus)
    width_terms = terms[1].masked_fill(beyond[None, :, :], minus)
    torch.add(height_terms[..., :, None], width_terms[..., None, :], out=out)
    missing = near < 0
    if bool(missing.any()):  # an addition takes an eighth of masked_fill_'s time
        out.add_(queries.new_zeros(near.shape).masked_fill_(missing, minus).view(1, -1, 1, 1, side, side))


def cells_of(index: Tensor, marked: Tensor, side: int, around: int) -> tuple[Tensor, Tensor]:
    """The cells of side x side tokens that hold a marked one.

    Args:
        index: [H, W], tokens' numbers. marked: bool [H, W].
        side: tokens on a cell's side.
        around: so many tokens more on every side.

    Returns:
        (numbers [c, side + 2 around, side + 2 around], NOTHING beyond the grid; which are marked, of the same shape).
    """
    rows, columns = touched(marked, side).nonzero(as_tuple=True)  # [c] each
    height, width = index.shape
    pads = (around, around + -width % side, around, around + -height % side)
    numbers = F.pad(index, pads, value=NOTHING)
    marks = F.pad(marked, pads)
    span = torch.arange(side + 2 * around, device=index.device)
    y, x = (rows[:, None] * side + span)[:, :, None], (columns[:, None] * side + span)[:, None, :]
    return numbers[y, x], marks[y, x]
