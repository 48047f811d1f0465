"""A block of the transformer: attention in windows or over the whole grid, MLP, residual convolutions.

Tokens are [B, H, W, C]. Without gradients the work is cut into bands of rows, so that besides the tokens only a
global block's queries, keys and values exist at full size. Parameter names are the hub's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..padding import SizeContract
from .attention import RelativePositions, attention, attention_reference, relative_table
from .execution import Execution
from .vitdet_config import VitDetConfig

ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}
# Numbers of needed tokens, for a size of pictures: oneDNN, which computes bfloat16 on a CPU, keeps a kernel for each.
COUNTS = 8
RESIDUAL_EPS = 1e-6  # of the residual blocks' LayerNorms in every published net, whatever layer_norm_eps says


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al., arXiv 1603.09382): zeroes whole pictures of a batch while training."""
    if rate == 0.0 or not training:
        return x
    keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * keep.to(x.dtype) / (1 - rate)


class VitDetAttention(nn.Module):
    """Multi-head attention over a grid of tokens or over its windows."""

    def __init__(self, config: VitDetConfig, window: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.window = window
        self.heads, self.dim = config.num_attention_heads, config.head_dim
        self.qkv = ops.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias, **at)
        self.proj = ops.Linear(config.hidden_size, config.hidden_size, **at)
        self.relative = config.use_relative_position_embeddings
        if self.relative:
            rows, columns = (window, window) if window else config.grid
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * rows - 1, self.dim, **at))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * columns - 1, self.dim, **at))

    def positions(self, size: tuple[int, int], like: Tensor, run: Execution) -> RelativePositions | None:
        """Relative positions of a grid of that size, resized once a run."""
        if not self.relative:
            return None
        tables = []
        for table, length in zip((self.rel_pos_h, self.rel_pos_w), size, strict=True):
            key = (id(table), length)
            if key not in run.tables:
                run.tables[key] = relative_table(table.to(like.device), length).to(like.dtype)
            tables.append(run.tables[key])
        return RelativePositions(*tables)

    def split(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens [B, H, W, C] to queries, keys, values [3, B * windows * heads, tokens of a window, d]."""
        batch, height, width, _ = x.shape
        padded = SizeContract(size[0]).padded(height), SizeContract(size[1]).padded(width)
        if padded != (height, width):
            # Padding is zero before this layer, and takes part in attention: its values are the layer's bias.
            bias = self.qkv(x.new_zeros(1, x.shape[-1]))
            qkv = bias.expand(batch, *padded, -1).clone()
            qkv[:, :height, :width] = self.qkv(x)
        else:
            qkv = self.qkv(x)
        qkv = qkv.view(batch, padded[0] // size[0], size[0], padded[1] // size[1], size[1], 3, self.heads, self.dim)
        # [B, rows of windows, h, columns of windows, w, 3, heads, d] -> [3, B, rows, columns, heads, h, w, d]
        return qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, size[0] * size[1], self.dim)

    def join(self, result: Tensor, shape: torch.Size, size: tuple[int, int]) -> Tensor:
        """[B * windows * heads, tokens of a window, d] to tokens of that shape [B, H, W, C], projected."""
        batch, height, width, channels = shape
        rows, columns = SizeContract(size[0]).padded(height) // size[0], SizeContract(size[1]).padded(width) // size[1]
        result = result.view(batch, rows, columns, self.heads, *size, self.dim)
        # -> [B, rows of windows, h, columns of windows, w, heads, d]
        result = result.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows * size[0], columns * size[1], channels)
        return self.proj(result[:, :height, :width])

    def infer_windows(self, x: Tensor, run: Execution) -> Tensor:
        """`forward` in windows, without the queries of the padding: tokens [B, H, W, C] to the same."""
        batch, height, width, _ = x.shape
        window, size = self.window, (self.window, self.window)
        relative = self.positions(size, x, run)
        padding = self.qkv(x.new_zeros(1, x.shape[-1])).view(3, 1, 1, 1, self.heads, 1, 1, self.dim)[1:]
        qkv = self.qkv(x).view(batch, height, width, 3, self.heads, self.dim)
        result = x.new_empty(batch, height, width, self.heads, self.dim)
        for top, bottom, rows in _parts(height, window):
            for left, right, columns in _parts(width, window):
                part = _cells(qkv[:, top:bottom, left:right], rows, columns).permute(5, 0, 1, 3, 6, 2, 4, 7)
                queries = part[0].reshape(-1, rows * columns, self.dim)  # [3, B, down, across, heads, rows, columns, d]
                keys_values = part[1:]
                if (rows, columns) != size:  # padding is zero before this layer: its values are the layer's bias
                    keys_values = padding.expand(2, *part.shape[1:5], *size, self.dim).clone()
                    keys_values[..., :rows, :columns, :] = part[1:]
                keys, values = keys_values.reshape(2, -1, window * window, self.dim)
                found = attention(queries, keys, values, relative, size, run=run, block=(rows, columns))
                found = found.view(part.shape[1:]).permute(0, 1, 4, 2, 5, 3, 6)
                _cells(result[:, top:bottom, left:right], rows, columns).copy_(found)
        return self.proj(result.flatten(3))

    def forward(self, x: Tensor, run: Execution, probabilities: list[Tensor] | None = None) -> Tensor:
        """All tokens [B, H, W, C] at once, to the same; also appends the attention probabilities to a given list."""
        size = (self.window, self.window) if self.window else (x.shape[1], x.shape[2])
        queries, keys, values = self.split(x, size)
        relative = self.positions(size, x, run)
        if probabilities is None:
            result = attention(queries, keys, values, relative, size, run=run)
        else:
            result, found = attention_reference(queries, keys, values, relative)
            probabilities.append(found.view(-1, self.heads, *found.shape[1:]))
        return self.join(result, x.shape, size)


class VitDetMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.hidden = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = ops.Linear(config.hidden_size, self.hidden, **at)
        self.fc2 = ops.Linear(self.hidden, config.hidden_size, **at)
        self.activation, self.dropout = ACTIVATION[config.hidden_act], config.dropout_prob

    def infer(self, x: Tensor) -> Tensor:
        """`forward` without dropout."""
        return self.fc2(self.activation(self.fc1(x)))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        x = F.dropout(self.activation(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class VitDetResidual(nn.Module):
    """A bottleneck of 1x1, 3x3 and 1x1 convolutions beside the identity."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.hidden_size // 2
        self.conv1 = ops.Conv2d(width, inner, 1, bias=False, **at)
        self.norm1 = ops.LayerNorm(inner, eps=RESIDUAL_EPS, **at)
        self.conv2 = ops.Conv2d(inner, inner, 3, padding=1, bias=False, **at)
        self.norm2 = ops.LayerNorm(inner, eps=RESIDUAL_EPS, **at)
        self.conv3 = ops.Conv2d(inner, width, 1, bias=False, **at)
        self.norm3 = ops.LayerNorm(width, eps=RESIDUAL_EPS, **at)
        self.activation = ACTIVATION[config.hidden_act]

    @staticmethod
    def _convolve(conv: nn.Module, x: Tensor) -> Tensor:
        return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # tokens are a channels_last picture

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to the same."""
        inner = self.activation(self.norm1(self._convolve(self.conv1, x)))
        inner = self.activation(self.norm2(self._convolve(self.conv2, inner)))
        return x + self.norm3(self._convolve(self.conv3, inner))


class VitDetLayer(nn.Module):
    """One block of the transformer."""

    def __init__(self, config: VitDetConfig, index: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.attention = VitDetAttention(config, config.window_of(index), ops, **at)
        self.norm2 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.mlp = VitDetMlp(config, ops, **at)
        self.drop_path_rate = config.drop_path_rate * index / max(1, config.num_hidden_layers - 1)
        self.residual = VitDetResidual(config, ops, **at) if index in config.residual_block_indices else None

    def forward(self, x: Tensor, run: Execution, probabilities: list[Tensor] | None = None) -> Tensor:
        """Tokens [B, H, W, C] to the same, all at once and differentiably."""
        y = self.attention(self.norm1(x), run, probabilities)
        x = x + drop_path(y, self.drop_path_rate, self.training)
        x = x + drop_path(self.mlp(self.norm2(x)), self.drop_path_rate, self.training)
        return x if self.residual is None else self.residual(x)

    def infer(self, x: Tensor, run: Execution, needed: Tensor | None = None) -> Tensor:
        """The same function as `forward`, in bands of rows.

        Args:
            x: tokens [B, H, W, C]; overwritten.
            run: size of the pieces, and what to call between them.
            needed: bool [H, W], the tokens whose result is wanted; the others' come out as anything.

        Returns:
            [B, H, W, C].
        """
        if self.attention.window:
            self._infer_windows(x, run)
        elif run.strided:
            groups = _every_second(x)
            self._infer_global(groups, run)
            x = _interleaved(groups)
        elif needed is None or bool(needed.all()):
            self._infer_global(x, run)
        else:
            reach = needed if self.residual is None else _grown(needed)
            self._infer_places(x, run, _rounded(reach.flatten()))
        return x if self.residual is None else self._infer_residual(x, run)

    def _finish(self, x: Tensor, attended: Tensor, run: Execution) -> Tensor:
        """Both shortcuts of a piece x [..., C]: the attention's result, and the MLP, whose middle is cut smaller."""
        x = (x + attended).contiguous()  # a picture one token wide may come out in another order
        tokens = x.view(-1, x.shape[-1])
        for start, stop in run.pieces(tokens.shape[0], self.mlp.hidden * x.element_size()):
            tokens[start:stop] += self.mlp.infer(self.norm2(tokens[start:stop]))
            run.step((stop - start) * 2 * self.mlp.hidden * x.shape[-1])
        return x

    def _infer_windows(self, x: Tensor, run: Execution) -> None:
        batch, height, width, channels = x.shape
        window = self.attention.window
        row = batch * window * SizeContract(window).padded(width) * 3 * channels * x.element_size()
        for first, last in run.pieces(SizeContract(window).padded(height) // window, row):
            band = x[:, first * window:last * window]
            attended = self.attention.infer_windows(self.norm1(band), run)
            run.step(band.numel() * 4 * channels)
            x[:, first * window:last * window] = self._finish(band, attended, run)

    def _queries_keys_values(self, x: Tensor, run: Execution) -> Tensor:
        """[3, B * heads, H * W, d] of all tokens."""
        batch, height, width, channels = x.shape
        attention_ = self.attention
        qkv = x.new_empty(3, batch, attention_.heads, height, width, attention_.dim)
        for top, bottom in run.pieces(height, batch * width * 3 * channels * x.element_size()):
            band = x[:, top:bottom]
            found = attention_.split(self.norm1(band), (bottom - top, width))
            qkv[:, :, :, top:bottom] = found.view(3, batch, attention_.heads, bottom - top, width, attention_.dim)
            run.step(band.numel() * 3 * channels)
        return qkv.view(3, batch * attention_.heads, height * width, attention_.dim)

    def _infer_global(self, x: Tensor, run: Execution) -> None:
        batch, height, width, channels = x.shape
        size = (height, width)
        queries, keys, values = self._queries_keys_values(x, run)
        # A chunk's result takes the place of its queries, which nothing needs any more.
        result = attention(queries, keys, values, self.attention.positions(size, x, run), size, run=run, out=queries)
        result = result.view(batch, self.attention.heads, height, width, self.attention.dim)
        for top, bottom in run.pieces(height, batch * width * 3 * channels * x.element_size()):
            band = x[:, top:bottom]
            part = result[:, :, top:bottom].reshape(batch * self.attention.heads, -1, self.attention.dim)
            attended = self.attention.join(part, band.shape, (bottom - top, width))
            run.step(band.numel() * channels)
            x[:, top:bottom] = self._finish(band, attended, run)

    def _infer_places(self, x: Tensor, run: Execution, place: Tensor) -> None:
        batch, height, width, channels = x.shape
        queries, keys, values = self._queries_keys_values(x, run)
        relative = self.attention.positions((height, width), x, run)
        result = attention(queries[:, place], keys, values, relative, (height, width), place=place, run=run)
        attended = self.attention.join(result, torch.Size((batch, 1, len(place), channels)), (1, len(place)))
        run.step(attended.numel() * channels)
        tokens = x.view(batch, height * width, channels)
        tokens[:, place] = self._finish(tokens[:, place], attended.view(batch, len(place), channels), run)

    def _infer_residual(self, x: Tensor, run: Execution) -> Tensor:
        assert self.residual is not None
        batch, height, width, channels = x.shape
        result = torch.empty_like(x)
        for top, bottom in run.pieces(height, batch * width * 2 * channels * x.element_size()):
            above = max(0, top - 1)  # the 3x3 convolution sees one row beyond the band
            found = self.residual(x[:, above:bottom + 1])
            result[:, top:bottom] = found[:, top - above:top - above + bottom - top]
            run.step((bottom - top) * batch * width * channels * channels * 13 // 4)
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


def _rounded(needed: Tensor) -> Tensor:
    """Indices of the places that are needed in bool [N], and of some that are not: in all one of `COUNTS` numbers."""
    step = -(-len(needed) // COUNTS)
    found = needed.nonzero().squeeze(1)
    return torch.cat([found, needed.logical_not().nonzero().squeeze(1)[:-len(found) % step]])


def _grown(needed: Tensor) -> Tensor:
    """bool [H, W], grown by one token in all eight directions."""
    return F.max_pool2d(needed[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
