"""How a net is run, apart from what it computes: working memory, interruption, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

# One chunk of attention scores: large enough for full-speed products, small enough to stay in a CPU's last-level
# cache (measured in benchmarks/; 4 to 16 MiB are equally good, 64 MiB loses a quarter).
SCORE_BYTES = 8 * 2**20


def _nothing() -> None:
    return None


@dataclass
class Execution:
    """Passed down through one run of the net; never kept by it.

    Args:
        score_bytes: size of the largest piece of attention scores held at once, in bytes. The result does not
            depend on it beyond rounding.
        step: called between pieces of work; raising from it ends the run (interrupts, progress).
        tables: relative position tables already resized in this run, by parameter and length.
    """

    score_bytes: int = SCORE_BYTES
    step: Callable[[], None] = _nothing
    tables: dict[tuple[int, int], Tensor] = field(default_factory=dict)
