"""Which frames of a clip are read, and at which rate, by the command line's options."""

from __future__ import annotations

import argparse
from fractions import Fraction

from ..pictures.numbers import frame_range
from ..video.source import open_clip


def frames_of(options: argparse.Namespace) -> tuple[int, int] | None:
    """The first and last frame to be read: those that are wanted, and --overlap before and after as far as the clip
    goes."""
    if options.overlap and (options.overlap < 0 or options.frames is None):
        raise ValueError(f"--overlap is {options.overlap}; expected a number of frames, 0 or more, and --frames")
    if options.frames is None:
        return None
    first, last = frame_range(options.frames)
    if options.overlap:
        numbers = list(open_clip(options.clip, rate=rate_of(options), first_number=options.first_number).numbers)
        if first in numbers and last in numbers:  # else it is said when the clip is opened
            first = numbers[max(0, numbers.index(first) - options.overlap)]
            last = numbers[min(len(numbers) - 1, numbers.index(last) + options.overlap)]
    return first, last


def rate_of(options: argparse.Namespace) -> Fraction | None:
    """Frames per second; None where none is given. Raises ValueError for what is none."""
    text: str | None = options.rate
    try:
        rate = None if text is None else Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate is not None and not 0 < rate <= 1000:
        raise ValueError(f"rate is {text!r}; expected frames per second, such as 25 or 30000/1001")
    return rate
