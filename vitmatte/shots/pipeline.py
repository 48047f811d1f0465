"""Many jobs in one process: the next pictures are read and the last ones written while the net computes.

    files -> [readers: decode, make the trimap] -> net (this thread) -> [writers: cut out, encode, write] -> report

What waits between the steps is bounded, so that memory does not grow with the number of jobs. The order is kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import torch

from . import steps
from .jobs import Job
from .outcome import Loaded, Progress, Report
from .steps import Item

MAX_THREADS = 4
_T = TypeVar("_T")


class RunEndedError(RuntimeError):
    """A fault that every other picture would have met too, such as a full disk; the message is the picture's."""


@dataclass
class Busy:
    """How long a run took, in seconds, and how long of it the net computed."""

    seconds: float = 0.0
    net_seconds: float = 0.0

    @property
    def share(self) -> float:
        """Of the time, in 0..1."""
        return self.net_seconds / self.seconds if self.seconds else 0.0


def threads_here() -> int:
    """How many pictures are read, and as many written, at a time beside the net where nobody says it: one for each two
    processors that this process may use."""
    return max(1, min(MAX_THREADS, processors() // 2))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    jobs: Sequence[Job],
    work: Loaded,
    report: Report,
    *,
    threads: int | None = None,
    progress_of: Callable[[Job], Progress | None] = lambda job: None,
) -> Busy:
    """Does jobs, in order.

    Args:
        jobs: what is to be done.
        work: how.
        report: called from this thread with the outcome of each job, in order.
        threads: pictures that are read, and as many that are written, at a time beside the net; 0: none, one step
            after the other. None for what suits this machine; a single job takes no threads.
        progress_of: gives what is told of a job's progress while it is computed.

    Raises:
        RunEndedError: see there. What `report` raises, and interrupts, come out; before that, what is computed already
            is written and reported.
    """
    busy, start = Busy(), time.perf_counter()
    threads = threads_here() if threads is None else threads

    def deliver(item: Item) -> None:
        busy.net_seconds += item.net_seconds
        if item.ends_run:
            raise RunEndedError(item.error)
        report(item.outcome())

    try:
        if threads == 0 or len(jobs) < 2:
            for job in jobs:
                deliver(steps.write(steps.compute(steps.read(Item(job), work), work, progress_of(job)), work))
        else:
            with _threads_for_the_net():
                _overlapped(jobs, work, threads, progress_of, deliver)
    finally:
        busy.seconds = time.perf_counter() - start
    return busy


def _overlapped(
    jobs: Sequence[Job], work: Loaded, threads: int, progress_of: Callable[[Job], Progress | None],
    deliver: Callable[[Item], None],
) -> None:
    left, halted = iter(jobs), threading.Event()
    reading: deque[Future[Item]] = deque()
    writing: deque[Future[Item | None]] = deque()

    def written(item: Item) -> Item | None:
        if halted.is_set():
            return None
        try:
            item = steps.write(item, work)
        except BaseException:
            halted.set()
            raise
        if item.ends_run:
            halted.set()
        return item

    def deliver_first() -> None:
        item = _result(writing[0])
        writing.popleft()
        if item is not None:
            deliver(item)

    # Each would set up a team of threads of its own for torch, beside the net's.
    readers, writers = (ThreadPoolExecutor(threads, name, torch.set_num_threads, (1,)) for name in ("read", "write"))
    try:
        while True:
            while len(reading) <= threads and (job := next(left, None)) is not None:
                reading.append(readers.submit(steps.read, Item(job), work))
            if not reading:
                break
            item = _result(reading[0])
            reading.popleft()
            item = steps.compute(item, work, progress_of(item.job))
            writing.append(writers.submit(written, item))
            while len(writing) > threads + 1 or (writing and writing[0].done()):
                deliver_first()
        while writing:
            deliver_first()
    except BaseException as end:
        readers.shutdown(wait=False, cancel_futures=True)
        while writing and not isinstance(end, BrokenPipeError):  # else nobody listens any more
            with suppress(Exception):
                deliver_first()
            if writing and writing[0].done() and writing[0].exception() is not None:
                writing.popleft()
        raise
    finally:
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _result(future: Future[_T]) -> _T:
    """What a future gives; heeds interrupts while it waits, on Windows too."""
    while not wait([future], timeout=0.5).done:
        pass
    return future.result()


@contextmanager
def _threads_for_the_net() -> Iterator[None]:
    """Within it this thread keeps its number of threads for torch whatever others set for themselves, and so do those
    that begin after it."""
    count = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(count)
