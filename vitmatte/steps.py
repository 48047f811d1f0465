"""Progress and cancelling within a frame: what a long computation calls between its parts.

A step is a function of the share of the work that is done, 0..1. Each part is short, so that whoever cancels is heard
soon, on pictures of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Step = Callable[[float], None]
Progress = Callable[[int, int], None]
Interrupt = Callable[[], None]

STEPS = 100  # of the progress of a frame
ROWS = 256  # of a picture that are computed at a time; their values stay in a processor's cache


def ignore(share: float) -> None:
    """The step of a computation that nobody watches."""


def of_frame(
    number: int, frames: int, on_progress: Progress | None, check_interrupt: Interrupt | None, *, count: int = 1
) -> Step:
    """The step of one frame of many, or of some that are computed together.

    Args:
        number: of the frame, the first of them, from 0.
        frames: in all.
        count: how many are computed together.
        on_progress: called with (steps done, steps in all), at most once for each number of steps done.
        check_interrupt: called at every step; what it raises ends the computation.
    """
    reported = number * STEPS

    def step(share: float) -> None:
        nonlocal reported
        if check_interrupt is not None:
            check_interrupt()
        done = number * STEPS + int(share * count * STEPS + 1e-6)
        if on_progress is not None and done > reported:
            reported = done
            on_progress(done, frames * STEPS)

    return step


def part(step: Step, start: float, end: float) -> Step:
    """The step of the part of a computation that begins and ends at these shares of the whole."""
    return lambda share: step(start + (end - start) * share)


def strips(height: int, step: Step = ignore, rows: int = ROWS) -> Iterator[slice]:
    """The rows of a picture, some at a time, with a step after each."""
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
        step(min(top + rows, height) / height)
