"""A clip's sound beside its frames: packets as they are where the new file can hold them, else encoded anew."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any

from ..pictures.packages import pyav
from .read import Sound

log = logging.getLogger(__name__)

# What each kind of file holds without being encoded anew, and what others become; None: anything.
HELD: dict[str, tuple[str, ...] | None] = {
    ".mov": ("aac", "alac", "mp3", "ac3", "eac3", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_s16be",
             "pcm_s24be"),
    ".mp4": ("aac", "alac", "mp3", "ac3", "eac3", "opus", "flac"),
    ".webm": ("opus", "vorbis"),
    ".mkv": None,
}
ENCODERS = {".mov": "pcm_s24le", ".mp4": "aac", ".webm": "libopus", ".mkv": "flac"}
OPUS_RATE = 48000  # Hz
SLICE = 1024  # samples of given sound that are encoded at a time


class SoundTrack:
    """The sound of a new file, written up to the time that its frames have reached.

    Args:
        sound: of the clip.
        container: the new file, opened for writing; its frames' stream is added.
        suffix: the new file's.
    """

    def __init__(self, sound: Sound, container: Any, suffix: str) -> None:
        self._sound, self._container, self._suffix = sound, container, suffix
        self._input: Any = None
        self._packets: Iterator[tuple[Fraction, Any]] = iter(())
        self._next: tuple[Fraction, Any] | None = None
        if sound.samples is not None:
            self._packets = self._of_samples()
        else:
            self._open()

    def until(self, time: Fraction | None) -> None:
        """Writes what is heard before a time, in seconds from the first frame; None: all of it."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
            if self._next is None or (time is not None and self._next[0] > time):
                return
            self._container.mux(self._next[1])
            self._next = None

    def close(self) -> None:
        """Closes the clip's file."""
        if self._input is not None:
            self._input.close()

    def _open(self) -> None:
        source = self._sound.source
        if isinstance(source, BytesIO):
            source = BytesIO(source.getvalue())  # the frames are read from the other one
        self._input = pyav().open(source if isinstance(source, BytesIO) else os.fspath(source), "r",
                                  metadata_errors="ignore")
        held = HELD[self._suffix]
        tracks: dict[int, tuple[Any, Any]] = {}  # stream in, stream out, by index
        encoded: dict[int, bool] = {}
        for stream in self._input.streams.audio:
            if stream.codec_context is None:
                log.warning("%s: a stream of its sound cannot be read, and is left out", source)
                continue
            name = stream.codec_context.codec.canonical_name
            encoded[stream.index] = held is not None and name not in held
            out = (self._encoder(stream) if encoded[stream.index]
                   else self._container.add_stream_from_template(stream, opaque=True))
            if encoded[stream.index]:
                log.info("%s: its sound is %s, which %s cannot hold; it is encoded as %s", source, name, self._suffix,
                         ENCODERS[self._suffix])
            tracks[stream.index] = stream, out
        self._packets = self._of_file(tracks, encoded)

    def _encoder(self, stream: Any) -> Any:
        opus = self._suffix == ".webm"
        rate = OPUS_RATE if opus else stream.codec_context.sample_rate
        return self._container.add_stream(ENCODERS[self._suffix], rate=rate, layout=stream.codec_context.layout.name)

    def _of_file(self, tracks: dict[int, tuple[Any, Any]], encoded: dict[int, bool]) -> Iterator[tuple[Fraction, Any]]:
        """The packets of the new streams with their times."""
        begin, end = self._sound.start, self._sound.end
        for packet in self._input.demux([stream for stream, _ in tracks.values()]):
            if packet.pts is None:
                continue
            stream, out = tracks[packet.stream.index]
            time = packet.pts * packet.time_base
            if time + (packet.duration or 0) * packet.time_base <= begin or (end is not None and time >= end):
                continue
            if not encoded[stream.index]:
                shift = round(begin / packet.time_base)
                packet.pts -= shift
                packet.dts = packet.pts
                packet.stream = out
                yield time - begin, packet
                continue
            for frame in packet.decode():
                frame.pts = None if frame.pts is None else round((frame.pts * frame.time_base - begin)
                                                                / frame.time_base)
                yield from ((time - begin, made) for made in out.encode(frame))
        for stream, out in tracks.values():
            if encoded[stream.index]:
                yield from ((Fraction(0), made) for made in out.encode(None))

    def _of_samples(self) -> Iterator[tuple[Fraction, Any]]:
        samples, rate = self._sound.samples, self._sound.sample_rate
        assert samples is not None
        av = pyav()
        layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(len(samples))
        if layout is None:
            raise ValueError(f"the sound has {len(samples)} channels; expected 1, 2, 6 or 8")
        out = self._container.add_stream(ENCODERS[self._suffix], rate=OPUS_RATE if self._suffix == ".webm" else rate,
                                         layout=layout)

        def packets() -> Iterator[tuple[Fraction, Any]]:
            for first in range(0, samples.shape[1], SLICE):
                part = samples[:, first:first + SLICE].float().cpu().contiguous().numpy()
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
                yield from ((Fraction(first, rate), made) for made in out.encode(frame))
            yield from ((Fraction(samples.shape[1], rate), made) for made in out.encode(None))

        return packets()
