"""What a process holds in the course of a long run, and whether it grows."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .measure import MEBI

COLUMNS = ("resident MB", "open files", "threads")


def held(process: int | str = "self") -> tuple[float, ...]:
    """What a process holds (Linux), in the order of COLUMNS."""
    place = Path(f"/proc/{process}")
    resident = int((place / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBI
    return resident, len(os.listdir(place / "fd")), len(os.listdir(place / "task"))


class _Heap(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]


def heap_in_use() -> float:
    """MB that this process asked malloc for and has not given back (glibc): resident memory without malloc's gaps."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Heap
    found = mallinfo()
    return (found.uordblks + found.hblkhd) / MEBI


@dataclass
class Trend:
    """Samples of what is held, in the course of so many frames.

    Args:
        columns: what the numbers of a sample are.
    """

    columns: tuple[str, ...] = COLUMNS
    frames: list[int] = field(default_factory=list)
    samples: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, frames: int, sample: tuple[float, ...]) -> None:
        """A sample taken after so many frames."""
        self.frames.append(frames)
        self.samples.append(sample)

    def slopes(self) -> dict[str, float]:
        """Growth for each 1,000 frames, by least squares over the second half of the run."""
        frames, samples = np.array(self.frames, float), np.array(self.samples)
        late = frames > frames[-1] / 2
        away = frames[late] - frames[late].mean()
        return {name: float(away @ samples[late, i] / (away @ away) * 1000) for i, name in enumerate(self.columns)}

    def table(self, rows: int = 10) -> str:
        """Markdown: the samples, thinned out, and the slopes."""
        lines = ["| frames | " + " | ".join(self.columns) + " |", "|---" * (len(self.columns) + 1) + "|"]
        for i in np.linspace(0, len(self.frames) - 1, rows).round().astype(int):
            lines.append(f"| {self.frames[i]} | " + " | ".join(f"{value:.0f}" for value in self.samples[i]) + " |")
        slopes = self.slopes()
        lines.append("| per 1,000 | " + " | ".join(f"{slopes[name]:+.1f}" for name in self.columns) + " |")
        return "\n".join(lines)
