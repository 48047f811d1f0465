"""What is passed down a run of the net: sizes of pieces, working memory, progress, the watch for overflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..padding import Span

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Sizes of bands and chunks on a CPU, in bytes: 1 MiB loses a tenth of the speed, from 4 MiB on there is no gain
# (benchmarks/parts.py).
CPU_BAND = 8 * 2**20
CPU_CHUNK = 16 * 2**20
CPU_CELLS = 4 * 2**20  # scores of cells, which are all made before the next step on them: these stay in the cache


# Reads a rectangle of the net's input: rows (top, bottom) and columns (left, right), in pixels of the padded picture,
# to [B, channels, bottom - top, right - left].
Region = Callable[[Span, Span], Tensor]


def _nothing(macs: int) -> None:
    return None


@dataclass
class Context:
    """Passed down through one run of the net, which never keeps it.

    Args:
        band_bytes: size of the largest temporary tensor that a band makes, where the work can be cut that small. The
            result does not depend on it beyond rounding.
        chunk_bytes: size of the attention scores that exist at once.
        step: called after each band, chunk and tile with the multiply-adds done; raising from it ends the run.
        strided: global blocks attend among every second token of every second row, in four groups, as
            Matte-Anything does: a quarter of the work, and another result.
        trained_tables: relative position tables are taken as they were trained; else resized to the picture.
        tables: relative position tables already fitted in this run, by parameter and length.
    """

    band_bytes: int = CPU_BAND
    chunk_bytes: int = CPU_CHUNK
    step: Callable[[int], None] = _nothing
    strided: bool = False
    trained_tables: bool = False
    tables: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _scratch: Tensor | None = field(default=None, repr=False)
    _largest: Tensor | None = field(default=None, repr=False)

    def scratch(self, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """[count] numbers to compute with until the next call, which may give the same memory again.

        One buffer that grows to what is asked of it: fresh memory for every band costs a CPU more time than the
        arithmetic on it, and scatters the heap.
        """
        size = count * dtype.itemsize
        if self._scratch is None or self._scratch.numel() < size or self._scratch.device != device:
            self._scratch = None  # before the larger one is made
            self._scratch = torch.empty(size, dtype=torch.uint8, device=device)
        return self._scratch[:size].view(dtype)

    def watch(self, x: Tensor, *, terms: int = 1) -> None:
        """Notes the largest magnitude in x, or that of sums of so many of its numbers; waits for no device."""
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            x = x.permute(0, 2, 3, 1)  # else torch would copy it
        low, high = torch.aminmax(x)  # NaN comes through, as it does below
        largest = torch.maximum(high.float(), -low.float()) * terms
        self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)

    def watch_halves(self, x: Tensor, *, terms: int = 1) -> None:
        """`watch` where x is float16: where an infinite value could become a finite one, unseen, further on."""
        if x.dtype == torch.float16:
            self.watch(x, terms=terms)

    def overflowed(self, dtype: torch.dtype) -> bool:
        """Whether anything watched so far was NaN, infinite, or beyond what dtype holds."""
        return self._largest is not None and not bool(self._largest <= torch.finfo(dtype).max)

    def bands(self, count: int, bytes_each: int, budget: int | None = None) -> Iterator[tuple[int, int]]:
        """Cuts `count` rows of `bytes_each` into bands (start, stop) that fit the budget, by default
        `band_bytes`; at least one row each."""
        size = max(1, (budget or self.band_bytes) // bytes_each)
        for start in range(0, count, size):
            yield start, min(start + size, count)
