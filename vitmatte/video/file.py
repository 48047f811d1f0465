"""Video files by PyAV: upright frames with the times that the file gives them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import TOLERANCE
from ..pictures.packages import pyav
from .colours import Colours, colours_of, grey_of, rgb_of
from .decode import decoded
from .read import RATE, Clip, ClipFrame, Sound, positions_of
from .upright import turned, turning

log = logging.getLogger(__name__)

Source = str | os.PathLike[str] | BytesIO


class VideoFile(Clip):
    """A video file's first stream of pictures.

    Args:
        source: a file, or the bytes of one.
        frames: numbers of the first and last frame wanted, both included; None for all.
        first_number: of the file's very first frame.
        window: (start, duration) in seconds instead of numbers; a duration of 0 is until the end.

    Raises:
        FileNotFoundError, ValueError: not there, no video, no frames, colours that are not read, or frames that it
            does not have. RuntimeError: no PyAV.
    """

    def __init__(self, source: Source, *, frames: tuple[int, int] | None = None, first_number: int = 1,
                 window: tuple[float, float] | None = None) -> None:
        self._source, self.first_number = source, first_number
        self.name = "the video" if isinstance(source, BytesIO) else str(source)
        if not isinstance(source, BytesIO) and not Path(source).is_file():
            raise FileNotFoundError(f"no video {source}")
        with self._opened() as (container, stream):
            first = next(decoded(container, stream, self.name), None)
            if first is None:
                raise ValueError(f"{self.name}: no frame of it can be decoded")
            self.colours: Colours = colours_of(first, stream.codec_context, self.name)
            self.has_alpha = any(part.is_alpha for part in first.format.components)
            self._turn = turning(first, self.name)
            height, width = first.height, first.width
            self.size = (width, height) if self._turn[0] else (height, width)
            aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
            self.pixel_aspect = 1 / aspect if self._turn[0] else aspect
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or RATE)
            self._tick = self.time_base = Fraction(stream.time_base or 1 / self.rate)
            if self._tick >= COARSE:
                self.time_base = Fraction(1, self.rate.numerator)
            if first.interlaced_frame:
                log.warning("%s: its frames are interlaced; they are taken as they are: deinterlace them first",
                            self.name)
            total = stream.frames or self._counted(container, stream)
            self._wanted = range(total)
            start = None
            if window is not None and tuple(window) != (0, 0):
                self._wanted, start = self._within(container, stream, *map(as_seconds, window))
            elif frames is not None:
                self._wanted = positions_of(range(first_number, first_number + total), frames, self.name)
                start = self._time_at(container, stream, self._wanted.start)
            else:
                start = self._time_at(container, stream, 0)
            self._whole = len(self._wanted) == total
            sounds = len(container.streams.audio) > 0
        self.count, self.total, self.first, self._start = len(self._wanted), total, self._wanted.start, start
        self.numbers = range(first_number + self.first, first_number + self.first + self.count)
        if sounds:
            end = None if self._whole else start + self.count / self.rate
            self.sound = Sound(source, start, end)

    def frames(self, skip: int = 0) -> Iterator[ClipFrame]:
        """See `Clip`."""
        yield from self._read(lambda frame: rgb_of(frame, self.colours), skip)

    @cached_property
    def shows_alpha(self) -> bool:
        """Whether it has an alpha channel that is not opaque (up to 1/255) in all frames."""
        return self.has_alpha and any(float(one.image.min()) < 1 - TOLERANCE for one in self._read(self._alpha, 0))

    def greys(self, skip: int = 0) -> Iterator[ClipFrame]:
        """The frames as masks, whose image is [H, W]: the alpha channel where `shows_alpha`, else the brightness."""
        yield from self._read(self._alpha if self.shows_alpha else lambda frame: grey_of(frame, self.colours), skip)

    def _alpha(self, frame: Any) -> Tensor:
        return grey_of(frame, self.colours, alpha=True)

    def _read(self, pixels: Callable[[Any], Tensor], skip: int) -> Iterator[ClipFrame]:
        with self._opened() as (container, stream):
            position, previous, corrupt = -1, None, False
            for position, frame in enumerate(decoded(container, stream, self.name)):
                time = self._time_of(frame, previous)
                previous = time
                if position < self.first + skip:
                    continue
                if position not in self._wanted and not self._whole:
                    break
                if frame.is_corrupt and not corrupt:
                    corrupt = True
                    log.warning("%s: frame %d is damaged", self.name, self.first_number + position)
                yield self._made(frame, pixels, position, time)
            if self._whole and position + 1 != self.count:
                log.warning("%s: it says that it has %d frames, and has %d", self.name, self.count, position + 1)

    def _made(self, frame: Any, pixels: Callable[[Any], Tensor], position: int, time: Fraction) -> ClipFrame:
        image = turned(pixels(frame), self._turn)
        number = self.first_number + position
        if image.shape[:2] != self.size:
            raise ValueError(f"{self.name}: frame {number} is {image.shape[1]}x{image.shape[0]} and the first "
                             f"{self.size[1]}x{self.size[0]}; expected one size: convert it first")
        ticks = getattr(frame, "duration", None)  # since PyAV 15
        duration = ticks * self._tick if ticks else 1 / self.rate
        shown, even = time - self._start, (position - self.first) / self.rate
        if self._tick >= COARSE and abs(shown - even) <= self._tick:
            shown, duration = even, 1 / self.rate
        return ClipFrame(number, position, f"{number:06}", shown, Fraction(duration), image)

    def _time_of(self, frame: Any, previous: Fraction | None) -> Fraction:
        """Seconds; a frame without a time, or with one that is not after the frame before it, follows that at once."""
        if frame.pts is not None and (previous is None or frame.pts * self._tick > previous):
            return frame.pts * self._tick
        return Fraction(0) if previous is None else previous + 1 / self.rate

    def _time_at(self, container: Any, stream: Any, wanted: int) -> Fraction:
        container.seek(0)
        previous = None
        for position, frame in enumerate(decoded(container, stream, self.name)):
            previous = self._time_of(frame, previous)
            if position == wanted:
                return previous
        raise ValueError(f"{self.name} has no frame {self.first_number + wanted}: it says that it has more than it has")

    def _within(self, container: Any, stream: Any, start: Fraction, duration: Fraction) -> tuple[range, Fraction]:
        """The positions of the frames that begin within a window in seconds, and the time of the first."""
        container.seek(0)
        previous, begin, found = None, None, []
        for position, frame in enumerate(decoded(container, stream, self.name)):
            previous = self._time_of(frame, previous)
            begin = previous if begin is None else begin
            if previous - begin < start:
                continue
            if duration and previous - begin >= start + duration:
                break
            found.append((position, previous))
        if not found:
            raise ValueError(f"{self.name} has no frames from {float(start):g} s on")
        return range(found[0][0], found[-1][0] + 1), found[0][1]

    def _counted(self, container: Any, stream: Any) -> int:
        """The number of frames of a stream whose container does not tell, by its packets."""
        container.seek(0)
        found = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
        container.seek(0)
        told, lasts = _told_seconds(container, stream), float(found / self.rate)
        if lasts < told - max(1.0, CUT * told):
            log.warning("%s: it says that it lasts %.1f s, and holds %d frames, %.1f s: it may be cut short", self.name,
                        told, found, lasts)
        return found

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        av = pyav()
        if isinstance(self._source, BytesIO):
            self._source.seek(0)
        given = self._source if isinstance(self._source, BytesIO) else os.fspath(self._source)
        try:
            container = av.open(given, "r", metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError) as error:
            raise ValueError(f"{self.name} cannot be read as a video: "
                             f"{getattr(error, 'strerror', None) or error!s:.200}; expected a video file") from error
        with container:
            streams = [one for one in container.streams.video
                       if one.codec_context is not None and not one.disposition.value & ATTACHED]
            if not streams:
                raise ValueError(f"{self.name} has no video in it that can be decoded")
            # Threads that decode whole frames wait for Python's lock where somebody listens to FFmpeg's messages, and
            # whoever closes the file waits for them.
            streams[0].thread_type = "SLICE"
            yield container, streams[0]


def as_seconds(value: float) -> Fraction:
    """Seconds as they were meant: 0.2 is a fifth, and not the float beside it."""
    return Fraction(value).limit_denominator(10**6)


# Matroska and WebM count milliseconds, to which times of even rates are rounded: those within one are meant to be even.
COARSE = Fraction(1, 1000)
CUT = 0.05  # of its length that a file may lack, which variable rates and rounding explain
ATTACHED = 0x0400  # AV_DISPOSITION_ATTACHED_PIC: a cover


def _told_seconds(container: Any, stream: Any) -> float:
    """How long a Matroska or WebM file says that its pictures last; 0 where it does not say."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        alone = len(container.streams) == 1
        return (container.duration or 0) / 1e6 if alone else 0.0  # of many streams it is the longest's
