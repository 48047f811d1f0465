"""Which of a folder's pictures are wanted: by patterns, by the numbers of frames, and a share for each of many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..pictures.numbers import number_in
from ..pictures.pairing import listed
from ..values import is_int


@dataclass(frozen=True)
class Selection:
    """A part of a folder's pictures.

    Args:
        recursive: those of its folders too, at any depth; results have the same folders.
        patterns: names as shells match them, with "/" in a pattern for folders; those that match one of them are
            taken, and all where there is none.
        frames: the first and last number wanted, both included; a name's number is the last in it.
        chunk: (k, n), the k-th of n parts of what the others leave, 1 to n.

    Raises:
        ValueError: for values other than described.
    """

    recursive: bool = False
    patterns: tuple[str, ...] = ()
    frames: tuple[int, int] | None = None
    chunk: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not all(isinstance(one, str) for one in self.patterns):
            raise ValueError(f"patterns is {self.patterns!r:.100}; expected a tuple of texts, such as ('*_v2.png',)")
        if self.frames is not None and not (_is_pair(self.frames) and self.frames[0] <= self.frames[1]):
            raise ValueError(f"frames is {self.frames!r:.60}; expected the first and last number, such as (1001, 1100)")
        if self.chunk is not None and not (_is_pair(self.chunk) and 1 <= self.chunk[0] <= self.chunk[1]):
            raise ValueError(f"chunk is {self.chunk!r:.60}; expected which part of how many, such as (3, 40), counted "
                             "from 1")

    @property
    def is_all(self) -> bool:
        """Whether it is a folder's own pictures, all of them."""
        return self == Selection()

    def matching(self, names: list[str], folder: Path) -> list[str]:
        """The names that match, in order; all of what is shared out in chunks.

        Raises:
            ValueError: no name matches, or has a wanted number, or a name has no number.
        """
        if self.patterns:
            kept = [name for name in names if any(_matches(name, pattern) for pattern in self.patterns)]
            if not kept:
                raise ValueError(f"no picture in {folder} matches {' or '.join(self.patterns)}; there is "
                                 f"{listed(names)}")
            names = kept
        if self.frames is not None:
            names = _of_numbers(names, self.frames, folder)
        return names

    def share_of(self, names: list[str]) -> list[str]:
        """Those of the chunk; all where there is none."""
        return names if self.chunk is None else [names[i] for i in chunk_of(len(names), *self.chunk)]


def chunk_of(count: int, k: int, n: int) -> range:
    """The k-th of n runs of neighbours, 1 to n, that cover `count` things; their lengths differ by one at most.

    Neighbours stay together, and not every n-th thing: frames of a shot have one size, a part of them can be read as a
    range, and lie together on disk. Where pictures differ in size along the list, more parts than machines even that
    out.
    """
    return range(count * (k - 1) // n, count * k // n)


def parsed_chunk(text: str) -> tuple[int, int]:
    """(k, n) from "3/40"; ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    k, n = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= k <= n:
        raise ValueError(f"chunk is {text!r:.60}; expected which part of how many, such as 3/40, counted from 1")
    return k, n


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(is_int, value))


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _of_numbers(names: list[str], frames: tuple[int, int], folder: Path) -> list[str]:
    numbers = [number_in(Path(name).stem) for name in names]
    without = [name for name, number in zip(names, numbers, strict=True) if number is None]
    if without:
        raise ValueError(f"frames is {frames[0]}-{frames[1]}, and in {folder} these have no number in their names: "
                         f"{listed(without)}; leave them out with a pattern")
    found = [number for number in numbers if number is not None]
    kept = [name for name, number in zip(names, found, strict=True) if frames[0] <= number <= frames[1]]
    if not kept:
        raise ValueError(f"frames is {frames[0]}-{frames[1]}, and {folder} has {min(found)}-{max(found)}")
    return kept
