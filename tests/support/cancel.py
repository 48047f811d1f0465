"""A user who presses cancel."""

from __future__ import annotations


class Cancel:
    """A `check_interrupt` that raises KeyboardInterrupt the `last`-th time it is called; `left` counts down to 0."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
