"""The transformer in bounded memory: the same function as `model.vitdet`, computed in bands of rows of tokens.

Besides the tokens only a global block's queries, keys and values exist at full size. Notation as in `model.block`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.attention import stretched_table, trained_table
from ..model.block import VitDetAttention, VitDetLayer, VitDetResidual
from ..model.vitdet import VitDet, VitDetEmbeddings
from ..padding import SizeContract
from .attention import OffsetTables, attention
from .context import Context, Region
from .routed import run_routed
from .shortcuts import finish

# Numbers of needed tokens, for a size of pictures: libraries underneath keep a kernel for each number.
COUNTS = 8


@torch.no_grad()
def transformer_features(
    net: VitDet, region: Region, batch: int, grid: tuple[int, int], context: Context, needed: Tensor | None = None
) -> Tensor:
    """The feature map of `VitDet.forward`.

    Args:
        net: in evaluation mode.
        region: reads the input; see `context.Region`.
        batch: pictures that `region` gives.
        grid: (H, W), tokens of a picture.
        context: how to run.
        needed: bool [H, W], the tokens whose features are wanted; the others' come out as anything.

    Returns:
        [B, C, H, W].
    """
    x = embedded(net.embeddings, region, batch, grid, context)
    last = net.architecture.depth
    for number, layer in enumerate(net.encoder.layer[:last], start=1):
        x = run_block(cast(VitDetLayer, layer), x, context, needed if number == last else None)
    return x.permute(0, 3, 1, 2)


def embedded(
    embeddings: VitDetEmbeddings, region: Region, batch: int, grid: tuple[int, int], context: Context
) -> Tensor:
    """Tokens [B, H, W, C] of a picture that is read in bands of rows."""
    projection = embeddings.projection
    patch, hidden = projection.kernel_size, projection.out_channels
    tokens, positions = None, None
    per_row = batch * grid[1] * patch[1] * max(projection.in_channels * patch[0], hidden) * 4
    for top, bottom in context.bands(grid[0], per_row):
        band = projection(region((top * patch[0], bottom * patch[0]), (0, grid[1] * patch[1])))
        band = band.permute(0, 2, 3, 1)
        if tokens is None:
            tokens = band.new_empty(batch, *grid, hidden)
        if positions is None and embeddings.position_embeddings is not None:
            positions = embeddings.positions(*grid).to(band)
        tokens[:, top:bottom] = band if positions is None else band + positions[:, top:bottom]
        context.step(band.numel() * projection.in_channels * patch[0] * patch[1])
    assert tokens is not None
    return tokens


def run_block(layer: VitDetLayer, x: Tensor, context: Context, needed: Tensor | None = None) -> Tensor:
    """The same function as `VitDetLayer.forward`.

    Args:
        layer: in evaluation mode.
        x: tokens [B, H, W, C]; overwritten.
        context: sizes of bands and chunks, and what to call between them.
        needed: bool [H, W], the tokens whose result is wanted; the others' come out as anything.

    Returns:
        [B, H, W, C].
    """
    if layer.attention.window:
        _windows(layer, x, context)
    elif layer.router is not None:
        run_routed(layer, x, context, None if needed is None or bool(needed.all()) else _asking(layer, needed))
    elif context.strided:
        groups = _every_second(x)
        _global(layer, groups, context)
        x = _interleaved(groups)
    elif needed is None or bool(needed.all()):
        _global(layer, x, context)
    else:
        _global_for(layer, x, context, _asking(layer, needed))
    return x if layer.residual is None else residual_in_bands(layer.residual, x, context)


def _windows(layer: VitDetLayer, x: Tensor, context: Context) -> None:
    batch, height, width, channels = x.shape
    window = layer.attention.window
    row = batch * window * SizeContract(window).padded(width) * 3 * channels * x.element_size()
    for first, last in context.bands(SizeContract(window).padded(height) // window, row):
        band = x[:, first * window:last * window]
        attended = attended_in_windows(layer.attention, layer.norm1(band), context)
        context.step(band.numel() * 4 * channels)
        x[:, first * window:last * window] = finish(layer, band, attended, context)


def attended_in_windows(layer: VitDetAttention, x: Tensor, context: Context) -> Tensor:
    """`VitDetAttention.forward` in windows, without the queries of the padding: tokens [B, H, W, C] to the same."""
    batch, height, width, _ = x.shape
    window, size = layer.window, (layer.window, layer.window)
    relative = offset_tables(layer, size, x, context)
    padding = layer.qkv(x.new_zeros(1, x.shape[-1])).view(3, 1, 1, 1, layer.heads, 1, 1, layer.dim)[1:]
    qkv = layer.qkv(x).view(batch, height, width, 3, layer.heads, layer.dim)
    result = x.new_empty(batch, height, width, layer.heads, layer.dim)
    for top, bottom, rows in _parts(height, window):
        for left, right, columns in _parts(width, window):
            part = _cells(qkv[:, top:bottom, left:right], rows, columns).permute(5, 0, 1, 3, 6, 2, 4, 7)
            queries = part[0].reshape(-1, rows * columns, layer.dim)  # [3, B, down, across, heads, rows, columns, d]
            keys_values = part[1:]
            if (rows, columns) != size:  # padding is zero before this layer: its values are the layer's bias
                keys_values = padding.expand(2, *part.shape[1:5], *size, layer.dim).clone()
                keys_values[..., :rows, :columns, :] = part[1:]
            keys, values = keys_values.reshape(2, -1, window * window, layer.dim)
            found = attention(queries, keys, values, relative, size, context=context, block=(rows, columns))
            found = found.view(part.shape[1:]).permute(0, 1, 4, 2, 5, 3, 6)
            _cells(result[:, top:bottom, left:right], rows, columns).copy_(found)
    return layer.proj(result.flatten(3))


def _queries_keys_values(layer: VitDetLayer, x: Tensor, context: Context) -> Tensor:
    """[3, B * heads, H * W, d] of all tokens."""
    batch, height, width, channels = x.shape
    heads, dim = layer.attention.heads, layer.attention.dim
    qkv = x.new_empty(3, batch, heads, height, width, dim)
    for top, bottom in context.bands(height, batch * width * 3 * channels * x.element_size()):
        band = x[:, top:bottom]
        found = layer.attention.split(layer.norm1(band), (bottom - top, width))
        qkv[:, :, :, top:bottom] = found.view(3, batch, heads, bottom - top, width, dim)
        context.step(band.numel() * 3 * channels)
    return qkv.view(3, batch * heads, height * width, dim)


def _global(layer: VitDetLayer, x: Tensor, context: Context) -> None:
    batch, height, width, channels = x.shape
    attend, size = layer.attention, (height, width)
    queries, keys, values = _queries_keys_values(layer, x, context)
    # A chunk's result takes the place of its queries, which nothing needs any more.
    tables = offset_tables(attend, size, x, context)
    result = attention(queries, keys, values, tables, size, context=context, out=queries)
    result = result.view(batch, attend.heads, height, width, attend.dim)
    for top, bottom in context.bands(height, batch * width * 3 * channels * x.element_size()):
        band = x[:, top:bottom]
        part = result[:, :, top:bottom].reshape(batch * attend.heads, -1, attend.dim)
        attended = attend.join(part, band.shape, (bottom - top, width))
        context.step(band.numel() * channels)
        x[:, top:bottom] = finish(layer, band, attended, context)


def _global_for(layer: VitDetLayer, x: Tensor, context: Context, place: Tensor) -> None:
    """`_global` for the queries at some places [M] alone."""
    batch, height, width, channels = x.shape
    queries, keys, values = _queries_keys_values(layer, x, context)
    tables = offset_tables(layer.attention, (height, width), x, context)
    result = attention(queries[:, place], keys, values, tables, (height, width), place=place, context=context)
    attended = layer.attention.join(result, torch.Size((batch, 1, len(place), channels)), (1, len(place)))
    context.step(attended.numel() * channels)
    tokens = x.view(batch, height * width, channels)
    attended = attended.view(batch, len(place), channels)
    tokens[:, place] = finish(layer, tokens[:, place], attended, context)


def offset_tables(
    layer: VitDetAttention, size: tuple[int, int], like: Tensor, context: Context
) -> OffsetTables | None:
    """Relative positions of a grid of that size, fitted to it once a run."""
    if not layer.relative:
        return None
    tables = []
    for table, length in zip((layer.rel_pos_h, layer.rel_pos_w), size, strict=True):
        key = (id(table), length)
        if key not in context.tables:
            fitted = trained_table if context.trained_tables else stretched_table
            context.tables[key] = fitted(table.to(like.device), length).to(like.dtype)
        tables.append(context.tables[key])
    return OffsetTables(*tables)


def residual_in_bands(block: VitDetResidual, x: Tensor, context: Context) -> Tensor:
    """`VitDetResidual.forward` of tokens [B, H, W, C] in bands of rows."""
    batch, height, width, channels = x.shape
    result = torch.empty_like(x)
    for top, bottom in context.bands(height, batch * width * 2 * channels * x.element_size()):
        above = max(0, top - 1)  # the 3x3 convolution sees one row beyond the band
        found = block(x[:, above:bottom + 1])
        result[:, top:bottom] = found[:, top - above:top - above + bottom - top]
        context.step((bottom - top) * batch * width * channels * channels * 13 // 4)
    return result


def _parts(length: int, window: int) -> list[tuple[int, int, int]]:
    """(start, stop, length of each window) of the whole windows on an axis, and of the one that is cut off."""
    whole = length // window * window
    return [part for part in ((0, whole, window), (whole, length, length - whole)) if part[1] > part[0]]


def _cells(x: Tensor, rows: int, columns: int) -> Tensor:
    """[B, H, W, ...] in cells, as a view: [B, H / rows, rows, W / columns, columns, ...]."""
    return x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))


def _every_second(x: Tensor) -> Tensor:
    """Tokens [B, H, W, C] as four pictures of every second row and column: [4 * B, H / 2, W / 2, C]."""
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"{height}x{width} tokens; the grid strategy needs even numbers: pad to 32 pixels")
    parts = x.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(4 * batch, height // 2, width // 2, channels)


def _interleaved(groups: Tensor) -> Tensor:
    """`_every_second` undone."""
    fours, height, width, channels = groups.shape
    parts = groups.view(fours // 4, 2, 2, height, width, channels).permute(0, 3, 1, 4, 2, 5)
    return parts.reshape(fours // 4, 2 * height, 2 * width, channels)


def _asking(layer: VitDetLayer, needed: Tensor) -> Tensor:
    """Indices of the tokens that a block must finish for those of bool [H, W], and of some more."""
    return _rounded((needed if layer.residual is None else _grown(needed)).flatten())


def _rounded(needed: Tensor) -> Tensor:
    """Indices of the places that are needed in bool [N], and of some that are not: in all one of `COUNTS` numbers."""
    step = -(-len(needed) // COUNTS)
    found = needed.nonzero().squeeze(1)
    return torch.cat([found, needed.logical_not().nonzero().squeeze(1)[:-len(found) % step]])


def _grown(needed: Tensor) -> Tensor:
    """bool [H, W], grown by one token in all eight directions."""
    return F.max_pool2d(needed[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
