"""The plain vision transformer of ViTMatte: ViTDet with windowed, global and residual blocks.

Tokens are [B, H, W, C] throughout; a feature map [B, C, H, W] is a view of them. Parameter names are the
hub's. Sources: Li et al., arXiv 2203.16527 (ViTDet), Yao et al., arXiv 2305.15272 (residual blocks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import RelativePositions, attention, attention_reference, relative_table
from .config import VitDetConfig, pair
from .execution import Execution
from .size import SizeContract

ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


@dataclass
class BackboneOutput:
    """feature_maps: one [B, C, H, W] per stage of the configuration; the others by request.

    hidden_states: [B, C, H, W] before the first and after each block; attentions: per block
    [pictures (times windows), heads, tokens, tokens].
    """

    feature_maps: tuple[Tensor, ...]
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al., arXiv 1603.09382): zeroes whole pictures of a batch while training."""
    if rate == 0.0 or not training:
        return x
    keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * keep.to(x.dtype) / (1 - rate)


class VitDetEmbeddings(nn.Module):
    """Patches to tokens, with absolute positions resized to the picture's grid."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.pretrain_grid = config.pretrain_grid
        patch = pair(config.patch_size)
        self.projection = ops.Conv2d(config.num_channels, config.hidden_size, patch, stride=patch, **at)
        if config.use_absolute_position_embeddings:
            places = config.pretrain_grid[0] * config.pretrain_grid[1] + 1  # one more for the class token
            self.position_embeddings = nn.Parameter(torch.zeros(1, places, config.hidden_size, **at))
        else:
            self.register_parameter("position_embeddings", None)

    def positions(self, height: int, width: int) -> Tensor:
        """[1, H, W, C], without the class token's; bicubic where the grid is another than in pre-training."""
        grid = self.position_embeddings[:, 1:].unflatten(1, self.pretrain_grid)  # [1, G, G, C]
        if (height, width) == self.pretrain_grid:
            return grid
        maps = grid.float().permute(0, 3, 1, 2)
        return F.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, channels, height, width] to tokens [B, H, W, C]."""
        tokens = self.projection(pixel_values).permute(0, 2, 3, 1)
        if self.position_embeddings is not None:
            tokens = tokens + self.positions(*tokens.shape[1:3]).to(tokens)
        return tokens


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

    def _table(self, table: Tensor, length: int, like: Tensor, run: Execution) -> Tensor:
        key = (id(table), length)
        if key not in run.tables:
            run.tables[key] = relative_table(table.to(like.device), length).to(like.dtype)
        return run.tables[key]

    def _windows(self, qkv: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens' queries, keys and values [B, H, W, 3C] to [3, B * windows * heads, tokens of a window, d]."""
        batch, height, width, _ = qkv.shape
        padded = SizeContract(size[0]).padded(height), SizeContract(size[1]).padded(width)
        if padded != (height, width):
            # Padding is zero before this layer, and takes part in attention: its values are the layer's bias.
            bias = self.qkv(qkv.new_zeros(1, self.heads * self.dim))
            whole = bias.expand(batch, *padded, -1).clone()
            whole[:, :height, :width] = qkv
            qkv = whole
        qkv = qkv.view(batch, padded[0] // size[0], size[0], padded[1] // size[1], size[1], 3, self.heads, self.dim)
        # [B, rows of windows, h, columns of windows, w, 3, heads, d] -> [3, B, rows, columns, heads, h, w, d]
        return qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, size[0] * size[1], self.dim)

    def _tokens(self, result: Tensor, batch: int, height: int, width: int, size: tuple[int, int]) -> Tensor:
        """[B * windows * heads, tokens of a window, d] back to tokens [B, H, W, C], without padding."""
        rows, columns = SizeContract(size[0]).padded(height) // size[0], SizeContract(size[1]).padded(width) // size[1]
        result = result.view(batch, rows, columns, self.heads, *size, self.dim)
        # -> [B, rows of windows, h, columns of windows, w, heads, d]
        result = result.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows * size[0], columns * size[1], -1)
        return result[:, :height, :width]

    def forward(
        self, x: Tensor, run: Execution, place: Tensor | None = None, probabilities: list[Tensor] | None = None
    ) -> Tensor:
        """Attends.

        Args:
            x: tokens [B, H, W, C].
            run: how to run.
            place: [M], the only tokens (row * W + column) whose result is wanted; global blocks only.
            probabilities: a list to append this block's attention probabilities to; needs all scores at once.

        Returns:
            [B, H, W, C], or [B, M, C] for `place`.
        """
        batch, height, width, channels = x.shape
        size = (self.window, self.window) if self.window else (height, width)
        queries, keys, values = self._windows(self.qkv(x), size)
        relative = None
        if self.relative:
            relative = RelativePositions(
                self._table(self.rel_pos_h, size[0], x, run), self._table(self.rel_pos_w, size[1], x, run)
            )
        if place is not None:
            assert not self.window, "only global blocks can leave out queries"
            result = attention(queries[:, place], keys, values, relative, size, place=place, run=run)
            result = result.view(batch, self.heads, -1, self.dim).transpose(1, 2).reshape(batch, -1, channels)
            return self.proj(result)
        if probabilities is None:
            result = attention(queries, keys, values, relative, size, run=run)
        else:
            result, scores = attention_reference(queries, keys, values, relative)
            probabilities.append(scores.view(-1, self.heads, *scores.shape[1:]))
        return self.proj(self._tokens(result, batch, height, width, size))


class VitDetMlp(nn.Module):
    """Two linear layers, in pieces so that the wide layer between them stays small."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        hidden = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = ops.Linear(config.hidden_size, hidden, **at)
        self.fc2 = ops.Linear(hidden, config.hidden_size, **at)
        self.activation, self.hidden, self.dropout = ACTIVATION[config.hidden_act], hidden, config.dropout_prob

    def forward(self, x: Tensor, run: Execution) -> Tensor:
        """[..., C] to [..., C]."""
        if torch.is_grad_enabled():
            return self._layers(x)
        tokens = x.reshape(-1, x.shape[-1])
        result = torch.empty_like(tokens)
        piece = max(1, run.score_bytes // (self.hidden * x.element_size()))
        for start in range(0, tokens.shape[0], piece):
            result[start:start + piece] = self._layers(tokens[start:start + piece])
        return result.view_as(x)

    def _layers(self, x: Tensor) -> Tensor:
        x = F.dropout(self.activation(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class VitDetResidual(nn.Module):
    """A bottleneck of 1x1, 3x3 and 1x1 convolutions beside the identity."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.hidden_size // 2
        eps = 1e-6  # the published residual blocks', whatever layer_norm_eps says
        self.conv1 = ops.Conv2d(width, inner, 1, bias=False, **at)
        self.norm1 = ops.LayerNorm(inner, eps=eps, **at)
        self.conv2 = ops.Conv2d(inner, inner, 3, padding=1, bias=False, **at)
        self.norm2 = ops.LayerNorm(inner, eps=eps, **at)
        self.conv3 = ops.Conv2d(inner, width, 1, bias=False, **at)
        self.norm3 = ops.LayerNorm(width, eps=eps, **at)
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
    """One block: attention, MLP, and the residual convolutions where the configuration has them."""

    def __init__(self, config: VitDetConfig, index: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.attention = VitDetAttention(config, config.window_of(index), ops, **at)
        self.norm2 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.mlp = VitDetMlp(config, ops, **at)
        self.drop_path_rate = config.drop_path_rate * index / max(1, config.num_hidden_layers - 1)
        self.residual = VitDetResidual(config, ops, **at) if index in config.residual_block_indices else None

    def forward(self, x: Tensor, run: Execution, probabilities: list[Tensor] | None = None) -> Tensor:
        """Tokens [B, H, W, C] to the same."""
        y = self.attention(self.norm1(x), run, probabilities=probabilities)
        x = x + drop_path(y, self.drop_path_rate, self.training)
        x = x + drop_path(self.mlp(self.norm2(x), run), self.drop_path_rate, self.training)
        return x if self.residual is None else self.residual(x)


class VitDetEncoder(nn.Module):
    """The blocks; a module of its own for the hub's parameter names."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(VitDetLayer(config, i, ops, **at) for i in range(config.num_hidden_layers))


class VitDetBackbone(nn.Module):
    """The whole transformer.

    Args:
        config: its configuration.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own.
        device, dtype: where and how the parameters are made.
    """

    def __init__(self, config: VitDetConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.config = config
        self.embeddings = VitDetEmbeddings(config, operations, device=device, dtype=dtype)
        self.encoder = VitDetEncoder(config, operations, device=device, dtype=dtype)

    def forward(
        self,
        pixel_values: Tensor,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        run: Execution | None = None,
    ) -> BackboneOutput:
        """[B, channels, height, width], both sides multiples of the patch size, to feature maps.

        Raises:
            ValueError: for another number of channels, or a size that is no multiple of the patch size.
        """
        self._check(pixel_values)
        run = run or Execution()
        probabilities: list[Tensor] | None = [] if output_attentions else None
        wanted = set(self.config.out_stages)
        last = self.config.num_hidden_layers if output_hidden_states or output_attentions else max(wanted)
        states = [self.embeddings(pixel_values)]
        features: dict[int, Tensor] = {}
        for stage in range(last + 1):
            x = states[-1]
            if stage > 0:
                x = self.encoder.layer[stage - 1](x, run, probabilities)
                states = [*states, x] if output_hidden_states else [x]
            if stage in wanted:
                features[stage] = x.permute(0, 3, 1, 2)
        return BackboneOutput(
            feature_maps=tuple(features[stage] for stage in sorted(wanted)),
            hidden_states=tuple(x.permute(0, 3, 1, 2) for x in states) if output_hidden_states else None,
            attentions=tuple(probabilities) if probabilities is not None else None,
        )

    def _check(self, pixel_values: Tensor) -> None:
        patch = pair(self.config.patch_size)
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(f"pixel_values is {list(pixel_values.shape)}; expected [batch, "
                             f"{self.config.num_channels}, height, width] (RGB and trimap)")
        height, width = pixel_values.shape[-2:]
        if height % patch[0] or width % patch[1] or not height or not width:
            raise ValueError(f"pixel_values is {height}x{width}; expected multiples of {patch[0]}x{patch[1]}: "
                             "VitMatteImageProcessor pads to that")
