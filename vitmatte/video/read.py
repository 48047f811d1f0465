"""Clips as they are read: frames one at a time, from a file, pictures, or tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor

from .colours import Colours

RATE = Fraction(24)  # frames per second of what has none


@dataclass(frozen=True)
class ClipFrame:
    """A frame of a clip.

    Args:
        number: what the frame is called: that of its file's name, or counted from the clip's first number.
        position: counted from 0 at the clip's very first frame.
        name: of a result that is one file for each frame: the picture's name without suffix, or the number.
        time: seconds from the first frame that is read.
        duration: seconds that it is shown.
        image: [H, W, 3], float32 in 0..1, upright.
    """

    number: int
    position: int
    name: str
    time: Fraction
    duration: Fraction
    image: Tensor


@dataclass(frozen=True)
class Sound:
    """Where a clip's sound is: a file's own streams, from `start` seconds on, until `end` where that is not None; or
    samples [channels, N] in -1..1 with their rate."""

    source: Any = None
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    samples: Tensor | None = field(default=None, repr=False)
    sample_rate: int = 0


class Clip(ABC):
    """Frames of one size, to be read in order, as often as wanted.

    Attributes:
        name: for messages.
        size: (height, width) of the upright frames.
        rate: frames per second; of a variable rate the average.
        time_base: seconds; all times are multiples of it.
        count: of the frames that are read, as the file says; what is really there is known at the end.
        total: of all frames that there are.
        first: position of the first frame that is read, among all.
        numbers: what the frames that are read are called, in order.
        colours: what its numbers mean.
        pixel_aspect: width to height of a pixel.
        sound: its own, or None.
        profile: the ICC profile of its colours, None for sRGB or what `colours` says.
    """

    name: str
    size: tuple[int, int]
    rate: Fraction = RATE
    time_base: Fraction = 1 / RATE
    count: int
    total: int
    first: int = 0
    numbers: Sequence[int]
    colours: Colours = Colours()
    pixel_aspect: Fraction = Fraction(1)
    sound: Sound | None = None
    profile: bytes | None = None

    def name_of(self, index: int) -> str:
        """The name of a frame that is read, counted from 0, in results that are one file for each."""
        return f"{self.numbers[index]:06}"

    @abstractmethod
    def frames(self, skip: int = 0) -> Iterator[ClipFrame]:
        """The frames in order, each as it is asked for.

        Args:
            skip: so many of the first are passed over.

        Raises:
            ValueError: what cannot be decoded, or has another size; it names the clip and the frame.
        """


def positions_of(numbers: range, wanted: tuple[int, int] | None, name: str) -> range:
    """The positions of the wanted numbers among those that there are; ValueError unless all are there."""
    if wanted is None:
        return range(len(numbers))
    first, last = wanted
    if first < numbers.start or last >= numbers.stop:
        raise ValueError(f"frames is {first}-{last}, and {name} has {numbers.start}-{numbers.stop - 1}")
    return range(first - numbers.start, last - numbers.start + 1)
