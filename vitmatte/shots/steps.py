"""The three steps of a job, with what is caught, counted and heard around each."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from .heard import warnings_heard
from .jobs import Job
from .outcome import Loaded, Outcome, Progress

# Of writing: the disk, or the way to it, is at fault and not the picture.
DISK = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENOTCONN", "ENODEV")
        if hasattr(errno, name)}


@dataclass
class Item:
    """A job on its way.

    Attributes:
        value: what the last step gave.
        error: why it failed; the steps after that are left out.
        ends_run, warnings, seconds, net_seconds, unknown: see `Outcome`.
    """

    job: Job
    value: Any = None
    error: str = ""
    ends_run: bool = False
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    net_seconds: float = 0.0
    unknown: float | None = None

    def outcome(self) -> Outcome:
        """What became of it, once all steps are behind it."""
        return Outcome(self.job.name, "failed" if self.error else "done", self.seconds, self.net_seconds, self.unknown,
                       tuple(self.warnings), self.error, () if self.error else tuple(map(str, self.job.results)),
                       self.ends_run)


def read(item: Item, work: Loaded) -> Item:
    """The first step; `item.value` becomes what was read."""
    _step(item, lambda: work.read(item.job))
    item.unknown = getattr(item.value, "unknown", None)
    return item


def compute(item: Item, work: Loaded, on_progress: Progress | None) -> Item:
    """The second step."""
    before = item.seconds
    _step(item, lambda: work.compute(item.value, on_progress))
    item.net_seconds = item.seconds - before
    return item


def write(item: Item, work: Loaded) -> Item:
    """The last step; nothing is kept of what was written."""
    _step(item, lambda: work.write(item.value), writes=True)
    item.value = None
    return item


def _step(item: Item, do: Callable[[], Any], *, writes: bool = False) -> None:
    """What goes wrong with a picture is kept as its error; what is no error of a picture comes out."""
    if item.error:
        item.value = None
        return
    start = time.perf_counter()
    with warnings_heard(item.job.photo, item.warnings):
        try:
            item.value = do()
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as error:
            item.error = str(error)
            item.ends_run = writes and isinstance(error, OSError) and error.errno in DISK
        except (RuntimeError, MemoryError) as error:  # such as memory that ran out
            item.error = f"{item.job.photo}: {str(error) or 'out of memory'}"
            item.ends_run = _lost_device(error)
    item.seconds += time.perf_counter() - start
    if item.error:
        item.value = None


def _lost_device(error: Exception) -> bool:
    """Whether an accelerator's fault leaves it of no use to this process, as after an illegal access."""
    kind = getattr(torch, "AcceleratorError", None)
    return kind is not None and isinstance(error, kind) and "out of memory" not in str(error)
