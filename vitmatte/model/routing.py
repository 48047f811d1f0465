"""Token routing: what the global blocks of MEMatte add to their tokens (Lin et al., AAAI 2025, arXiv 2412.10702).

A router gives each token a margin, which also depends on the mean over all tokens of the picture. Tokens with a margin
above zero attend globally, among themselves and without relative positions, at most `max_routed_tokens` of a picture,
those with the largest margins. A light block of convolutions gives what is added to the others. Each picture of a batch
is routed by itself.

The published nets were trained with noise on the margins (Gumbel softmax) and a loss on how many tokens are routed;
here they only decide, so that routers get no gradients.

Notation: B pictures, H x W tokens of C channels, held as [B, H, W, C]; R routed tokens of a picture. Parameter names
are those of the authors' code; a router lies in its block. `inference.routed` computes the same in bounded memory.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import TransformerConfig

# Of the published nets, whatever their configuration says.
ROUTER_EPS = 1e-5  # of the routers' LayerNorms
LIGHT_RATIO = 2  # width of the light block's inside, in multiples of hidden_size
LIGHT_REACH = 2  # tokens on every side that its 5x5 convolution sees


class Router(nn.Module):
    """Which tokens attend globally."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.limit, self.local = config.max_routed_tokens or 0, width // 2
        self.in_conv = nn.Sequential(
            ops.LayerNorm(width, eps=ROUTER_EPS, **at), ops.Linear(width, width, **at), nn.GELU())
        self.out_conv = nn.Sequential(
            ops.Linear(width, width // 2, **at), nn.GELU(), ops.Linear(width // 2, width // 4, **at), nn.GELU(),
            ops.Linear(width // 4, 2, **at))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to margins [B, H, W]: routed where above zero."""
        inner = self.in_conv(x)
        return self.margins(inner, mean_token(inner[..., self.local:]))

    def margins(self, inner: Tensor, whole: Tensor) -> Tensor:
        """Margins [B, H, W] of what `in_conv` gives of some tokens, [B, H, W, C].

        Args:
            whole: [B, C / 2], the mean of its second half over all tokens of each picture.
        """
        whole = whole.to(inner)[:, None, None].expand(*inner.shape[:3], -1)
        scores = self.out_conv(torch.cat([inner[..., :self.local], whole], dim=-1))
        return scores[..., 0] - scores[..., 1]

    def routed(self, margins: Tensor) -> Tensor:
        """Which tokens attend: bool [B, H, W]."""
        found = margins > 0
        for picture, mine in zip(margins, found, strict=True):
            if int(mine.sum()) > self.limit:
                most = picture.flatten().topk(self.limit).indices
                mine.copy_(torch.zeros_like(mine).flatten().index_fill(0, most, True).view(mine.shape))
        return found


class ChannelAttention(nn.Module):
    """A gain for each channel by its mean and those of its neighbours (Wang et al., ECA-Net, arXiv 1910.03151)."""

    def __init__(self, config: TransformerConfig, **at: Any) -> None:
        super().__init__()
        length = channel_kernel(config.hidden_size)
        self.conv = nn.Conv1d(1, 1, length, padding=length // 2, bias=False, **at)

    def forward(self, mean: Tensor) -> Tensor:
        """Means [B, C] over all tokens to gains [B, 1, 1, C] in 1..2."""
        weight = self.conv.weight.to(mean)  # means are float32 where the net is float16 or bfloat16
        return 1 + F.conv1d(mean[:, None], weight, padding=self.conv.padding).sigmoid()[:, None]


class LightBlock(nn.Module):
    """What stands in for attention where tokens are not routed; takes tokens as they are, without a LayerNorm."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, LIGHT_RATIO * config.hidden_size
        self.fc1 = ops.Linear(width, inner, **at)
        self.dwconv = ops.Conv2d(inner, inner, 2 * LIGHT_REACH + 1, padding=LIGHT_REACH, groups=inner, **at)
        self.fc2 = ops.Linear(inner, width, **at)
        self.eca = ChannelAttention(config, **at)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C] to what is added to them."""
        found = self.mixed(self.widened(x))
        return found * self.eca(mean_token(found)).to(found)

    def widened(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, H, W, inner], token by token."""
        return F.gelu(self.fc1(x))

    def mixed(self, inner: Tensor) -> Tensor:
        """[B, H, W, inner] to [B, H, W, C], each from the 5x5 tokens around it; beyond the edge there are zeros."""
        near = self.dwconv(inner.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # tokens are a channels_last picture
        return self.fc2(F.gelu(near))


def mean_token(x: Tensor) -> Tensor:
    """The mean over the tokens [B, H, W, C] of each picture: [B, C], at least float32."""
    return x.mean(dim=(1, 2), dtype=torch.promote_types(x.dtype, torch.float32))


def channel_kernel(channels: int) -> int:
    """Length of the channel attention's kernel: the odd number that ECA-Net gives for so many channels."""
    length = int(math.log2(channels) / 2 + 0.5)
    return length if length % 2 else length + 1
