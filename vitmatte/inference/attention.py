"""Attention with relative positions in bounded memory: only the scores of a few queries exist at a time.

The formula and the notation are those of `model.attention`: G heads of all pictures (and windows), M queries,
N = H * W keys in row-major order, d channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .context import Context


@dataclass(frozen=True)
class OffsetTables:
    """Relative position vectors by offset: rows [2H - 1, d] and columns [2W - 1, d], offset o at o + length - 1."""

    rows: Tensor
    columns: Tensor

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return (self.rows.shape[0] + 1) // 2

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return (self.columns.shape[0] + 1) // 2

    def scores_of_places(self, queries: Tensor, place: Tensor, out: Tensor, context: Context) -> Tensor:
        """Relative terms of queries [G, M, d] anywhere, written to out [G, M, H * W].

        Args:
            place: [M], each query's place in the grid (row * W + column).
            context: watches for overflow.
        """
        (groups, count, _), height, width = queries.shape, self.height, self.width
        row = torch.div(place, width, rounding_mode="floor")
        terms, tables = queries @ self._by_offset(), []  # [G, M, 2H - 1 + 2W - 1]
        context.watch_halves(terms, terms=2)  # an infinite sum of both would hide a token
        for at, length, first in ((row, height, 0), (place - row * width, width, 2 * height - 1)):
            key = first + torch.arange(length, device=place.device)
            index = (length - 1 - at)[:, None] + key  # [M, length]
            tables.append(terms.gather(2, index.expand(groups, -1, -1)))
        torch.add(tables[0][..., :, None], tables[1][..., None, :], out=out.view(groups, count, height, width))
        return out

    def scores_of_block(self, queries: Tensor, top: int, left: int, out: Tensor, context: Context) -> Tensor:
        """Relative terms of a block of neighbouring queries, by one product and without copies.

        Args:
            queries: [G, rows, columns, d], the block whose first query stands at (top, left).
            out: [G, rows * columns, H * W] to write to.
            context: watches for overflow.
        """
        groups, rows, columns, dim = queries.shape
        height, width = self.height, self.width
        terms = queries.reshape(-1, dim) @ self._by_offset()  # [G * rows * columns, 2H - 1 + 2W - 1]
        context.watch_halves(terms, terms=2)
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
        return torch.cat([self.rows.flip(0), self.columns.flip(0)]).t()


# From this many queries on torch's fused CPU kernel works in blocks of 256 and overtakes the plain products, whose
# scores leave the cache (benchmarks/attention.py).
FUSED_QUERIES = 768
# Below that, chunks of scores of this size stay in the cache between the three steps on them.
CACHED_SCORES = 2 * 2**20
MIN_QUERIES = 256  # unless that would leave the products too few rows
# Scores further below a query's largest than this count as so much below it. All such keys together weigh less than
# N e^-64 = N 1.6e-28 of the result, which float32 cannot show. Lower ones would become denormal numbers (below
# 1.2e-38 = e^-87), with which processors compute many times slower: with one weight in 64 of that kind, the attention
# took twice its time (benchmarks/attention.py).
LOWEST_SCORE = 64.0


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
    relative: OffsetTables | None,
    grid: tuple[int, int],
    *,
    context: Context,
    place: Tensor | None = None,
    block: tuple[int, int] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The attention of `model.attention` without ever holding more than `context.chunk_bytes` of scores.

    Args:
        queries, keys, values: see the module's shapes; keys and values are those of the whole grid.
        relative: relative positions, or None.
        grid: (H, W) of the keys.
        context: chunk size; its `step` is called after each chunk.
        place: [M], each query's place in the grid; default: the queries are a block of it.
        block: (rows, columns) at the grid's top left whose tokens, in order, are the queries; default: the whole grid.
        out: to write to; may be the queries themselves.

    Returns:
        [G, M, d], in the queries' dtype.
    """
    (groups, count, dim), tokens = queries.shape, keys.shape[1]
    result = torch.empty_like(queries) if out is None else out
    if relative is None:
        return _plain(queries, keys, values, result, context)
    on_cpu = queries.device.type == "cpu"
    # On a CPU scores are kept in float32; with bfloat16 only the products are that, which halves their time.
    halves = on_cpu and queries.dtype == torch.bfloat16
    wide = torch.float32 if on_cpu else queries.dtype
    if wide != relative.rows.dtype:
        relative = OffsetTables(relative.rows.to(wide), relative.columns.to(wide))
    most = max(1, context.chunk_bytes // (wide.itemsize * tokens))  # queries per chunk
    if on_cpu and (halves or min(most, count) < FUSED_QUERIES):
        most = min(most, max(MIN_QUERIES, CACHED_SCORES // (wide.itemsize * tokens)))
    together = max(1, min(groups, most // count))  # groups per chunk: several only if all their queries fit
    size = together * min(most, count) * tokens
    buffer = context.scratch(size * 3 // 2 + 1 if halves else size, wide, queries.device)
    products = buffer[size:].view(queries.dtype) if halves else None
    for first in range(0, groups, together):
        g = slice(first, first + together)
        narrow = queries.dtype if halves else wide
        q, k, v = queries[g].to(narrow), keys[g].to(narrow), values[g].to(narrow)
        for chunk, bias in _biases(relative, q, block or grid, tokens, place, most, buffer, context):
            result[g, chunk] = attend(q[:, chunk], k, v, bias, products)
            context.step(bias.numel() * dim * 2)
    return result


def _plain(queries: Tensor, keys: Tensor, values: Tensor, out: Tensor, context: Context) -> Tensor:
    """Attention without relative positions, written to out, which may be the queries.

    Torch's fused kernels make no scores, and need enough queries at once; elsewhere chunks bound what scores take.
    """
    (groups, count, dim), tokens = queries.shape, keys.shape[1]
    most = max(1, context.chunk_bytes // (queries.element_size() * tokens))
    if queries.device.type in ("cpu", "cuda"):
        most = max(most, FUSED_QUERIES)
    together = max(1, min(groups, most // count))
    for first in range(0, groups, together):
        g = slice(first, first + together)
        for start in range(0, count, most):
            chunk = slice(start, min(start + most, count))
            out[g, chunk] = F.scaled_dot_product_attention(queries[None, g, chunk], keys[None, g], values[None, g])[0]
            context.step((min(groups, g.stop) - first) * (chunk.stop - start) * tokens * dim * 2)
    return out


def _biases(
    relative: OffsetTables, queries: Tensor, block: tuple[int, int], tokens: int, place: Tensor | None, most: int,
    buffer: Tensor, context: Context,
) -> Iterator[tuple[slice, Tensor]]:
    """The chunks of at most `most` queries, each with its relative terms; a chunk's are overwritten by the next's."""
    groups, count, _ = queries.shape
    queries = queries.to(buffer.dtype)
    if place is None:
        for top, bottom, left, right in query_blocks(block, most):
            chunk = slice(top * block[1] + left, (bottom - 1) * block[1] + right)
            part = queries[:, chunk].unflatten(1, (bottom - top, right - left))
            size = (groups, chunk.stop - chunk.start, tokens)
            yield chunk, relative.scores_of_block(part, top, left, buffer[: math.prod(size)].view(size), context)
        return
    for start in range(0, count, most):
        chunk = slice(start, min(start + most, count))
        size = (groups, chunk.stop - chunk.start, tokens)
        out = buffer[: math.prod(size)].view(size)
        yield chunk, relative.scores_of_places(queries[:, chunk], place[chunk], out, context)


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, products: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v; overwrites bias [G, M, N], and products, memory for as many halves."""
    scale = queries.shape[-1] ** -0.5
    if products is not None:
        half = products[:bias.numel()].view(bias.shape)
        torch.bmm(queries, keys.transpose(1, 2), out=half)
        bias.add_(half, alpha=scale)
        _softmax(bias)
        return torch.bmm(half.copy_(bias), values)
    if bias.device.type != "cpu" or queries.shape[1] >= FUSED_QUERIES:
        return F.scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=bias[None])[0]
    # The products add to the bias in place, and the chunk stays in the cache between the three steps.
    bias.baddbmm_(queries * scale, keys.transpose(1, 2))
    _softmax(bias)
    return torch.bmm(bias, values)


def _softmax(scores: Tensor) -> None:
    """The softmax of scores [G, M, N] over the keys, in place and without denormal numbers."""
    torch.maximum(scores, scores.amax(dim=-1, keepdim=True).sub_(LOWEST_SCORE), out=scores)
    torch.softmax(scores, dim=-1, out=scores)
