"""The memory plan: how a matte is computed within a budget, in whole numbers, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..huggingface.processing import DIVISOR
from ..model.config import VitMatteConfig
from ..model.decoder import decoder_shape
from ..model.execution import CPU_PIECE, CPU_SCORES
from ..model.vitdet_config import VitDetConfig
from ..padding import SizeContract, Span

MEBI = 2**20

# Sides of the decoder's tiles, in pixels. On a CPU 256 and more are equally fast (benchmarks/parts.py); smaller ones
# compute much of their surroundings twice.
SIDES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)
CPU_SIDE = 256
# A chunk of attention scores on a CPU holds this many queries where pictures are large, up to the given size: for
# float32 enough for torch's fused kernel (see attention.FUSED_QUERIES), for bfloat16 as many as stay in the cache.
CPU_QUERIES, CPU_QUERIES_BF16, CPU_MOST_SCORES = 1024, 256, 256 * MEBI
# Small frames run through the transformer together, as many as have this many tokens: on a CPU 8 frames of 64, 128 and
# 256 pixels take 0.3, 0.5 and 0.8 of the time that they take one by one, of 512 pixels 0.95 (benchmarks/parts.py).
TOGETHER = 1024
ACCELERATOR_PIECE = 256 * MEBI
SMALLEST_PIECE, SMALLEST_SCORES = MEBI // 4, MEBI // 4

# What a piece of the transformer's work has alive besides the tokens, in pieces: queries, keys and values of the band,
# the same padded or in windows, the normed band and the result together.
PIECES_ALIVE = 3
# The same for the backbone of another library, in its largest tensors: 3.5 to 6.7 were measured (DINOv2, Swin,
# ConvNeXt, ResNet at 512 and 1024 squared).
FOREIGN_ALIVE = 6
# Workspace of the libraries underneath (packed matrices, convolution scratch), and what allocators keep.
WORKSPACE = 24 * MEBI


class MemoryLimitError(ValueError):
    """The memory limit is below what the picture takes at the least; the message says how much that is."""


@dataclass(frozen=True)
class Plan:
    """How frames of one size are computed.

    Args:
        piece_bytes, score_bytes: see `Execution`.
        side: largest side of the decoder's tiles, in pixels.
        frames: so many run through the transformer at once.
        peak_bytes: memory taken at most, besides the weights and the caller's own tensors, one matte included.
    """

    piece_bytes: int
    score_bytes: int
    side: int
    frames: int
    peak_bytes: int

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of tiles that this plan allows."""
        return tuple(side for side in SIDES if side <= self.side)


def make_plan(footprint: Footprint, *, count: int = 1, memory_limit: int | None = None) -> Plan:
    """The fastest plan within a budget.

    Args:
        footprint: the net and the frame.
        count: how many frames there are.
        memory_limit: bytes, besides the weights and the caller's own tensors; None for what is fastest.

    Raises:
        MemoryLimitError: when not even the smallest pieces and tiles keep the limit.
    """
    fastest = _fastest(footprint, min(count, max(1, TOGETHER // footprint.places)))
    if memory_limit is None:
        return fastest
    plan = within(fastest, footprint, memory_limit)
    if plan.peak_bytes > memory_limit:
        raise MemoryLimitError(
            f"memory_limit is {memory_limit:,} bytes; a frame of {footprint.width}x{footprint.height} takes at least "
            f"{plan.peak_bytes:,} with this model and precision"
        )
    return plan


def _fastest(footprint: Footprint, frames: int) -> Plan:
    if footprint.device != "cpu":
        return footprint.plan(ACCELERATOR_PIECE, ACCELERATOR_PIECE, SIDES[0], frames)
    half = footprint.dtype == torch.bfloat16
    queries, least = (CPU_QUERIES_BF16, CPU_SCORES // 4) if half else (CPU_QUERIES, CPU_SCORES)
    scores = min(CPU_MOST_SCORES, max(least, queries * footprint.places * 4))
    return footprint.plan(CPU_PIECE, scores, CPU_SIDE, frames)


def within(plan: Plan, footprint: Footprint, budget: int) -> Plan:
    """The plan where it keeps the budget (bytes), else the first smaller one that does, else the smallest."""
    fits = plan
    plans = smaller(plan, footprint)
    while fits.peak_bytes > budget and (less := next(plans, None)) is not None:
        fits = less
    return fits


def smaller(plan: Plan, footprint: Footprint) -> Iterator[Plan]:
    """Plans that take less and less, down to the smallest there is: what costs the least time shrinks first."""
    peak = plan.peak_bytes
    for sizes in _sizes(plan):
        plan = footprint.plan(*sizes)
        if plan.peak_bytes < peak:
            yield plan
            peak = plan.peak_bytes


def _sizes(plan: Plan) -> Iterator[tuple[int, int, int, int]]:
    """(piece, scores, side, frames), smaller and smaller."""
    piece, scores, side, frames = plan.piece_bytes, plan.score_bytes, plan.side, plan.frames
    while frames > 1:
        frames //= 2
        yield piece, scores, side, frames
    while (piece, scores, side) != (SMALLEST_PIECE, SMALLEST_SCORES, SIDES[-1]):
        scores = max(SMALLEST_SCORES, scores // 2)
        if scores < 16 * MEBI:
            side = next((s for s in SIDES if s < side), SIDES[-1])
        if scores < 8 * MEBI:
            piece = max(SMALLEST_PIECE, piece // 2)
        yield piece, scores, side, frames


@dataclass(frozen=True)
class Footprint:
    """A net and a frame, and what computing one with the other takes, in bytes.

    Args:
        config: the net's.
        height, width: of the frame, in pixels.
        dtype: what the net computes in.
        device: type of the device.
        strided: see `Execution`.
        numbers: of another library's backbone, see `foreign.ForeignBackbone`; 0 for a ViTDet.
    """

    config: VitMatteConfig
    height: int
    width: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    strided: bool = False
    numbers: float = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (rows, columns)."""
        contract, stride = SizeContract(DIVISOR), self.config.stride
        return contract.padded(self.height) // stride, contract.padded(self.width) // stride

    @property
    def places(self) -> int:
        """Tokens."""
        return self.grid[0] * self.grid[1]

    def plan(self, piece: int, scores: int, side: int, frames: int) -> Plan:
        """The plan with these sizes.

        Its peak is a sum of what the transformer and what the decoder takes, though one follows the other: memory
        that an allocator got back in small pieces is of little use for large ones.
        """
        maps, scratch = self._tile(side)
        frame = self.height * self.width * (4 + 1 + 4)  # trimap, unknown area, matte
        whole, chunk = self._backbone(piece, scores, frames)
        peak = WORKSPACE + frames * frame + whole + maps + max(scratch, chunk)
        return Plan(piece, scores, side, frames, peak)

    def _backbone(self, piece: int, scores: int, frames: int) -> tuple[int, int]:
        """Bytes of (tokens and pieces of work on them, a chunk of scores)."""
        tokens = frames * self.places * self.config.hidden_size * self.dtype.itemsize
        vitdet = self.config.vitdet
        if vitdet is None:
            pixels = frames * self.places * self.config.stride**2
            return tokens + int(pixels * self.numbers * self.dtype.itemsize * FOREIGN_ALIVE), 0
        return tokens * self._copies(vitdet) + self._pieces(vitdet, piece, frames), self._scores(vitdet, scores, frames)

    def _copies(self, backbone: VitDetConfig) -> int:
        """How often all tokens are there: tokens, a global block's queries, keys and values; strided, once more."""
        if len(set(backbone.window_block_indices)) == backbone.num_hidden_layers:
            return 2
        return 5 if self.strided else 4

    def _pieces(self, backbone: VitDetConfig, piece: int, frames: int) -> int:
        window = backbone.window_size if backbone.window_block_indices else 0
        contract = SizeContract(max(1, window))
        row = frames * 3 * backbone.hidden_size * self.dtype.itemsize
        whole = contract.padded(self.grid[0]) * contract.padded(self.grid[1]) * row
        smallest = window * contract.padded(self.grid[1]) * row  # a row of windows is not cut
        return min(whole, max(piece, smallest)) * PIECES_ALIVE

    def _scores(self, backbone: VitDetConfig, scores: int, frames: int) -> int:
        width = 4 if self.device == "cpu" else self.dtype.itemsize
        if self.device == "cpu" and self.dtype == torch.bfloat16:  # scores in float32 and products beside them
            width, scores = 6, scores * 3 // 2
        heads = frames * backbone.num_attention_heads
        return max(self.places * width, min(scores, heads * self.places**2 * width))

    def _tile(self, side: int) -> tuple[int, int]:
        """Bytes of (maps, scratch) of one tile of the decoder."""
        contract, shape = SizeContract(DIVISOR), decoder_shape(self.config)
        height, width = contract.padded(self.height), contract.padded(self.width)
        tile = shape.tile(_middle(side, height), _middle(side, width), height, width)
        maps, scratch = shape.peak(tile)
        return maps * self.dtype.itemsize, scratch * self.dtype.itemsize


def _middle(side: int, size: int) -> Span:
    """A tile's span where it has surroundings on both sides, if it has any."""
    side = min(side, size)
    start = (size - side) // 2
    return start, start + side
