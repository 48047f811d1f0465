"""The decoder tile by tile: the same function as `model.decoder`, which costs a tile's work and memory only."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..model.config import MattingConfig
from ..model.decoder import HEAD_CHANNELS, ConvNormReLU, DetailCapture, FusionBlock, MattingHead
from ..model.diffusion import INPUTS
from ..padding import Span
from .context import Context, Region
from .tiles import DecoderShape, Tile, features_seen
from .unet_tiles import UNetShape
from .upsample import by_taps, convolved, joined


@torch.no_grad()
def decoded_tile(decoder: DetailCapture, features: Region, region: Region, tile: Tile, context: Context) -> Tensor:
    """One tile of the matte.

    Args:
        decoder: in evaluation mode.
        features: gives a rectangle of the transformer's feature map, in its own places: [B, C, rows, columns].
        region: reads the picture; see `context.Region`.
        tile: see `tiles`.
        context: lends the memory for the largest maps, and watches for overflow.

    Returns:
        [B, tile's rows, tile's columns] in 0..1.
    """
    rows, columns = tile.rows, tile.columns
    details = _details(decoder, region, tile, context)
    top = len(rows.joined)
    x = features(rows.features[top], columns.features[top])
    for level, block in zip(reversed(range(top)), decoder.fusion_blocks, strict=True):
        span = rows.joined[level], columns.joined[level]
        detail = cut(details.pop(), span, (rows.details[level][0], columns.details[level][0]))
        x = _fused(cast(FusionBlock, block).conv, detail, x, context)
        # Next to an edge that is not the picture's, enlargement and convolution did not see what lies beyond.
        x = cut(x, (rows.features[level], columns.features[level]), (span[0][0], span[1][0]))
    x = head_logits(decoder.matting_head, x, context)
    x = cut(x, (rows.matte, columns.matte), (rows.features[0][0], columns.features[0][0]))
    return torch.sigmoid(x.squeeze(1))


def decoder_shape(config: MattingConfig) -> DecoderShape:
    """The channels of a net's decoder, by level."""
    shape, inputs = (DecoderShape, config.num_channels) if config.diffusion is None else (UNetShape, INPUTS)
    return shape(
        details=(inputs, *config.convstream_hidden_sizes),
        features=(*reversed(config.fusion_hidden_sizes), config.hidden_size),
        head=HEAD_CHANNELS,
    )


def features_needed(config: MattingConfig, unknown: Tensor, grid: tuple[int, int]) -> Tensor:
    """Which of the transformer's features must be right for the alpha of the unknown pixels.

    Args:
        config: the net's; a DiffMatte sees all of them as soon as anything is unknown.
        unknown: bool [h, w], the picture without padding.
        grid: (H, W) of the features, which is of the padded picture.

    Returns:
        bool [H, W].
    """
    if config.diffusion is not None:
        return unknown.any().expand(grid).clone()
    return features_seen(unknown, grid, len(config.fusion_hidden_sizes))


def _details(decoder: DetailCapture, region: Region, tile: Tile, context: Context) -> list[Tensor]:
    """The detail maps of a tile, from the full size (the picture itself) down."""
    rows, columns = tile.rows.details, tile.columns.details
    maps = [region(rows[0], columns[0]).contiguous(memory_format=torch.channels_last)]
    for level, conv in enumerate(decoder.convstream.convs, start=1):
        starts = rows[level][0], columns[level][0]
        # Two places before what the first output stands on, so that strides stay in step; its own is cut off.
        first = tuple(max(0, 2 * start - 2) for start in starts)
        ends = 2 * rows[level][1], 2 * columns[level][1]
        source = cut(maps[-1], ((first[0], ends[0]), (first[1], ends[1])),
                      (rows[level - 1][0], columns[level - 1][0]))
        layer = cast(ConvNormReLU, conv)
        found = _finish(layer, layer.conv(source), context)
        maps.append(found[..., starts[0] - first[0] // 2:, starts[1] - first[1] // 2:])
    return maps


def _fused(layer: ConvNormReLU, details: Tensor, features: Tensor, context: Context) -> Tensor:
    """The layer on details [B, D, 2H, 2W] and enlarged features [B, F, H, W]: [B, outputs, 2H, 2W]."""
    if by_taps(features, layer.conv):
        return _finish(layer, convolved(details, features, layer.conv, context), context)
    return _finish(layer, layer.conv(joined(details, features, context)), context)


def _finish(layer: ConvNormReLU, x: Tensor, context: Context) -> Tensor:
    """BatchNorm and ReLU of what the convolution gave, watched for overflow."""
    if layer.batch_norm is not None:
        context.watch_halves(x)  # a negative scale and ReLU would hide it
        x = layer.batch_norm(x)
    x = x.relu_()
    context.watch_halves(x)
    return x


def head_logits(head: MattingHead, features: Tensor, context: Context) -> Tensor:
    """The head, watched for overflow: the sigmoid makes 0 and 1 of infinite logits."""
    inner = head.matting_convs[0](features)
    context.watch_halves(inner)
    logits = head.matting_convs[1:](inner)
    context.watch(logits)
    return logits


def cut(x: Tensor, wanted: tuple[Span, Span], origin: tuple[int, int]) -> Tensor:
    """The wanted rows and columns of a map [..., H, W] whose first place is the origin."""
    (top, bottom), (left, right) = wanted
    return x[..., top - origin[0]:bottom - origin[0], left - origin[1]:right - origin[1]]
