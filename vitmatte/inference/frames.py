"""A group of frames computed by a plan: the transformer whole, the decoder where the trimap is unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import torch
from torch import Tensor

from ..model.vitdet import VitDet
from ..model.vitmatte import ViTMatte
from ..padding import Span
from ..plain import without_autocast
from ..trimap.known import unknown_area
from .bands import transformer_features
from .context import Context, Region
from .decode import decoded_tile, decoder_shape, features_needed
from .denoise import Picture, denoising_of
from .local import local_features
from .macs import backbone_macs, local_macs
from .model import MattingModel
from .needed import tokens_by_block
from .plan import WHOLE, Footprint, Plan
from .scope import Scope
from .tiles import Tile, cover


@dataclass(frozen=True)
class Setting:
    """With which net, where, and by which plan frames of one size are computed.

    Args:
        model: net and preprocessing.
        device: where.
        footprint: of the net and the frame that takes most; its dtype is what the net computes in.
        plan: sizes of bands, chunks and tiles, and how many frames run at once.
    """

    model: MattingModel
    device: torch.device
    footprint: Footprint
    plan: Plan


@dataclass(frozen=True)
class Frame:
    """One picture and where its matte goes.

    Args:
        image: [H, W, 3] in 0..1.
        trimap: [H, W] in 0..1.
        out: [H, W], float32; only its unknown pixels are written.
        scope: what global blocks attend to.
    """

    image: Tensor
    trimap: Tensor
    out: Tensor
    scope: Scope = WHOLE

    @cached_property
    def unknown(self) -> Tensor:
        """[H, W], bool."""
        return unknown_area(self.trimap)


class NotFiniteError(RuntimeError):
    """The net's values are not finite where they ought to be."""


def compute(setting: Setting, frames: Sequence[Frame], step: Callable[[float], None]) -> None:
    """Writes the net's alpha to the unknown pixels of frames, each of which has some.

    Args:
        setting: how; at most `plan.frames` frames run at once.
        frames: of the footprint's size; those that run at once have one scope.
        step: called often with the share of the arithmetic that is done.

    Raises:
        NotFiniteError: the net's values are not finite in the setting's precision.
    """
    together = setting.plan.frames
    for first in range(0, len(frames), together):
        group = frames[first:first + together]
        report = partial(_part, step, first, len(group), len(frames))
        with without_autocast([setting.device.type]):
            _compute_group(setting, group, report)


def _compute_group(setting: Setting, frames: Sequence[Frame], step: Callable[[float], None]) -> None:
    net, preprocessing, plan = setting.model.net, setting.model.preprocessing, setting.plan
    device, dtype, scope = setting.device, setting.footprint.dtype, frames[0].scope
    shape = decoder_shape(net.architecture)
    height, width = preprocessing.contract.padded_size(*frames[0].trimap.shape)
    tiles = [cover(frame.unknown.cpu().numpy(), shape, height, width, plan.sides) for frame in frames]
    grid = height >> shape.levels, width >> shape.levels
    needed = torch.stack([features_needed(net.architecture, frame.unknown, grid) for frame in frames]).any(dim=0)
    size = frames[0].trimap.shape[0], frames[0].trimap.shape[1]
    denoising = denoising_of(net, size, (height, width), plan.sides)
    blocks = None
    if scope.reach is not None:
        assert net.architecture.transformer is not None
        blocks = tokens_by_block(needed.to(device), net.architecture.transformer, scope.reach, scope.margin)
        backbone = local_macs(net.architecture.transformer, blocks, scope.reach)
    else:
        backbone = backbone_macs(net, grid, int(needed.sum()), scope.strided)
    done, total = 0, len(frames) * backbone
    total += sum(shape.macs(tile) for ours in tiles for tile in ours)
    total += len(frames) * denoising.macs if denoising else 0

    def advance(macs: int) -> None:
        nonlocal done
        done += macs
        step(done / total)

    def region(frame: Frame, rows: Span, columns: Span) -> Tensor:
        return preprocessing.region(frame.image, frame.trimap, rows, columns, device, dtype)

    def regions(rows: Span, columns: Span) -> Tensor:
        found = [region(frame, rows, columns) for frame in frames]
        return torch.cat(found) if len(found) > 1 else found[0]

    context = Context(plan.band_bytes, plan.chunk_bytes, advance, scope.strided, scope.trained_tables)
    features: Region
    if blocks is not None and scope.reach is not None:
        tokens = local_features(cast(VitDet, net.backbone), regions, len(frames), blocks, scope.reach, context)
        context.watch(tokens.x[:, tokens.numbers(blocks[-1].wanted)])
        features = tokens.map
    else:
        whole = _features(net, regions, len(frames), grid, context, needed.to(device))
        context.watch(whole)
        features = partial(_rectangle, whole)
    _check_finite(context, dtype)
    for i, (frame, ours) in enumerate(zip(frames, tiles, strict=True)):
        unknown, own, read = frame.unknown.to(frame.out.device), partial(_one_of, features, i), partial(region, frame)
        decode: Callable[[Tile], Tensor]
        if denoising is not None:
            decode = denoising.last_step(Picture(read, own, size, device, dtype), context)
        else:
            decode = partial(decoded_tile, net.decoder, own, read, context=context)  # type: ignore[arg-type]
        for tile in ours:
            place = slice(*tile.rows.matte), slice(*tile.columns.matte)
            found = decode(tile)[0]
            frame.out[place] = torch.where(unknown[place], found.to(frame.out), frame.out[place])
            advance(shape.macs(tile))
    _check_finite(context, dtype)


def _features(
    net: ViTMatte, region: Region, batch: int, grid: tuple[int, int], context: Context, needed: Tensor
) -> Tensor:
    """The feature map for the decoder, [B, C, H, W]; another library's backbone runs the whole picture."""
    if net.external is None:
        return transformer_features(net.backbone, region, batch, grid, context, needed)  # type: ignore[arg-type]
    stride = net.external.stride
    with torch.no_grad():
        return net.external(region((0, grid[0] * stride), (0, grid[1] * stride)), context.step)


def _rectangle(features: Tensor, rows: Span, columns: Span) -> Tensor:
    return features[..., slice(*rows), slice(*columns)]


def _one_of(features: Region, number: int, rows: Span, columns: Span) -> Tensor:
    """One picture's rectangle of a feature map."""
    return features(rows, columns)[number:number + 1]


def _check_finite(context: Context, dtype: torch.dtype) -> None:
    if context.overflowed(dtype):
        raise NotFiniteError(f"the net gives values that are infinite or not a number (NaN) in {dtype}: its weights "
                             "are damaged, or its training diverged. Load another checkpoint")


def _part(step: Callable[[float], None], first: int, count: int, total: int, share: float) -> None:
    """Reports a share of frames first to first + count as one of the total."""
    step((first + share * count) / total)
