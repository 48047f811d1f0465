"""The transformer with limited reach, for needed tokens alone: what is not needed is neither stored nor computed.

The function is that of `model.vitdet` with an `attention_reach`, on the tokens that exist (see `needed`); tokens that
do not exist are no keys, and zeros to the residual blocks' convolutions. Global blocks attend in cells of CELL x CELL
queries, each with the keys around it as far as the reach.

Notation: B pictures, n stored tokens of C channels, h heads of d channels, R the reach, c cells of M = CELL^2 queries
with K = (CELL + 2R)^2 keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.block import VitDetLayer, VitDetResidual, convolved
from ..model.vitdet import VitDet
from ..padding import Span, touched
from .attention import attention
from .bands import offset_tables, residual_in_bands, run_block
from .cells import CELL, NOTHING, attend_in_cells, cells_of
from .context import Context, Region
from .needed import BlockTokens
from .shortcuts import finish


@dataclass
class StoredTokens:
    """The tokens that are stored, and where they stand.

    Args:
        x: [B, n, C].
        index: [H, W], the number of the token that stands there, or NOTHING.
    """

    x: Tensor
    index: Tensor

    def numbers(self, mask: Tensor) -> Tensor:
        """The numbers of the tokens of a bool [H, W], all of which are stored."""
        return self.index[mask]

    def map(self, rows: Span, columns: Span) -> Tensor:
        """The feature map [B, C, rows, columns] of a rectangle; zeros where no token is stored."""
        index = self.index[slice(*rows), slice(*columns)]
        found = self.x[:, index.clamp_min(0)] * (index >= 0).unsqueeze(-1)  # [B, rows, columns, C]
        return found.permute(0, 3, 1, 2)


@torch.no_grad()
def local_features(
    net: VitDet, region: Region, batch: int, blocks: list[BlockTokens], reach: int, context: Context
) -> StoredTokens:
    """The features of needed tokens.

    Args:
        net: in evaluation mode.
        region: reads the input; see `context.Region`.
        batch: pictures that `region` gives.
        blocks: from `needed.tokens_by_block`, on the net's device.
        reach: of global blocks, in tokens.
        context: how to run.

    Returns:
        The tokens; those wanted of the last block hold the features.
    """
    tokens = embedded(net, region, batch, blocks[0].seen, context)
    for layer, block in zip(net.encoder.layer, blocks, strict=False):
        assert isinstance(layer, VitDetLayer)
        if layer.attention.window:
            _windows(layer, tokens, block, context)
        else:
            _global(layer, tokens, block, reach, context)
        if layer.residual is not None:
            _residual(layer.residual, tokens, block, context)
    return tokens


@torch.no_grad()
def run_block_within(layer: VitDetLayer, x: Tensor, reach: int, context: Context) -> Tensor:
    """The same function as `VitDetLayer.forward` of a net with an `attention_reach`.

    Args:
        layer: in evaluation mode.
        x: tokens [B, H, W, C], contiguous; overwritten.
        reach: of a global block, in tokens.
        context: how to run.

    Returns:
        [B, H, W, C].
    """
    batch, height, width, channels = x.shape
    if layer.attention.window or reach >= max(height, width) - 1:
        return run_block(layer, x, Context(context.band_bytes, context.chunk_bytes, context.step, trained_tables=True))
    everywhere = torch.ones(height, width, dtype=torch.bool, device=x.device)
    index = torch.arange(height * width, device=x.device).view(height, width)
    tokens = StoredTokens(x.view(batch, height * width, channels), index)
    _global(layer, tokens, BlockTokens(everywhere, everywhere, everywhere), reach, context)
    return x if layer.residual is None else residual_in_bands(layer.residual, x, context)


def embedded(net: VitDet, region: Region, batch: int, stored: Tensor, context: Context) -> StoredTokens:
    """The tokens of a bool [H, W], each from its patch; of the picture only their surroundings are read."""
    embeddings, (height, width) = net.embeddings, stored.shape
    projection = embeddings.projection
    patch = projection.kernel_size
    index = torch.full((height, width), NOTHING, dtype=torch.long, device=stored.device)
    index[stored] = torch.arange(int(stored.sum()), device=stored.device)
    positions = None
    if embeddings.position_embeddings is not None and bool(embeddings.position_embeddings.any()):  # zeros add nothing
        positions = embeddings.positions(height, width)
    x: Tensor | None = None
    for top, left, right in _runs(stored, context.band_bytes // (4 * batch * patch[0] * patch[1] * CELL)):
        bottom = min(height, top + CELL)
        found = projection(region((top * patch[0], bottom * patch[0]), (left * patch[1], right * patch[1])))
        found = found.permute(0, 2, 3, 1)  # [B, rows, columns, C]
        if positions is not None:
            found = found + positions[:, top:bottom, left:right].to(found)
        if x is None:
            x = found.new_empty(batch, int(stored.sum()), found.shape[-1])
        there = stored[top:bottom, left:right]
        x[:, index[top:bottom, left:right][there]] = found[:, there]
        context.step(found.numel() * projection.in_channels * patch[0] * patch[1])
    assert x is not None
    return StoredTokens(x, index)


def _runs(stored: Tensor, longest: int) -> Iterator[tuple[int, int, int]]:
    """(row, first column, end) of what must be read, in bands of CELL rows and at most `longest` columns."""
    cells = touched(stored, CELL).cpu()
    width = stored.shape[1]
    step = max(1, longest // CELL)
    for row, marks in enumerate(cells.tolist()):
        column = 0
        while column < len(marks):
            if not marks[column]:
                column += 1
                continue
            end = column
            while end < len(marks) and marks[end] and end - column < step:
                end += 1
            yield row * CELL, column * CELL, min(width, end * CELL)
            column = end


def _windows(layer: VitDetLayer, tokens: StoredTokens, block: BlockTokens, context: Context) -> None:
    """A window block: every window that holds an attending token, whole."""
    attend_in, side = layer.attention, layer.attention.window
    x, (batch, _, channels) = tokens.x, tokens.x.shape
    index, attending = cells_of(tokens.index, block.attending, side, 0)  # [c, side, side] each
    relative = offset_tables(attend_in, (side, side), x, context)
    size = side * side * 3 * channels * x.element_size() * batch
    for first, last in context.bands(len(index), size):
        place, wanted = index[first:last].flatten(1), attending[first:last].flatten(1)  # [c, side^2]
        normed = layer.norm1(x.index_select(1, place.clamp_min(0).flatten())).view(batch, last - first, -1, channels)
        normed.mul_((place >= 0).unsqueeze(-1))  # [B, c, side^2, C]
        qkv = attend_in.qkv(normed).unflatten(3, (3, attend_in.heads, attend_in.dim))
        queries, keys, values = qkv.permute(3, 0, 1, 4, 2, 5).reshape(3, -1, side * side, attend_in.dim)
        found = attention(queries, keys, values, relative, (side, side), context=context, block=(side, side))
        found = found.view(batch, last - first, attend_in.heads, side * side, attend_in.dim).permute(0, 1, 3, 2, 4)
        context.step(batch * place.numel() * 4 * channels * channels)
        some = wanted.flatten().nonzero().flatten()
        found = attend_in.proj(found.reshape(batch, -1, channels).index_select(1, some))
        _finish(layer, x, place.flatten()[some], found, context)


def _global(layer: VitDetLayer, tokens: StoredTokens, block: BlockTokens, reach: int, context: Context) -> None:
    """A global block within the reach."""
    attend_in, x = layer.attention, tokens.x
    batch, count, channels = x.shape
    heads, dim = attend_in.heads, attend_in.dim
    qkv = x.new_zeros(3, batch, heads, count, dim)
    seen = tokens.numbers(block.seen)
    for first, last in context.bands(len(seen), batch * 3 * channels * x.element_size()):
        some = seen[first:last]
        found = attend_in.qkv(layer.norm1(x.index_select(1, some))).unflatten(2, (3, heads, dim))  # [B, some, 3, h, d]
        qkv.index_copy_(3, some, found.permute(2, 0, 3, 1, 4))
        context.step(batch * len(some) * 3 * channels * channels)
    queries, keys, values = qkv.view(3, batch * heads, count, dim)
    attend_in_cells(attend_in, queries, keys, values, tokens.index, block, reach, context)
    attending = tokens.numbers(block.attending)
    result = queries.view(batch, heads, count, dim)  # a cell's result takes the place of its queries
    for first, last in context.bands(len(attending), batch * 3 * channels * x.element_size()):
        some = attending[first:last]
        attended = attend_in.proj(result.index_select(2, some).permute(0, 2, 1, 3).flatten(2))
        context.step(batch * len(some) * channels * channels)
        _finish(layer, x, some, attended, context)


def _finish(layer: VitDetLayer, x: Tensor, some: Tensor, attended: Tensor, context: Context) -> None:
    """The rest of a block for the tokens `some` of x [B, n, C], in place."""
    x.index_copy_(1, some, finish(layer, x.index_select(1, some), attended, context))


def _residual(layer: VitDetResidual, tokens: StoredTokens, block: BlockTokens, context: Context) -> None:
    """A residual block; the 3x3 convolution runs on cells with a token around them."""
    x = tokens.x
    batch, count, channels = x.shape
    attending = tokens.numbers(block.attending)
    inner = x.new_zeros(batch, count, channels // 2)
    for first, last in context.bands(len(attending), batch * 2 * channels * x.element_size()):
        some = attending[first:last]
        pieces = x.index_select(1, some).unsqueeze(1)
        inner.index_copy_(1, some, layer.activation(layer.norm1(convolved(layer.conv1, pieces))).squeeze(1))
    place, wanted = cells_of(tokens.index, block.wanted, CELL, 0)
    around, _ = cells_of(torch.where(block.attending, tokens.index, NOTHING), block.wanted, CELL, 1)
    for first, last in context.bands(len(place), batch * (CELL + 2) ** 2 * channels * x.element_size()):
        near = around[first:last]  # [c, CELL + 2, CELL + 2]
        pieces = inner.index_select(1, near.clamp_min(0).flatten()).view(batch, *near.shape, channels // 2)
        pieces = pieces.mul_((near >= 0).unsqueeze(-1)).flatten(0, 1)  # [B c, CELL + 2, .., C / 2]
        found = layer.activation(layer.norm2(convolved(layer.conv2, pieces)[:, 1:-1, 1:-1]))
        found = layer.norm3(convolved(layer.conv3, found)).unflatten(0, (batch, -1))
        some = wanted[first:last]
        x.index_add_(1, place[first:last][some], found[:, some])
        context.step(batch * int(some.sum()) * channels * channels * 13 // 4)
