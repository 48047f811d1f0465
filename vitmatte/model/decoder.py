"""The detail capture module: convolutions on the picture, fused with the transformer's feature map.

Source: Yao et al., arXiv 2305.15272, section 3.3. Parameter names are the hub's. `DetailCapture.fold` makes each
BatchNorm part of its convolution: the same function with fewer passes over memory, and no layer that ComfyUI cannot
manage. `inference.decode` computes the same function tile by tile.

Notation: B pictures of H x W pixels; level l has 1 / 2^l of the size; the features stand at level L, the number of
fusion blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .casting import CheckedCasts
from .config import MattingConfig

HEAD_CHANNELS = 16  # of the head's inner layer, in every published net


class ConvNormReLU(nn.Module):
    """3x3 convolution, BatchNorm (None once folded), ReLU."""

    def __init__(self, config: MattingConfig, inputs: int, outputs: int, *, stride: int, ops: Any, **at: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False, **at)
        self.batch_norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, **at)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        x = self.conv(x)
        return (x if self.batch_norm is None else self.batch_norm(x)).relu()

    def fold(self) -> None:
        """Makes the BatchNorm part of the convolution."""
        if self.batch_norm is not None:
            fold_into(self.conv, self.batch_norm)
            self.batch_norm = None


class ConvStream(nn.Module):
    """Detail maps of the picture at 1/2, 1/4, 1/8 of its size."""

    def __init__(self, config: MattingConfig, **how: Any) -> None:
        super().__init__()
        channels = [config.num_channels, *config.convstream_hidden_sizes]
        self.convs = nn.ModuleList(
            ConvNormReLU(config, i, o, stride=2, **how) for i, o in zip(channels, channels[1:], strict=False)
        )

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """[B, channels, H, W] to the maps, from the full size (the picture itself) down."""
        maps = [pixel_values]
        for conv in self.convs:
            maps.append(conv(maps[-1]))
        return maps


class FusionBlock(nn.Module):
    """Doubles the size of the features and mixes in the detail map of that size."""

    def __init__(self, config: MattingConfig, inputs: int, outputs: int, **how: Any) -> None:
        super().__init__()
        self.conv = ConvNormReLU(config, inputs, outputs, stride=1, **how)

    def forward(self, features: Tensor, details: Tensor) -> Tensor:
        """features [B, F, H / 2, W / 2] and details [B, D, H, W] to [B, outputs, H, W]."""
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv(torch.cat([details, features], dim=1))


class MattingHead(nn.Module):
    """Features to the alpha's logit."""

    def __init__(self, config: MattingConfig, *, ops: Any, **at: Any) -> None:
        super().__init__()
        inputs = config.fusion_hidden_sizes[-1]
        # In place 1 transformers has a BatchNorm2d with torch's own epsilon, not the configuration's.
        self.matting_convs = nn.Sequential(
            ops.Conv2d(inputs, HEAD_CHANNELS, 3, padding=1, **at),
            nn.BatchNorm2d(HEAD_CHANNELS, **at),
            nn.ReLU(),
            ops.Conv2d(HEAD_CHANNELS, 1, 1, **at),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, H, W] to [B, 1, H, W]."""
        return self.matting_convs(features)

    def fold(self) -> None:
        """Makes the BatchNorm part of the convolution before it."""
        norm = self.matting_convs[1]
        if isinstance(norm, nn.BatchNorm2d):
            fold_into(self.matting_convs[0], norm)
            self.matting_convs[1] = nn.Identity()


class DetailCapture(CheckedCasts):
    """Feature map and picture to the alpha matte."""

    def __init__(self, config: MattingConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        how = {"ops": operations, "device": device, "dtype": dtype}
        self.convstream = ConvStream(config, **how)
        features = [config.hidden_size, *config.fusion_hidden_sizes]
        details = [*reversed(config.convstream_hidden_sizes), config.num_channels]
        self.fusion_blocks = nn.ModuleList(
            FusionBlock(config, i + d, o, **how) for i, d, o in zip(features, details, features[1:], strict=False)
        )
        self.matting_head = MattingHead(config, **how)

    def forward(self, features: Tensor, pixel_values: Tensor) -> Tensor:
        """features [B, C, H / 2^L, W / 2^L] and pixel_values [B, channels, H, W] to alphas [B, 1, H, W] in 0..1."""
        details = self.convstream(pixel_values)
        for block in self.fusion_blocks:
            features = block(features, details.pop())
        return torch.sigmoid(self.matting_head(features))

    def fold(self) -> None:
        """Makes each BatchNorm part of its convolution, in place: the same function in evaluation mode."""
        for part in self.modules():
            if isinstance(part, (ConvNormReLU, MattingHead)):
                part.fold()

    @property
    def folded(self) -> bool:
        """Whether the BatchNorms are part of their convolutions."""
        return not any(isinstance(part, nn.BatchNorm2d) for part in self.modules())


@torch.no_grad()
def fold_into(conv: Any, norm: nn.BatchNorm2d) -> None:
    """Gives a convolution, transposed or not, the weights of itself followed by a BatchNorm in evaluation mode.

    w' = w * s and b' = (b - mean) * s + beta with s = gamma / sqrt(var + eps), computed in double precision.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    bias = -mean.double() if conv.bias is None else conv.bias.double() - mean.double()
    dtype = norm.weight.dtype
    outputs = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    conv.weight = nn.Parameter((conv.weight.double() * scale.view(outputs)).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter((bias * scale + norm.bias.double()).to(dtype), requires_grad=False)
