"""A block of the transformer: attention in windows or over the whole grid, MLP, residual convolutions.

Notation: B pictures, H x W tokens of C channels, held as [B, H, W, C]; h heads of d = C / h channels; windows of
w x w tokens. Parameter names are the hub's. Everything here is differentiable and written for reading;
`inference.bands` computes the same functions in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..padding import SizeContract
from .attention import RelativePositions, attention_probabilities, reach_mask, relative_table
from .config import TransformerConfig
from .routing import LightBlock, Router

ACTIVATION: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}
RESIDUAL_EPS = 1e-6  # of the residual blocks' LayerNorms in every published net, whatever layer_norm_eps says


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al., arXiv 1603.09382): zeroes whole pictures of a batch while training."""
    if rate == 0.0 or not training:
        return x
    keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * keep.to(x.dtype) / (1 - rate)


class VitDetAttention(nn.Module):
    """Multi-head attention over a grid of tokens or over its windows.

    Args:
        config: the transformer's.
        window: tokens on a window's side; 0 for the whole grid, or the tokens of it that a router picks.
        ops: namespace with Linear.
    """

    def __init__(self, config: TransformerConfig, window: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.window, self.reach = window, None if window else config.attention_reach
        self.heads, self.dim = config.num_attention_heads, config.head_dim
        self.qkv = ops.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias, **at)
        self.proj = ops.Linear(config.hidden_size, config.hidden_size, **at)
        self.relative = config.use_relative_position_embeddings and (window > 0 or config.max_routed_tokens is None)
        if self.relative:
            rows, columns = (window, window) if window else config.grid
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * rows - 1, self.dim, **at))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * columns - 1, self.dim, **at))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to the same."""
        size = (self.window, self.window) if self.window else (x.shape[1], x.shape[2])
        queries, keys, values = self.split(x, size)
        return self.join(self.probabilities(queries, keys, size) @ values, x.shape, size)

    def probabilities(self, queries: Tensor, keys: Tensor, size: tuple[int, int]) -> Tensor:
        """Attention probabilities [G, N, N] of queries and keys [G, N, d], N tokens of a window or grid `size`."""
        relative = mask = None
        if self.relative:
            relative = RelativePositions(*(relative_table(table.to(queries), length, self.reach) for table, length in
                                           zip((self.rel_pos_h, self.rel_pos_w), size, strict=True)))
        if self.reach is not None and self.reach < max(size) - 1:  # else every query attends to all
            mask = reach_mask(size, self.reach, queries.device)
        return attention_probabilities(queries, keys, relative, mask)

    def split(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens [B, H, W, C] to queries, keys, values [3, B * windows * h, tokens of a window, d].

        Windows that reach beyond the grid are filled with zeros, which take part in attention.
        """
        contracts = SizeContract(size[0]), SizeContract(size[1])
        below, right = contracts[0].padded(x.shape[1]) - x.shape[1], contracts[1].padded(x.shape[2]) - x.shape[2]
        qkv = self.qkv(F.pad(x, (0, 0, 0, right, 0, below)))  # [B, H', W', 3C]
        qkv = qkv.unflatten(3, (3, self.heads, self.dim))  # [B, H', W', 3, h, d]
        qkv = qkv.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))  # [B, rows, w, columns, w, 3, h, d]
        # -> [3, B, rows of windows, columns of windows, h, w, w, d]
        return qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, -1, size[0] * size[1], self.dim)

    def join(self, result: Tensor, shape: torch.Size, size: tuple[int, int]) -> Tensor:
        """[B * windows * h, tokens of a window, d] to tokens of that shape [B, H, W, C], projected."""
        batch, height, width, channels = shape
        rows, columns = SizeContract(size[0]).padded(height) // size[0], SizeContract(size[1]).padded(width) // size[1]
        result = result.view(batch, rows, columns, self.heads, *size, self.dim)  # [B, rows, columns, h, w, w, d]
        # -> [B, rows of windows, w, columns of windows, w, h, d]
        result = result.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, rows * size[0], columns * size[1], channels)
        return self.proj(result[:, :height, :width])


class VitDetMlp(nn.Module):
    """Two linear layers."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.hidden = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = ops.Linear(config.hidden_size, self.hidden, **at)
        self.fc2 = ops.Linear(self.hidden, config.hidden_size, **at)
        self.activation, self.dropout = ACTIVATION[config.hidden_act], config.dropout_prob

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to [..., C]."""
        x = F.dropout(self.activation(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class VitDetResidual(nn.Module):
    """A bottleneck of 1x1, 3x3 and 1x1 convolutions beside the identity."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.hidden_size // 2
        self.conv1 = ops.Conv2d(width, inner, 1, bias=False, **at)
        self.norm1 = ops.LayerNorm(inner, eps=RESIDUAL_EPS, **at)
        self.conv2 = ops.Conv2d(inner, inner, 3, padding=1, bias=False, **at)
        self.norm2 = ops.LayerNorm(inner, eps=RESIDUAL_EPS, **at)
        self.conv3 = ops.Conv2d(inner, width, 1, bias=False, **at)
        self.norm3 = ops.LayerNorm(width, eps=RESIDUAL_EPS, **at)
        self.activation = ACTIVATION[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to the same."""
        inner = self.activation(self.norm1(convolved(self.conv1, x)))
        inner = self.activation(self.norm2(convolved(self.conv2, inner)))
        return x + self.norm3(convolved(self.conv3, inner))


def convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution of tokens [B, H, W, C], to the same order."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # tokens are a channels_last picture


class VitDetLayer(nn.Module):
    """One block of the transformer."""

    def __init__(self, config: TransformerConfig, index: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.norm1 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.attention = VitDetAttention(config, config.window_of(index), ops, **at)
        self.norm2 = ops.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, **at)
        self.mlp = VitDetMlp(config, ops, **at)
        self.drop_path_rate = config.drop_path_rate * index / max(1, config.num_hidden_layers - 1)
        self.residual = VitDetResidual(config, ops, **at) if index in config.residual_block_indices else None
        self.router = Router(config, ops, **at) if config.is_routed(index) else None
        self.efficient_block = LightBlock(config, ops, **at) if config.is_routed(index) else None

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to the same."""
        attended = self.attention(self.norm1(x)) if self.router is None else self.routed(x)
        x = x + drop_path(attended, self.drop_path_rate, self.training)
        x = x + drop_path(self.mlp(self.norm2(x)), self.drop_path_rate, self.training)
        return x if self.residual is None else self.residual(x)

    def routed(self, x: Tensor) -> Tensor:
        """What a block with a router adds to tokens [B, H, W, C] before the MLP."""
        assert self.router is not None and self.efficient_block is not None
        added = self.efficient_block(x)
        for i, mine in enumerate(self.router.routed(self.router(x))):  # [H, W]
            if bool(mine.any()):
                chosen = self.norm1(x[i][mine])[None, None]  # [1, 1, R, C]
                where = torch.tensor(i, device=x.device), *mine.nonzero(as_tuple=True)
                added = added.index_put(where, self.attention(chosen)[0, 0])
        return added
