"""Numbers of frames: in the names of files, and ranges of them."""

from __future__ import annotations

import re


def number_in(stem: str) -> int | None:
    """The last number in a file's name without suffix: 17 in "shot2_frame.0017"."""
    found = re.findall(r"\d+", stem)
    return int(found[-1]) if found and len(found[-1]) < 10 else None


def frame_range(text: str) -> tuple[int, int]:
    """(first, last) numbers of frames, both included, from "1001-1100" or "1001"; ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", text)
    if found is None:
        raise ValueError(f"frames is {text!r:.60}; expected first and last, such as 1001-1100")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise ValueError(f"frames is {text!r:.60}; expected the last not before the first")
    return first, last
