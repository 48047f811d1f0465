"""Which parts of the decoder's maps a part of the matte depends on, in whole numbers.

Level 0 is the picture's full size, level l has 1 / 2^l of it, and the transformer's features stand at level L = the
number of fusion blocks. Going from a part of the matte down:

- a 3x3 convolution sees one place more on every side;
- bilinear enlargement by two, at place y, sees places (y - 1) // 2 and the next;
- a 3x3 convolution with stride 2, at place y, sees places 2y - 1 to 2y + 1.

So a tile computed from its spans equals the same part of the whole, and nothing else need be computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ..padding import Span
from .upsample import TAPS_CHANNELS, taps_scratch


@dataclass(frozen=True)
class Spans:
    """What one axis of a tile depends on.

    Args:
        matte: places of the matte itself.
        features: per level 0 to L: of the fused features (level L: of the transformer's).
        joined: per level 0 to L - 1: of the detail map and enlarged features, before the fusion's convolution.
        details: per level 0 to L - 1: of the detail maps (level 0: of the picture).
    """

    matte: Span
    features: tuple[Span, ...]
    joined: tuple[Span, ...]
    details: tuple[Span, ...]


def length(span: Span) -> int:
    """Places in a span."""
    return span[1] - span[0]


def grow(span: Span, by: int, size: int) -> Span:
    """The span with so many places more on either side, within the axis."""
    return max(0, span[0] - by), min(size, span[1] + by)


def hull(*spans: Span) -> Span:
    """The span that holds others."""
    return min(s[0] for s in spans), max(s[1] for s in spans)


def spans(matte: Span, size: int, levels: int) -> Spans:
    """What a part of one axis of the matte depends on.

    Args:
        matte: the part.
        size: pixels of the whole axis, a multiple of 2^levels.
        levels: number of fusion blocks.
    """
    features: list[Span] = [grow(matte, 1, size)]
    joined: list[Span] = []
    for level in range(levels):
        start, stop = grow(features[level], 1, size >> level)
        below = max(0, (start - 1) // 2), min(size >> (level + 1), stop // 2 + 1)
        features.append(below)
        joined.append((2 * below[0], 2 * below[1]))  # a place or two more than needed; edges stay in step
    details = [joined[-1]]
    for level in range(levels - 2, -1, -1):
        start, stop = details[0]
        details.insert(0, hull(joined[level], (max(0, 2 * start - 2), min(size >> level, 2 * stop))))
    return Spans(matte, tuple(features), tuple(joined), tuple(details))


def features_seen(unknown: Tensor, grid: tuple[int, int], levels: int) -> Tensor:
    """Where the transformer's features matter to unknown pixels: what `spans` says of each pixel by itself.

    Args:
        unknown: bool [h, w], the picture without padding.
        grid: (H, W) of the features, which is of the padded picture.
        levels: number of fusion blocks.

    Returns:
        bool [H, W]; where it is false the features may be anything, and no unknown pixel's alpha changes.
    """
    height, width = grid[0] << levels, grid[1] << levels
    seen = F.pad(unknown, (0, width - unknown.shape[1], 0, height - unknown.shape[0]))
    for level in range(levels):
        # Fused features at place y see the enlarged ones at y - 1 to y + 1, so those below at (y - 2) // 2 to
        # (y + 3) // 2: place p is seen from 2p - 2 to 2p + 3, which are the pairs p - 1 to p + 1. At the full size the
        # head sees one place more.
        for axis in (0, 1):  # rows first: they lie in memory as they are
            even, odd = (seen[start::2] if axis == 0 else seen[:, start::2] for start in (0, 1))
            pairs = even | odd
            seen = pairs.clone()
            for other, offset in ((pairs, -1), (pairs, 1), *(((odd, -2), (even, 2)) if level == 0 else ())):
                _add_shifted(seen, other, axis, offset)
    return seen


def _add_shifted(mask: Tensor, other: Tensor, axis: int, offset: int) -> None:
    """Marks each place of a mask where `other` is marked so many places further along the axis."""
    common = mask.shape[axis] - abs(offset)
    if common > 0:
        mask.narrow(axis, max(0, -offset), common).logical_or_(other.narrow(axis, max(0, offset), common))


@dataclass(frozen=True)
class Tile:
    """A rectangle of the matte, with what its rows and columns depend on."""

    rows: Spans
    columns: Spans

    def area(self, part: str, level: int) -> int:
        """Places of a map that the tile depends on: part is "features", "joined" or "details"."""
        return length(getattr(self.rows, part)[level]) * length(getattr(self.columns, part)[level])


@dataclass(frozen=True)
class DecoderShape:
    """Channels of the decoder's maps, by level: what its arithmetic and memory follow from.

    Args:
        details: detail maps at levels 0 (the picture) to L - 1.
        features: fused features at levels 0 to L - 1, and the transformer's at level L.
        head: of the head's inner layer.
    """

    details: Sequence[int]
    features: Sequence[int]
    head: int

    @property
    def levels(self) -> int:
        """Number of fusion blocks."""
        return len(self.details)

    def tile(self, rows: Span, columns: Span, height: int, width: int) -> Tile:
        """A tile of a picture of height x width."""
        return Tile(spans(rows, height, self.levels), spans(columns, width, self.levels))

    def macs(self, tile: Tile) -> int:
        """Multiply-adds to compute a tile."""
        total = tile.area("features", 0) * self.features[0] * self.head * 9
        for level in range(self.levels):
            below = self.features[level + 1]
            total += tile.area("joined", level) * self.details[level] * self.features[level] * 9
            # At a quarter of the places where taps come first (see `upsample`), as on a CPU.
            area = tile.area("joined", level) // (4 if below >= TAPS_CHANNELS else 1)
            total += area * below * self.features[level] * 9
            if level > 0:
                total += tile.area("details", level) * self.details[level - 1] * self.details[level] * 9
        return total

    def peak(self, tile: Tile) -> tuple[int, int]:
        """Numbers alive at once, at most, while a tile is computed: (in maps, in scratch memory)."""
        details = [tile.area("details", level) * channels for level, channels in enumerate(self.details)]
        most, scratch = sum(details), 0
        for level in range(self.levels):
            below = tile.area("features", level + 1) * self.features[level + 1]
            joined = tile.area("joined", level) * (self.details[level] + self.features[level + 1])
            fused = tile.area("joined", level) * self.features[level]
            if self.features[level + 1] >= TAPS_CHANNELS:
                taps = taps_scratch(tile.area("features", level + 1), self.features[level])
                joined = max(joined, taps - 2 * below)
            scratch = max(scratch, joined + 2 * below)
            most = max(most, sum(details[:level + 1]) + below + fused)
        inner = tile.area("features", 0)
        return max(most, inner * (self.features[0] + 2 * self.head) + details[0]), scratch


# What a tile costs besides its arithmetic, in multiply-adds: the calls of some fifty operations.
TILE_OVERHEAD = 20_000_000
WORSE = 1.25  # from the largest side to the smallest arithmetic falls and then rises; when so far, it is rising


def cover(
    unknown: np.ndarray, shape: DecoderShape, height: int, width: int, sides: Sequence[int]
) -> list[Tile]:
    """Tiles that hold all unknown pixels, in the grid of sides that takes the least arithmetic.

    Args:
        unknown: bool [h, w], the picture without padding.
        shape: the decoder's.
        height, width: of the padded picture.
        sides: sides of tiles to choose from, in pixels, the largest first.

    Returns:
        Tiles that do not overlap, each cut down to its unknown pixels' bounding box; none where there are none.
    """
    best: list[Tile] = []
    least: int | None = None
    for side in sides:
        tiles = [shape.tile(rows, columns, height, width) for rows, columns in _boxes(unknown, side)]
        macs = sum(shape.macs(tile) + TILE_OVERHEAD for tile in tiles)
        if least is None or macs < least:
            best, least = tiles, macs
        elif macs > WORSE * least:  # the sides still to come only add edges
            break
    # The largest first, so that the others fit into the memory it leaves: in another order the heap grows with each.
    return sorted(best, key=shape.peak, reverse=True)


def _boxes(unknown: np.ndarray, side: int) -> Iterator[tuple[Span, Span]]:
    """Bounding boxes of the unknown pixels in each cell of a grid."""
    height, width = unknown.shape
    for top in range(0, height, side):
        band = unknown[top:top + side]
        occupied = np.asarray(band.any(axis=0))
        if not occupied.any():
            continue
        for left in range(0, width, side):
            columns = np.flatnonzero(occupied[left:left + side])
            if not columns.size:
                continue
            rows = np.flatnonzero(band[:, left:left + side].any(axis=1))
            yield (top + int(rows[0]), top + int(rows[-1]) + 1), (left + int(columns[0]), left + int(columns[-1]) + 1)
