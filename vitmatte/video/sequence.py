"""Clips that are pictures: a folder of them, or those that a pattern names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from ..pictures.numbers import number_in
from ..pictures.pairing import listed
from ..pictures.profiles import same_space
from ..pictures.reading import left_out_of, pictures_in, read_photograph, read_size, suffixes, tell_clipped
from .read import RATE, Clip, ClipFrame

log = logging.getLogger(__name__)

DIGITS = r"#+|%0?\d*d"  # where a pattern has its numbers


def is_pattern(path: Path) -> bool:
    """Whether a name stands for many: it has #### or %04d where their numbers are."""
    return re.search(DIGITS, path.name) is not None


def numbered(pattern: Path, number: int) -> Path:
    """The file of a number: `####` is a number of at least 4 digits, and so is `%04d`."""
    def digits(found: re.Match[str]) -> str:
        text = found[0]
        width = len(text) if text.startswith("#") else int(text[1:-1] or 1)
        return f"{number:0{width}}"

    return pattern.with_name(re.sub(DIGITS, digits, pattern.name, count=1))


def numbered_pictures(path: Path) -> dict[int, Path]:
    """The pictures of a folder, or of a pattern, by the numbers in their names and in that order; of a folder where
    not each name has one of its own, counted from 1 in the order of names.

    Raises:
        FileNotFoundError: no folder, or no pictures.
    """
    folder = path.parent if is_pattern(path) else path
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    if is_pattern(path):
        before, after = re.split(DIGITS, path.name, maxsplit=1)
        names = re.compile(re.escape(before) + r"(\d{1,9})" + re.escape(after))
        found = {int(match[1]): one for one in pictures_in(folder) if (match := names.fullmatch(one.name))}
    else:
        paths = pictures_in(folder)
        numbers = [number_in(one.stem) for one in paths]
        counted = None in numbers or len(set(numbers)) < len(paths)
        found = dict(enumerate(paths, 1)) if counted else {n: one for n, one in zip(numbers, paths, strict=True)
                                                           if n is not None}
    if not found:
        others = left_out_of(folder)
        there = f" (there is {listed(others)})" if others else ""
        where = f"that match {path}" if is_pattern(path) else f"in {path}"
        raise FileNotFoundError(f"no pictures {where}; looked for {', '.join(suffixes())}{there}")
    return dict(sorted(found.items()))


class Sequence(Clip):
    """Pictures as the frames of a clip.

    Args:
        path: a folder, or a pattern such as shot.####.png.
        frames: numbers of the first and last frame wanted, both included; None for all.
        rate: frames per second; pictures do not tell.

    Raises:
        FileNotFoundError, ValueError: none there, or frames that it does not have, or of other sizes.
    """

    def __init__(self, path: Path, *, frames: tuple[int, int] | None = None, rate: Fraction = RATE) -> None:
        self.name, self.rate, self.time_base = str(path), rate, 1 / rate
        pictures = numbered_pictures(path)
        numbers = list(pictures)
        if frames is not None:
            if frames[0] not in pictures or frames[1] not in pictures:
                raise ValueError(f"frames is {frames[0]}-{frames[1]}, and {path} has {numbers[0]}-{numbers[-1]}")
            self.first = numbers.index(frames[0])
        self._pictures = [(i, n, pictures[n]) for i, n in enumerate(numbers)
                          if frames is None or frames[0] <= n <= frames[1]]
        self.count, self.total = len(self._pictures), len(numbers)
        self.numbers = [n for _, n, _ in self._pictures]
        lacking = sorted(set(range(self.numbers[0], self.numbers[-1] + 1)) - set(self.numbers))
        if lacking:
            log.warning("%s: there is no frame %s; those beside it follow each other", path, listed(
                [str(n) for n in lacking]))
        first = self._pictures[0][2]
        width, height = read_size(first)
        self.size = height, width
        for _, _, one in self._pictures[1:]:
            if (size := read_size(one)) != (width, height):
                raise ValueError(f"{one} is {size[0]}x{size[1]} and {first} {width}x{height}; expected one size for "
                                 "all frames of a clip")
        self.profile = read_photograph(first).profile

    @property
    def files(self) -> list[Path]:
        """The files of the wanted pictures."""
        return [path for _, _, path in self._pictures]

    def name_of(self, index: int) -> str:
        """See `Clip`."""
        return self._pictures[index][2].stem

    def frames(self, skip: int = 0) -> Iterator[ClipFrame]:
        """See `Clip`."""
        for i, (position, number, path) in enumerate(self._pictures):
            if i < skip:
                continue
            photo = read_photograph(path)
            if not same_space(photo.profile, self.profile):
                raise ValueError(f"{path} has another colour profile than {self._pictures[0][2]}; expected one for all "
                                 "frames of a clip")
            if photo.is_light:
                tell_clipped(self.name, photo.image)
            yield ClipFrame(number, position, path.stem, i / self.rate, 1 / self.rate, photo.seen[0])
