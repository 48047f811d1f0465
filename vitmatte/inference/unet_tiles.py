"""Which parts of DiffMatte's decoder a tile of one of its steps depends on, in whole numbers; see `tiles`.

What differs from ViTMatte's decoder: detail maps are joined with the features before these are enlarged, blocks on the
way down have a second convolution, and what stands at level L - 1 before the last ReLU of the middle block, the middle,
is the same in every step but for a number for each channel, and is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..padding import Span
from .tiles import DecoderShape, Spans, Tile, grow, hull
from .upsample import TAPS_CHANNELS, taps_scratch


@dataclass(frozen=True)
class UNetSpans(Spans):
    """What one axis of a tile depends on.

    Args:
        matte: places of the matte itself.
        features: per level 0 to L - 1: of the way up (level L - 1: of the middle).
        joined: per level 0 to L - 2: of what is enlarged from the level below, before the second convolution.
        details: per level 0 to L - 1: of the way down (level 0: of the input).
        inner: per level 1 to L - 1, with an empty span for 0: between the two convolutions of the way down.
        outer: the same of their results.
    """

    inner: tuple[Span, ...]
    outer: tuple[Span, ...]


def unet_spans(matte: Span, size: int, levels: int) -> UNetSpans:
    """What a part of one axis of the matte depends on; arguments as in `tiles.spans`."""
    features, joined = [grow(matte, 1, size)], []
    for level in range(levels - 1):
        below, enlarged = below_enlargement(features[level], size >> level, size >> (level + 1))
        features.append(below)
        joined.append(enlarged)
    details, inner, outer = [(0, 0)] * levels, [(0, 0)] * levels, [(0, 0)] * levels
    wanted = features[-1]
    for level in range(levels - 1, 0, -1):
        outer[level] = details[level] = wanted
        inner[level] = start, stop = grow(wanted, 1, size >> level)
        # Two places before what the first output stands on, so that strides stay in step.
        source = max(0, 2 * start - 2), min(size >> (level - 1), 2 * stop)
        wanted = source if level == 1 else hull(source, features[level - 1])
        details[level - 1] = wanted
    return UNetSpans(matte, tuple(features), tuple(joined), tuple(details), tuple(inner), tuple(outer))


def below_enlargement(features: Span, size: int, below: int) -> tuple[Span, Span]:
    """What a span of a block's result on the way up depends on: (places of its input, enlarged ones).

    The 3x3 convolutions see one place more on either side. Bilinear enlargement, at place y, sees (y - 1) // 2 and the
    next, and so does the transposed convolution (4x4, stride 2, padding 1).

    Args:
        features: the span.
        size, below: places of the whole axis at this level and the one below.
    """
    start, stop = grow(features, 1, size)
    source = max(0, (start - 1) // 2), min(below, stop // 2 + 1)
    return source, (2 * source[0], 2 * source[1])


@dataclass(frozen=True)
class UNetShape(DecoderShape):
    """Channels of DiffMatte's decoder by level; `details[0]` are those of its input."""

    def tile(self, rows: Span, columns: Span, height: int, width: int) -> Tile:
        """A tile of a picture of height x width."""
        return Tile(unet_spans(rows, height, self.levels), unet_spans(columns, width, self.levels))

    def macs(self, tile: Tile) -> int:
        """Multiply-adds to compute a tile in one step, from the middle on."""
        total = tile.area("features", 0) * self.features[0] * self.head * 9
        for level in range(self.levels - 1):
            inputs, outputs = self.inputs(level), self.features[level]
            total += tile.area("joined", level) * outputs * _up_products(inputs, outputs)
        for level in range(1, self.levels):
            inputs, outputs = self.details[level - 1], self.details[level]
            total += tile.area("inner", level) * outputs * 9 * (2 * inputs + outputs)
        return total

    def peak(self, tile: Tile) -> tuple[int, int]:
        """Numbers taken at most while a tile is computed: (in maps, in scratch memory).

        The way down and the way up follow each other, but count together: of what the first gives back in many
        sizes, an allocator makes little use for the second. Without that, 10 steps took 1.25 times the plan.
        """
        details = [tile.area("details", level) * channels for level, channels in enumerate(self.details)]
        down, up, scratch = 4 * details[0], tile.area("features", 0) * (self.features[0] + 2 * self.head), 0
        for level in range(1, self.levels):  # a level's input, and its two ways with their sum
            maps = 3 * tile.area("inner", level) * self.details[level]
            down = max(down, sum(details[1:level]) + 2 * details[level - 1] + maps)
        for level in range(self.levels - 2, -1, -1):
            inputs = tile.area("features", level + 1) * self.inputs(level)
            maps = sum(details[1:level + 1]) + 2 * inputs + 2 * tile.area("joined", level) * self.features[level]
            if self.inputs(level) >= TAPS_CHANNELS:
                scratch = max(scratch, taps_scratch(tile.area("features", level + 1), self.features[level]))
            else:  # the enlarged input is there
                maps += tile.area("joined", level) * self.inputs(level)
            up = max(up, maps)
        return down + up, scratch

    def inputs(self, level: int) -> int:
        """Channels that the block which leads up to a level takes."""
        top = self.levels - 1
        return self.features[level + 1] + (self.details[level + 1] if level < top else 0)

    def middle_macs(self, places: int) -> int:
        """Multiply-adds to compute so many places of the middle."""
        top = self.levels - 1
        return places * self.features[top] * _up_products(self.inputs(top), self.features[top])

    @cached_property
    def middle_values(self) -> float:
        """Numbers of the middle to a pixel."""
        return self.features[self.levels - 1] / 4 ** (self.levels - 1)


def _up_products(inputs: int, outputs: int) -> int:
    """Products for one number that a block on the way up gives: a transposed convolution of four taps, a 3x3 one, and
    a 3x3 one around them, at a quarter of the places where taps come first, as on a CPU (see `upsample`)."""
    around = inputs * 9 // (4 if inputs >= TAPS_CHANNELS else 1)
    return inputs * 4 + outputs * 9 + around
