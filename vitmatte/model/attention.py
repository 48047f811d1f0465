"""Attention with decomposed relative positions (Li et al., MViTv2, arXiv 2112.01526, section 4.1).

For tokens on a grid of H rows and W columns, the score of query i at (r, c) and key j at (s, t) is

    q_i . k_j / sqrt(d)  +  q_i . Rh[r - s]  +  q_i . Rw[c - t]

with tables Rh, Rw learned per block; the relative terms use the unscaled query. `attention_reference` is that
formula, for reading and testing. `attention` computes the same in bounded memory: only the scores of a few
queries exist at a time. There is no mask: the zero padding of windows takes part, as in training.

Shapes: queries [G, M, d], keys and values [G, N, d], where G counts the heads of all pictures (and windows)
and N = H * W tokens in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .execution import Execution


def relative_table(table: Tensor, length: int) -> Tensor:
    """The relative position vectors of every pair of places on an axis.

    Args:
        table: [2 * L - 1, d], vector of offset o at row o + L - 1; resized linearly where L is not `length`.
        length: places on the axis.

    Returns:
        [length, length, d]: entry [r, s] belongs to offset r - s.
    """
    offsets = 2 * length - 1
    if table.shape[0] != offsets:
        columns = table.float().t().unsqueeze(0)  # [1, d, 2L-1]
        table = F.interpolate(columns, size=offsets, mode="linear").squeeze(0).t().to(table.dtype)
    place = torch.arange(length, device=table.device)
    return table[place[:, None] - place[None, :] + length - 1]


@dataclass(frozen=True)
class RelativePositions:
    """Relative position vectors of a grid: rows [H, H, d], columns [W, W, d] (see `relative_table`)."""

    rows: Tensor
    columns: Tensor

    def scores_at(self, queries: Tensor, place: Tensor) -> Tensor:
        """Relative terms of queries anywhere, as the formula stands.

        Args:
            queries: [G, M, d].
            place: [M], each query's place in the grid (row * W + column).

        Returns:
            [G, M, H * W], to be added to the scores.
        """
        width = self.columns.shape[0]
        row = torch.div(place, width, rounding_mode="floor")
        by_query = queries.transpose(0, 1)  # [M, G, d]
        height_terms = by_query @ self.rows[row].transpose(1, 2)  # [M, G, H]
        width_terms = by_query @ self.columns[place - row * width].transpose(1, 2)  # [M, G, W]
        return (height_terms[..., :, None] + width_terms[..., None, :]).flatten(2).transpose(0, 1)

    def scores_of_places(self, queries: Tensor, place: Tensor, out: Tensor, run: Execution) -> Tensor:
        """`scores_at`, written to out [G, M, H * W], by products with each offset's vector instead of each pair's."""
        (groups, count, _), height, width = queries.shape, self.rows.shape[0], self.columns.shape[0]
        row = torch.div(place, width, rounding_mode="floor")
        terms, tables = queries @ self._by_offset(), []  # [G, M, 2H - 1 + 2W - 1]
        run.watch_halves(terms, terms=2)  # an infinite sum of both would hide a token
        for at, length, first in ((row, height, 0), (place - row * width, width, 2 * height - 1)):
            key = first + torch.arange(length, device=place.device)
            index = (length - 1 - at)[:, None] + key  # [M, length]
            tables.append(terms.gather(2, index.expand(groups, -1, -1)))
        torch.add(tables[0][..., :, None], tables[1][..., None, :], out=out.view(groups, count, height, width))
        return out

    def scores_of_block(self, queries: Tensor, top: int, left: int, out: Tensor, run: Execution) -> Tensor:
        """`scores_at` of a block of neighbouring queries, by one product and without copies.

        Args:
            queries: [G, rows, columns, d], the block whose first query stands at (top, left).
            out: [G, rows * columns, H * W] to write to.
            run: watches for overflow.
        """
        groups, rows, columns, dim = queries.shape
        height, width = self.rows.shape[0], self.columns.shape[0]
        terms = queries.reshape(-1, dim) @ self._by_offset()  # [G * rows * columns, 2H - 1 + 2W - 1]
        run.watch_halves(terms, terms=2)
        each = terms.shape[1]
        group, row = rows * columns * each, columns * each
        # A query's terms begin one offset earlier than those of the query above it, or on its left: a view of them.
        height_terms = terms.as_strided((groups, rows, columns, height), (group, row - 1, each, 1), height - 1 - top)
        width_terms = terms.as_strided((groups, rows, columns, width), (group, row, each - 1, 1),
                                       2 * height - 1 + width - 1 - left)
        torch.add(height_terms[..., :, None], width_terms[..., None, :],
                  out=out.view(groups, rows, columns, height, width))
        return out

    def _by_offset(self) -> Tensor:
        """[d, 2H - 1 + 2W - 1]: vectors of row offsets H - 1 down to 1 - H, then of column offsets W - 1 to 1 - W."""
        return torch.cat([part for x in (self.rows, self.columns) for part in (x[:, 0].flip(0), x[0, 1:])]).t()


# From this many queries on torch's fused CPU kernel works in blocks of 256 and overtakes the plain products, whose
# scores leave the cache (benchmarks/attention.py).
FUSED_QUERIES = 768
# Below that, chunks of scores of this size stay in the cache between the three steps on them.
CACHED_SCORES = 2 * 2**20
FEWEST_QUERIES = 256  # unless that would leave the products too few rows


def attention_reference(
    queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions | None, place: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The formula as it stands, with all scores at once; differentiable.

    Args:
        queries, keys, values: see the module's shapes.
        relative: relative positions of the keys' grid, or None for plain attention.
        place: [M], each query's place in the grid; default: the queries are all tokens, in order.

    Returns:
        (result [G, M, d], probabilities [G, M, N]).
    """
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    if relative is not None:
        place = torch.arange(queries.shape[-2], device=queries.device) if place is None else place
        scores = scores + relative.scores_at(queries, place)
    probabilities = scores.softmax(dim=-1)
    return probabilities @ values, probabilities


def query_blocks(grid: tuple[int, int], most: int) -> Iterator[tuple[int, int, int, int]]:
    """Cuts a grid into blocks (top, bottom, left, right) of at most `most` places, in row-major order.

    Whole rows where at least one fits, else pieces of a row.
    """
    height, width = grid
    if most >= width:
        for top in range(0, height, most // width):
            yield top, min(top + most // width, height), 0, width
        return
    for row in range(height):
        for left in range(0, width, most):
            yield row, row + 1, left, min(left + most, width)


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    relative: RelativePositions | None,
    grid: tuple[int, int],
    *,
    run: Execution,
    place: Tensor | None = None,
    block: tuple[int, int] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`attention_reference` without ever holding more than `run.score_bytes` of scores.

    Args:
        queries, keys, values: see the module's shapes; keys and values are those of the whole grid.
        relative: relative positions, or None.
        grid: (H, W) of the keys.
        run: chunk size; its `step` is called after each chunk.
        place: [M], each query's place in the grid; default: the queries are a block of it.
        block: (rows, columns) at the grid's top left whose tokens, in order, are the queries; default: the whole grid.
        out: to write to; may be the queries themselves.

    Returns:
        [G, M, d], in the queries' dtype.
    """
    if torch.is_grad_enabled() and queries.requires_grad:
        assert block is None
        return attention_reference(queries, keys, values, relative, place)[0]
    (groups, count, dim), tokens = queries.shape, keys.shape[1]
    if relative is None:  # torch's own fused attention needs no bias, so it bounds its memory itself
        result = F.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        run.step(groups * count * tokens * dim * 2)
        return result
    result = torch.empty_like(queries) if out is None else out
    on_cpu = queries.device.type == "cpu"
    # On a CPU scores are kept in float32; with bfloat16 only the products are that, which halves their time.
    halves = on_cpu and queries.dtype == torch.bfloat16
    wide = torch.float32 if on_cpu else queries.dtype
    if wide != relative.rows.dtype:
        relative = RelativePositions(relative.rows.to(wide), relative.columns.to(wide))
    most = max(1, run.score_bytes // (wide.itemsize * tokens))  # queries per chunk
    if on_cpu and (halves or min(most, count) < FUSED_QUERIES):
        most = min(most, max(FEWEST_QUERIES, CACHED_SCORES // (wide.itemsize * tokens)))
    together = max(1, min(groups, most // count))  # groups per chunk: several only if all their queries fit
    size = together * min(most, count) * tokens
    buffer = run.scratch(size * 3 // 2 + 1 if halves else size, wide, queries.device)
    products = buffer[size:].view(queries.dtype) if halves else None
    for first in range(0, groups, together):
        g = slice(first, first + together)
        narrow = queries.dtype if halves else wide
        q, k, v = queries[g].to(narrow), keys[g].to(narrow), values[g].to(narrow)
        for chunk, bias in _biases(relative, q, block or grid, tokens, place, most, buffer, run):
            result[g, chunk] = _attend(q[:, chunk], k, v, bias, products)
            run.step(bias.numel() * dim * 2)
    return result


def _biases(
    relative: RelativePositions, queries: Tensor, block: tuple[int, int], tokens: int, place: Tensor | None, most: int,
    buffer: Tensor, run: Execution,
) -> Iterator[tuple[slice, Tensor]]:
    """The chunks of at most `most` queries, each with its relative terms; a chunk's are overwritten by the next's."""
    groups, count, _ = queries.shape
    queries = queries.to(buffer.dtype)
    if place is None:
        for top, bottom, left, right in query_blocks(block, most):
            chunk = slice(top * block[1] + left, (bottom - 1) * block[1] + right)
            part = queries[:, chunk].unflatten(1, (bottom - top, right - left))
            size = (groups, chunk.stop - chunk.start, tokens)
            yield chunk, relative.scores_of_block(part, top, left, buffer[: math.prod(size)].view(size), run)
        return
    for start in range(0, count, most):
        chunk = slice(start, min(start + most, count))
        size = (groups, chunk.stop - chunk.start, tokens)
        out = buffer[: math.prod(size)].view(size)
        yield chunk, relative.scores_of_places(queries[:, chunk], place[chunk], out, run)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, products: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v; overwrites bias [G, M, N], and products, memory for as many halves."""
    scale = queries.shape[-1] ** -0.5
    if products is not None:
        half = products[:bias.numel()].view(bias.shape)
        torch.bmm(queries, keys.transpose(1, 2), out=half)
        bias.add_(half, alpha=scale)
        torch.softmax(bias, dim=-1, out=bias)
        return torch.bmm(half.copy_(bias), values)
    if bias.device.type != "cpu" or queries.shape[1] >= FUSED_QUERIES:
        return F.scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=bias[None])[0]
    # The products add to the bias in place, and the chunk stays in the cache between the three steps.
    bias.baddbmm_(queries * scale, keys.transpose(1, 2))
    torch.softmax(bias, dim=-1, out=bias)
    return torch.bmm(bias, values)
