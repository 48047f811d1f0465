"""The detail capture module: convolutions on the picture, fused with the transformer's feature map.

Source: Yao et al., arXiv 2305.15272, section 3.3. Parameter names are the hub's. With `folded` each BatchNorm
is part of its convolution (`checkpoint.fold_batch_norm` folds the weights): the same function with fewer passes
over memory, and no layer which ComfyUI cannot manage.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inference.tiles import DecoderShape, Tile
from ..inference.upsample import by_taps, convolved, joined
from ..padding import Span
from .casting import CheckedCasts
from .config import VitMatteConfig
from .execution import Execution, Region

HEAD_CHANNELS = 16  # of the head's inner layer, in every published net


class ConvNormReLU(nn.Module):
    """3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, config: VitMatteConfig, inputs: int, outputs: int, *, stride: int, folded: bool, ops: Any,
                 **at: Any) -> None:
        super().__init__()
        self.conv = ops.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=folded, **at)
        self.batch_norm = None if folded else nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, **at)

    def forward(self, x: Tensor, run: Execution | None = None) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]; a run watches for overflow."""
        return self._finish(self.conv(x), run)

    def infer(self, details: Tensor, features: Tensor, run: Execution) -> Tensor:
        """`forward` of [details, features enlarged by two]: [B, D, 2H, 2W] and [B, F, H, W] to [B, outputs, 2H, 2W]."""
        if by_taps(features, self.conv):
            return self._finish(convolved(details, features, self.conv, run), run)
        return self(joined(details, features, run), run)

    def _finish(self, x: Tensor, run: Execution | None) -> Tensor:
        if self.batch_norm is not None:
            if run is not None:
                run.watch_halves(x)  # a negative scale and ReLU would hide it
            x = self.batch_norm(x)
        x = x.relu_() if not torch.is_grad_enabled() else x.relu()
        if run is not None:
            run.watch_halves(x)
        return x


class ConvStream(nn.Module):
    """Detail maps of the picture at 1/2, 1/4, 1/8 of its size."""

    def __init__(self, config: VitMatteConfig, **how: Any) -> None:
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

    def __init__(self, config: VitMatteConfig, inputs: int, outputs: int, **how: Any) -> None:
        super().__init__()
        self.conv = ConvNormReLU(config, inputs, outputs, stride=1, **how)

    def forward(self, features: Tensor, details: Tensor) -> Tensor:
        """features [B, F, H / 2, W / 2] and details [B, D, H, W] to [B, outputs, H, W]."""
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        return self.conv(torch.cat([details, features], dim=1))


class MattingHead(nn.Module):
    """Features to the alpha's logit."""

    def __init__(self, config: VitMatteConfig, *, folded: bool, ops: Any, **at: Any) -> None:
        super().__init__()
        inputs = config.fusion_hidden_sizes[-1]
        # In place 1 transformers has a BatchNorm2d with torch's own epsilon, not the configuration's.
        self.matting_convs = nn.Sequential(
            ops.Conv2d(inputs, HEAD_CHANNELS, 3, padding=1, **at),
            nn.Identity() if folded else nn.BatchNorm2d(HEAD_CHANNELS, **at),
            nn.ReLU(),
            ops.Conv2d(HEAD_CHANNELS, 1, 1, **at),
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, H, W] to [B, 1, H, W]."""
        return self.matting_convs(features)

    def infer(self, features: Tensor, run: Execution) -> Tensor:
        """`forward`, watched for overflow: the sigmoid makes 0 and 1 of infinite logits."""
        inner = self.matting_convs[0](features)
        run.watch_halves(inner)
        logits = self.matting_convs[1:](inner)
        run.watch(logits)
        return logits


class DetailCapture(CheckedCasts):
    """Feature map and picture to the alpha matte."""

    def __init__(self, config: VitMatteConfig, *, folded: bool = False, operations: Any = nn, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        how = {"folded": folded, "ops": operations, "device": device, "dtype": dtype}
        self.convstream = ConvStream(config, **how)
        features = [config.hidden_size, *config.fusion_hidden_sizes]
        details = [*reversed(config.convstream_hidden_sizes), config.num_channels]
        self.fusion_blocks = nn.ModuleList(
            FusionBlock(config, i + d, o, **how) for i, d, o in zip(features, details, features[1:], strict=False)
        )
        self.matting_head = MattingHead(config, **how)
        self.shape = decoder_shape(config)

    def forward(self, features: Tensor, pixel_values: Tensor) -> Tensor:
        """features [B, C, H / 16, W / 16] and pixel_values [B, channels, H, W] to alphas [B, 1, H, W] in 0..1."""
        details = self.convstream(pixel_values)
        for block in self.fusion_blocks:
            features = block(features, details.pop())
        return torch.sigmoid(self.matting_head(features))

    @torch.no_grad()
    def infer(self, features: Tensor, region: Region, tile: Tile, run: Execution) -> Tensor:
        """The same function for one tile of the matte, which costs the tile's work and memory only.

        Args:
            features: [B, C, H / 16, W / 16] of the whole picture.
            region: reads the picture; see `execution.Region`.
            tile: see `tiles`.
            run: lends the memory for the largest maps.

        Returns:
            [B, tile's rows, tile's columns] in 0..1.
        """
        rows, columns = tile.rows, tile.columns
        details = self._details(region, tile, run)
        top = len(rows.joined)
        x = features[..., slice(*rows.features[top]), slice(*columns.features[top])]
        for level, block in zip(reversed(range(top)), self.fusion_blocks, strict=True):
            joined = rows.joined[level], columns.joined[level]
            detail = _cut(details.pop(), joined, (rows.details[level][0], columns.details[level][0]))
            x = cast(FusionBlock, block).conv.infer(detail, x, run)
            # Next to an edge that is not the picture's, enlargement and convolution did not see what lies beyond.
            x = _cut(x, (rows.features[level], columns.features[level]), (joined[0][0], joined[1][0]))
        x = self.matting_head.infer(x, run)
        x = _cut(x, (rows.matte, columns.matte), (rows.features[0][0], columns.features[0][0]))
        return torch.sigmoid(x.squeeze(1))

    def _details(self, region: Region, tile: Tile, run: Execution) -> list[Tensor]:
        """The detail maps of a tile, from the full size (the picture itself) down."""
        rows, columns = tile.rows.details, tile.columns.details
        maps = [region(rows[0], columns[0]).contiguous(memory_format=torch.channels_last)]
        for level, conv in enumerate(self.convstream.convs, start=1):
            starts = rows[level][0], columns[level][0]
            # Two places before what the first output stands on, so that strides stay in step; its own is cut off.
            first = tuple(max(0, 2 * start - 2) for start in starts)
            ends = 2 * rows[level][1], 2 * columns[level][1]
            source = _cut(maps[-1], ((first[0], ends[0]), (first[1], ends[1])),
                          (rows[level - 1][0], columns[level - 1][0]))
            maps.append(conv(source, run)[..., starts[0] - first[0] // 2:, starts[1] - first[1] // 2:])
        return maps


def _cut(x: Tensor, wanted: tuple[Span, Span], origin: tuple[int, int]) -> Tensor:
    """The wanted rows and columns of a map [..., H, W] whose first place is the origin."""
    (top, bottom), (left, right) = wanted
    return x[..., top - origin[0]:bottom - origin[0], left - origin[1]:right - origin[1]]


def decoder_shape(config: VitMatteConfig) -> DecoderShape:
    """The channels of a configuration's decoder, by level."""
    return DecoderShape(
        details=(config.num_channels, *config.convstream_hidden_sizes),
        features=(*reversed(config.fusion_hidden_sizes), config.hidden_size),
        head=HEAD_CHANNELS,
    )
