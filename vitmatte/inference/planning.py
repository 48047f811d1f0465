"""Choosing a memory plan: the fastest within a budget, and smaller ones once memory has run out."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .context import CPU_BAND, CPU_CELLS, CPU_CHUNK
from .plan import MEBI, SIDES, Footprint, Plan

CPU_SIDE = 256

# A chunk of attention scores on a CPU holds this many queries where pictures are large, up to the given size: for
# float32 enough for torch's fused kernel (see attention.FUSED_QUERIES), for bfloat16 as many as stay in the cache.
CPU_QUERIES, CPU_QUERIES_BF16, CPU_MAX_CHUNK = 1024, 256, 256 * MEBI

# Small frames run through the transformer together, as many as have this many tokens: on a CPU 8 frames of 64, 128 and
# 256 pixels take 0.3, 0.5 and 0.8 of the time that they take one by one, of 512 pixels 0.95 (benchmarks/parts.py).
TOGETHER = 1024

ACCELERATOR_BAND = 256 * MEBI

MIN_BAND, MIN_CHUNK = MEBI // 4, MEBI // 4


class MemoryLimitError(ValueError):
    """The memory limit is below what the picture takes at the least; the message says how much that is.

    Args:
        least: that, in bytes.
    """

    def __init__(self, message: str, least: int = 0) -> None:
        super().__init__(message)
        self.least = least


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
            f"{plan.peak_bytes:,} with this model and precision",
            plan.peak_bytes,
        )
    return plan


def _fastest(footprint: Footprint, frames: int) -> Plan:
    if footprint.device != "cpu":
        return footprint.plan(ACCELERATOR_BAND, ACCELERATOR_BAND, SIDES[0], frames)
    if footprint.scope.reach is not None:
        return footprint.plan(CPU_BAND, CPU_CELLS, CPU_SIDE, frames)
    half = footprint.dtype == torch.bfloat16
    queries, least = (CPU_QUERIES_BF16, CPU_CHUNK // 4) if half else (CPU_QUERIES, CPU_CHUNK)
    chunk = min(CPU_MAX_CHUNK, max(least, queries * footprint.places * 4))
    return footprint.plan(CPU_BAND, chunk, CPU_SIDE, frames)


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
    """(band, chunk, side, frames), smaller and smaller."""
    band, chunk, side, frames = plan.band_bytes, plan.chunk_bytes, plan.side, plan.frames
    while frames > 1:
        frames //= 2
        yield band, chunk, side, frames
    while (band, chunk, side) != (MIN_BAND, MIN_CHUNK, SIDES[-1]):
        chunk = max(MIN_CHUNK, chunk // 2)
        if chunk < 16 * MEBI:
            side = next((s for s in SIDES if s < side), SIDES[-1])
        if chunk < 8 * MEBI:
            band = max(MIN_BAND, band // 2)
        yield band, chunk, side, frames
