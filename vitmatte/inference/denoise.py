"""DiffMatte's steps tile by tile: the same function as `model.dunet`, in the memory of a tile and the picture's state.

Each step sees the whole picture, known pixels too: what it is given is divided by the standard deviation of the whole
state. So all steps but the last compute all tiles, and the last those with unknown pixels. The state is whole between
the steps, in float32, and a tile's surroundings are read from it, so that tiles change nothing beyond rounding.

The middle block's way to its last ReLU is the same in all steps, but for what the time's embedding adds before its
second convolution; this is linear, and adds a number for each channel, another one along the picture's edges. So the
middle is computed once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.diffusion import Step, condition, given_state, noise, steps_of
from ..model.dunet import DownBlock, DUNet, UpBlock
from ..model.vitmatte import ViTMatte
from ..padding import Span
from .context import Context, Region
from .decode import cut, decoder_shape, head_logits
from .tiles import Tile, cover
from .transposed import doubled
from .unet_tiles import UNetShape, UNetSpans, below_enlargement
from .upsample import add_enlarged, by_taps

CL = torch.channels_last


@dataclass(frozen=True)
class Picture:
    """One picture that the decoder works on.

    Args:
        region: reads the net's input; see `context.Region`.
        features: gives a rectangle of the transformer's feature map.
        size: (height, width) in pixels, without padding.
        device, dtype: where and in what the decoder computes.
    """

    region: Region
    features: Region
    size: tuple[int, int]
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Denoising:
    """How DiffMatte's decoder works on pictures of one size.

    Args:
        decoder: in evaluation mode.
        shape: its channels.
        tiles: of the whole picture, each pixel in one of them.
        padded: (height, width) of the picture with its padding.
        side: of the pieces that the middle is computed in, in pixels.
    """

    decoder: DUNet
    shape: UNetShape
    tiles: Sequence[Tile]
    padded: tuple[int, int]
    side: int

    @property
    def macs(self) -> int:
        """Multiply-adds of all steps but the last, for one picture."""
        places = self.padded[0] * self.padded[1] >> 2 * (self.shape.levels - 1)
        steps = self.decoder.diffusion.steps - 1
        return self.shape.middle_macs(places) + steps * sum(self.shape.macs(tile) for tile in self.tiles)

    @torch.no_grad()
    def last_step(self, picture: Picture, context: Context) -> Callable[[Tile], Tensor]:
        """Makes all steps but the last, and gives that: a tile to its matte [1, rows, columns] in 0..1."""
        middle = _middle(self, picture, context)
        state = noise(*picture.size, self.decoder.diffusion.seed).to(picture.device)
        *before, last = steps_of(self.decoder.diffusion)
        for step in before:
            run = _Run(self.decoder, picture, middle, state, step, context)
            following = torch.empty_like(state)
            for tile in self.tiles:
                place = slice(*tile.rows.matte), slice(*tile.columns.matte)
                found = 2 * torch.sigmoid(run.logits(tile).float()) - 1
                following[place] = step.next_state(state[place], found[0])
                context.step(self.shape.macs(tile))
            del run  # and with it the state before
            state = following
        run = _Run(self.decoder, picture, middle, state, last, context)
        return lambda tile: torch.sigmoid(run.logits(tile))


def denoising_of(
    net: ViTMatte, size: tuple[int, int], padded: tuple[int, int], sides: Sequence[int]
) -> Denoising | None:
    """How the decoder of a net works on pictures of a size, in tiles of the given sides; None for a ViTMatte's."""
    shape = decoder_shape(net.architecture)
    if not isinstance(net.decoder, DUNet) or not isinstance(shape, UNetShape):
        return None
    tiles = cover(np.ones(size, bool), shape, *padded, sides)
    return Denoising(net.decoder, shape, tiles, padded, max(sides))


def _middle(how: Denoising, picture: Picture, context: Context) -> Tensor:
    """The middle block's result without embedding and ReLU, [1, C, H, W] of level L - 1."""
    shape, top = how.shape, how.shape.levels - 1
    height, width = (length >> top for length in how.padded)
    side = max(1, how.side >> top)
    result = torch.empty(1, shape.features[top], height, width, device=picture.device, dtype=picture.dtype,
                         memory_format=CL)
    for rows in _pieces(height, side):
        above, wide_rows = below_enlargement(rows, height, height // 2)
        for columns in _pieces(width, side):
            beside, wide_columns = below_enlargement(columns, width, width // 2)
            x = picture.features(above, beside).contiguous(memory_format=CL)
            made = _up(how.decoder.mid_blk, x, None, context)
            result[..., slice(*rows), slice(*columns)] = cut(made, (rows, columns), (wide_rows[0], wide_columns[0]))
            context.step(shape.middle_macs((rows[1] - rows[0]) * (columns[1] - columns[0])))
    return result


def _pieces(size: int, side: int) -> list[Span]:
    return [(start, min(size, start + side)) for start in range(0, size, side)]


class _Run:
    """One step: the decoder at one time, on the state of the whole picture."""

    def __init__(self, decoder: DUNet, picture: Picture, middle: Tensor, state: Tensor, step: Step,
                 context: Context) -> None:
        self.decoder, self.picture, self.middle, self.state, self.context = decoder, picture, middle, state, context
        self.factor = given_state(state, decoder.diffusion)
        embedding = decoder.embedding(step.time, middle)
        self.added = {block: block.emb_layers(embedding)[..., None, None]
                      for block in (*decoder.down_blks, *decoder.up_blks, decoder.mid_blk)}
        block = decoder.mid_blk
        # A constant through a convolution with zeros around it: first, inner and last places of three differ.
        constant = self.added[block].expand(-1, -1, 3, 3).contiguous()
        self.edges = block.bn2(block.conv2(constant)) - block.bn2(block.conv2(torch.zeros_like(constant)))

    def logits(self, tile: Tile) -> Tensor:
        """[1, rows, columns] of a tile."""
        rows, columns = cast(UNetSpans, tile.rows), cast(UNetSpans, tile.columns)
        context, details = self.context, []
        x = self._inputs(rows.details[0], columns.details[0])
        for level, block in enumerate(self.decoder.down_blks, start=1):
            x = self._down(cast(DownBlock, block), x, rows, columns, level)
            details.append(x)
        top = len(rows.joined)
        x = self._middle(rows.features[top], columns.features[top])
        for level, block in zip(reversed(range(top)), self.decoder.up_blks, strict=True):
            below = rows.features[level + 1], columns.features[level + 1]
            detail = cut(details.pop(), below, (rows.outer[level + 1][0], columns.outer[level + 1][0]))
            x = torch.cat([x, detail], dim=1).contiguous(memory_format=CL)
            del detail
            x = _finished(_up(cast(UpBlock, block), x, self.added[block], context), context)
            x = cut(x, (rows.features[level], columns.features[level]),
                     (rows.joined[level][0], columns.joined[level][0]))
        x = head_logits(self.decoder.matting_head, x, context)
        return cut(x, (rows.matte, columns.matte), (rows.features[0][0], columns.features[0][0])).squeeze(1)

    def _inputs(self, rows: Span, columns: Span) -> Tensor:
        """[1, 7, rows, columns]: what is known, and the state; zeros in the padding."""
        seen = self.picture.region(rows, columns)
        inside = self.picture.size[0] - rows[0], self.picture.size[1] - columns[0]
        seen = condition(seen, *(max(0, length) for length in inside))
        part = self.state[slice(*rows), slice(*columns)] * self.factor
        missing = rows[1] - rows[0] - part.shape[0], columns[1] - columns[0] - part.shape[1]
        part = F.pad(part, (0, missing[1], 0, missing[0])).to(seen)
        return torch.cat([seen, part[None, None]], dim=1).contiguous(memory_format=CL)

    def _down(self, block: DownBlock, above: Tensor, rows: UNetSpans, columns: UNetSpans, level: int) -> Tensor:
        """A block on the way down, of the map above it."""
        inner = rows.inner[level], columns.inner[level]
        first = tuple(max(0, 2 * span[0] - 2) for span in inner)
        origin = rows.details[level - 1][0], columns.details[level - 1][0]
        source = cut(above, ((first[0], 2 * inner[0][1]), (first[1], 2 * inner[1][1])), origin)
        start = first[0] // 2, first[1] // 2
        x = _finished(block.bn1(block.conv1(source)), self.context)
        x = cut(x, inner, start).add_(self.added[block])
        wanted = rows.outer[level], columns.outer[level]
        x = cut(block.bn2(block.conv2(x)), wanted, (inner[0][0], inner[1][0]))
        return _finished(x + cut(block.around(source), wanted, start), self.context)

    def _middle(self, rows: Span, columns: Span) -> Tensor:
        """[1, C, rows, columns] of the middle block, whole."""
        edges = self.edges
        for axis, (span, size) in enumerate(((rows, self.middle.shape[2]), (columns, self.middle.shape[3])), start=2):
            places = torch.ones(span[1] - span[0], dtype=torch.long)
            if span[0] == 0:
                places[0] = 0
            if span[1] == size:
                places[-1] = 2
            edges = edges.index_select(axis, places.to(edges.device))
        return _finished(self.middle[..., slice(*rows), slice(*columns)] + edges, self.context)


def _up(block: UpBlock, x: Tensor, added: Tensor | None, context: Context) -> Tensor:
    """A block on the way up before its last ReLU: [1, C, H, W] to [1, outputs, 2H, 2W]."""
    with _repeatable(x):
        inner = doubled(block.conv1, x)
    inner = _finished(block.bn1(inner), context)
    inner = inner if added is None else inner.add_(added)
    result: Any = block.bn2(block.conv2(inner))
    del inner
    around = block.upsample["conv"]
    if not by_taps(x, around) or not result.is_contiguous(memory_format=CL):
        return result.add_(block.around(x))
    add_enlarged(result, x, around, context)
    return result


@contextmanager
def _repeatable(x: Tensor) -> Iterator[None]:
    """Within it cuDNN takes no way to convolve, of transposed convolutions, that gives other bits each time."""
    kept = torch.backends.cudnn.deterministic
    if x.is_cuda:
        torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        if x.is_cuda:
            torch.backends.cudnn.deterministic = kept


def _finished(x: Tensor, context: Context) -> Tensor:
    """ReLU of a block's sum, watched for overflow before and after."""
    context.watch_halves(x)  # of what is -infinite the ReLU would make 0
    return x.relu_()
