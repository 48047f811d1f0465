"""The whole net as one function that torch can trace for every size at once, for `export`.

The net's own `forward` decides by size (whether there is padding, whether a table must be resized, whether a view will
do) and is written for views of tokens; a tracer keeps such a decision, or a condition on the size for each of them.
Here nothing depends on the size but the lengths of ranges: padding, windows and offsets are indices computed in the
graph, and both resizings are products with matrices computed in the graph, so that they are also the same in every
runtime, whatever its resize operator does. All attention scores of a block exist at once.

Tokens are [B, N, C] in row-major order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.preprocessing import Preprocessing
from ..model.block import VitDetAttention, VitDetLayer, VitDetResidual
from ..model.vitdet import VitDet
from ..model.vitmatte import ViTMatte
from ..trimap.known import known_areas

Grid = tuple[int, int]  # rows and columns of tokens; symbols while tracing
CUBIC = -0.75  # Keys' parameter in torch's bicubic interpolation
# Added to the scores of keys out of reach along an axis: their weights are 0, and twice as much fits float16.
OUT_OF_REACH = -1e4


@dataclass(frozen=True)
class Axis:
    """How an axis of a grid of N tokens looks up relative positions, for all blocks that attend over such a grid.

    Args:
        index: [N, length], for each token and each place on the axis the offset of the two, from 0.
        place: [N, length], whether a token stands at a place on the axis.
        resizing: [2 * length - 1, rows of a table], brings a table to the axis's offsets; None where it has them.
        beyond: [N, length], whether a place is out of the token's reach; None without a reach.
    """

    index: Tensor
    place: Tensor
    resizing: Tensor | None
    beyond: Tensor | None = None


@dataclass(frozen=True)
class Layout:
    """What the blocks of one kind share: the grid they attend over, and how tokens come into windows and out.

    Args:
        size: rows and columns of the grid, or of a window.
        axes: of its rows and columns.
        token: [windows * tokens of a window], which token stands there; the number after the last one is padding.
        place: [N], where each token stands. Both None without windows.
    """

    size: Grid
    axes: tuple[Axis, Axis]
    token: Tensor | None = None
    place: Tensor | None = None


class TraceableNet(nn.Module):
    """`ViTMatte.forward` of a ViTDet in evaluation mode."""

    def __init__(self, net: ViTMatte) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, channels, H, W], sides multiples of the patch size, to alphas [B, 1, H, W] in 0..1."""
        backbone = cast(VitDet, self.net.backbone)
        embeddings, config = backbone.embeddings, backbone.architecture
        patches = embeddings.projection(pixel_values)
        grid = patches.shape[2], patches.shape[3]
        x = patches.flatten(2).transpose(1, 2).contiguous()
        if embeddings.position_embeddings is not None:
            x = x + _positions(embeddings.position_embeddings[0, 1:], embeddings.pretrain_grid, grid)
        whole = Layout(grid, _axes(grid, config.grid, config.attention_reach))
        windows = _windows(grid, config.window_size) if config.window_size else whole
        for layer in backbone.encoder.layer[:config.depth]:
            layer = cast(VitDetLayer, layer)
            x = _block(layer, x, grid, windows if layer.attention.window else whole)
        return self.net.decoder(_map(x, grid), pixel_values)


class TraceableMatte(nn.Module):
    """`inference.matte` with the strategy "exact": picture and trimap in, matte out, at any size."""

    def __init__(self, net: ViTMatte, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net, self.preprocessing = TraceableNet(net), preprocessing
        self.dtype = net.dtype

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        """image [B, H, W, 3] and trimap [B, H, W] in 0..1 to the matte [B, H, W] in 0..1, all float32."""
        height, width = trimap.shape[1], trimap.shape[2]
        foreground, background = known_areas(trimap)
        guide = torch.where(foreground, 1.0, torch.where(background, 0.0, trimap))
        unknown = ~(foreground | background)
        padded = _padded(height, self.preprocessing.divisor), _padded(width, self.preprocessing.divisor)
        channels = self.preprocessing.channels(image, guide).to(self.dtype)
        channels = F.pad(channels, (0, 0, 0, padded[1] - width, 0, padded[0] - height))
        alphas = self.net(channels.permute(0, 3, 1, 2).contiguous()).squeeze(1)
        # A slice would leave a tracer with the question whether it is as long as it says.
        alphas = alphas.index_select(1, torch.arange(height)).index_select(2, torch.arange(width))
        return torch.where(unknown, alphas.to(guide.dtype), guide)


def _padded(length: int, divisor: int) -> int:
    """`SizeContract.padded` without a negative number: ONNX divides those towards zero."""
    return (length + divisor - 1) // divisor * divisor


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel, IEEE Trans. ASSP 29 (1981)."""
    x = x.abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def resampling(old: int, new: int, kernel: Callable[[Tensor], Tensor], reach: int) -> Tensor:
    """The matrix [new, old] of `F.interpolate` along one axis, without antialiasing and aligned corners.

    Args:
        old, new: places before and after.
        kernel: weight of a place by its distance.
        reach: distance at which the kernel ends; places beyond the edge count as the edge.
    """
    at = (torch.arange(new) + 0.5) * (old / new) - 0.5
    place = at.floor()[:, None] + torch.arange(1 - reach, 1 + reach)  # [new, 2 * reach]
    weight = kernel(at[:, None] - place)
    return (weight[:, :, None] * (place.clamp(0, old - 1)[:, :, None] == torch.arange(old))).sum(1)


def _positions(embeddings: Tensor, old: Grid, new: Grid) -> Tensor:
    """Absolute positions [old rows * columns, C] at a grid of another size: [rows * columns, C]."""
    rows, columns = (resampling(o, n, _cubic, 2) for o, n in zip(old, new, strict=True))
    both = rows[:, None, :, None] * columns[None, :, None, :]  # [new rows, new columns, old rows, old columns]
    return (both.flatten(2).flatten(0, 1) @ embeddings.float()).to(embeddings.dtype)


def _axes(grid: Grid, trained: Grid, reach: int | None = None) -> tuple[Axis, Axis]:
    """The axes of a grid, for tables that were made for one of the size `trained`; with a reach they are taken as they
    were trained (see `model.attention.relative_table`)."""
    row = torch.arange(grid[0])[:, None].expand(grid).flatten()
    column = torch.arange(grid[1]).expand(grid).flatten()
    return _axis(row, grid[0], trained[0], reach), _axis(column, grid[1], trained[1], reach)


def _axis(at: Tensor, length: int, trained: int, reach: int | None) -> Axis:
    offset = at[:, None] - torch.arange(length)
    if reach is not None:
        largest = trained - 1  # offsets beyond the table's own have its last vector
        return Axis(offset.clamp(-largest, largest) + largest, offset == 0, None, offset.abs() > reach)
    index, place = offset + (length - 1), offset == 0
    if isinstance(length, int) and length == trained:  # a window's; where a tracer puts a symbol, any size may come
        return Axis(index, place, None)
    return Axis(index, place, resampling(2 * trained - 1, 2 * length - 1, _triangle, 1))


def _windows(grid: Grid, side: int) -> Layout:
    """Windows of side x side tokens, the last ones padded."""
    height, width = grid
    down, across = _padded(height, side) // side, _padded(width, side) // side
    row = torch.arange(down * side).view(-1, side)[:, None, :, None]
    column = torch.arange(across * side).view(-1, side)[None, :, None, :]
    token = torch.where((row < height) & (column < width), row * width + column, height * width).flatten()
    row, column = torch.arange(height)[:, None], torch.arange(width)[None, :]
    window = row // side * across + column // side
    place = (window * side * side + row % side * side + column % side).flatten()
    return Layout((side, side), _axes((side, side), (side, side)), token, place)


def _block(layer: VitDetLayer, x: Tensor, grid: Grid, layout: Layout) -> Tensor:
    y = layer.norm1(x)
    if layout.token is not None and layout.place is not None:
        batch, tokens, channels = y.shape[0], layout.size[0] * layout.size[1], y.shape[2]
        y = F.pad(y, (0, 0, 0, 1)).index_select(1, layout.token).view(-1, tokens, channels)  # padding is zero
        y = _attention(layer.attention, y, layout).view(batch, -1, channels).index_select(1, layout.place)
    else:
        y = _attention(layer.attention, y, layout)
    x = x + y
    x = x + layer.mlp(layer.norm2(x))
    return x if layer.residual is None else _residual(layer.residual, x, grid)


def _attention(layer: VitDetAttention, x: Tensor, layout: Layout) -> Tensor:
    """Tokens [G, N, C] of whole grids to the same."""
    groups, tokens, _ = x.shape
    qkv = layer.qkv(x).view(groups, tokens, 3, layer.heads, layer.dim)
    queries, keys, values = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).contiguous().unbind(0)  # [G * heads, N, d]
    scaled = queries * layer.dim ** -0.5
    if layer.relative or layer.reach is not None:
        # As one product, [q | q.Rh | q.Rw] [k | row of k | column of k]: no second tensor of the scores' size.
        tables = (layer.rel_pos_h, layer.rel_pos_w) if layer.relative else (None, None)
        terms = [_terms(queries, table, axis) for table, axis in zip(tables, layout.axes, strict=True)]
        scaled = torch.cat([scaled, *terms], dim=2)
        places = torch.cat([axis.place for axis in layout.axes], dim=1).to(keys.dtype)
        keys = torch.cat([keys, places.expand(keys.shape[0], -1, -1)], dim=2)
    scores = torch.bmm(scaled, keys.transpose(1, 2))
    result = torch.bmm(scores.softmax(dim=-1), values).view(groups, layer.heads, tokens, layer.dim)
    return layer.proj(result.transpose(1, 2).flatten(2))


def _terms(queries: Tensor, table: Tensor | None, axis: Axis) -> Tensor:
    """What is added to the scores of queries [G, N, d] for each place on an axis, [G, N, length]: q . R[offset] where
    there is a table, and OUT_OF_REACH."""
    index = axis.index.expand(queries.shape[0], -1, -1)
    if table is None:
        terms = torch.zeros_like(index, dtype=queries.dtype)
    else:
        if axis.resizing is not None:
            table = (axis.resizing @ table.float()).to(table.dtype)
        terms = (queries @ table.t()).gather(2, index)  # of [G, N, offsets]
    return terms if axis.beyond is None else terms.masked_fill(axis.beyond, OUT_OF_REACH)


def _residual(block: VitDetResidual, x: Tensor, grid: Grid) -> Tensor:
    y = block.activation(block.norm1(_convolved(block.conv1, x, grid)))
    y = block.activation(block.norm2(_convolved(block.conv2, y, grid)))
    return x + block.norm3(_convolved(block.conv3, y, grid))


def _convolved(conv: Any, x: Tensor, grid: Grid) -> Tensor:
    return conv(_map(x, grid)).flatten(2).transpose(1, 2).contiguous()


def _map(x: Tensor, grid: Grid) -> Tensor:
    """Tokens as a map [B, C, H, W] of their own memory; a tracer asks of a view of them whether a side is 1."""
    return x.transpose(1, 2).contiguous().unflatten(2, grid)
