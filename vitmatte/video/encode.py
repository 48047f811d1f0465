"""Video files as they are written: which codec for which name, and one frame after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..pictures.packages import check_encoder, pyav
from .colours import BT601, BT709, HD, RGB, UNSPECIFIED, Colours, codes
from .read import Clip, ClipFrame
from .sound import ENCODERS, SoundTrack


@dataclass(frozen=True)
class Codec:
    """How a kind of picture is encoded.

    Args:
        encoder: FFmpeg's name.
        layouts: its pixel format by channels: 1 grey, 3 colours, 4 with alpha; what lacks is not held.
        bits: of a channel.
        options: of the encoder.
    """

    encoder: str
    layouts: dict[int, str]
    bits: int
    options: dict[str, str]


VP9 = {"crf": "18", "auto-alt-ref": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4", "lag-in-frames": "0"}
CODECS = {
    ".mov": Codec("prores_ks", {1: "yuv444p10le", 3: "yuv444p10le", 4: "yuva444p10le"}, 10,
                  {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}),
    ".webm": Codec("libvpx-vp9", {1: "yuv420p", 3: "yuv420p", 4: "yuva420p"}, 8, VP9),
    ".mkv": Codec("ffv1", {1: "gray16le", 3: "gbrp16le", 4: "gbrap16le"}, 16, {"level": "3", "slicecrc": "1"}),
    ".mp4": Codec("libx264", {1: "yuv420p", 3: "yuv420p"}, 8, {"crf": "14", "preset": "medium"}),
}
SUFFIXES = tuple(CODECS)
MIN_TICKS = 10  # of the time base in a frame, at least


def check_video_name(path: Path, channels: int, size: tuple[int, int]) -> None:
    """Raises before any work where a file of that name cannot hold pictures of so many channels and (height, width).

    Raises:
        ValueError: a suffix without such a codec. RuntimeError: no PyAV, or one without the encoder.
    """
    codec = CODECS[path.suffix.lower()]
    if channels not in codec.layouts:
        raise ValueError(f"{path}: {path.suffix} has no transparency; write .mov (ProRes 4444), .webm (VP9) or .mkv "
                         "(FFV1), give a background, or write the fill and the matte beside each other")
    check_encoder(codec.encoder, str(path))
    if "420" in codec.layouts[channels] and codec.encoder == "libx264" and (size[0] % 2 or size[1] % 2):
        raise ValueError(f"{path}: frames are {size[1]}x{size[0]}, and .mp4 (H.264, 4:2:0) holds even sides only; "
                         "write .mov, .webm or .mkv")


class VideoWriter:
    """A video file that is being written; from `opened`.

    Args:
        container: the file, opened by PyAV.
        suffix: of its final name.
        clip: whose rate, time base, colours, shape of pixels and sound it gets.
        channels: of its pictures.
        sound: whether the clip's is written beside.
    """

    def __init__(self, container: Any, suffix: str, clip: Clip, channels: int, *, sound: bool) -> None:
        av, codec = pyav(), CODECS[suffix]
        self._container, self._codec, self._channels = container, codec, channels
        self.layout = codec.layouts[channels]
        self._colours = _written(clip, codec, channels)
        # A base as fine as the file's times; of round rates, as editors have it, with room for rounding.
        ticks = max(1, math.ceil(MIN_TICKS * clip.rate * clip.time_base))
        self._time_base = clip.time_base / ticks
        self._stream = container.add_stream(codec.encoder, rate=clip.rate)
        context = self._stream.codec_context
        context.height, context.width = clip.size
        context.pix_fmt, context.time_base = self.layout, self._time_base
        context.options = codec.options
        context.sample_aspect_ratio = clip.pixel_aspect
        if codec.encoder == "libvpx-vp9":
            context.bit_rate = 0
        self._tag(context)
        context.thread_type = "SLICE"
        self._frame_type = av.VideoFrame
        self._track = SoundTrack(clip.sound, container, suffix) if sound and clip.sound is not None else None

    def write(self, frame: ClipFrame, picture: Tensor) -> None:
        """Adds a picture [H, W] or [H, W, 3 or 4] in 0..1, at the time of its frame."""
        made = self._made(picture)
        made.pts = round(frame.time / self._time_base)
        made.time_base = self._time_base
        if hasattr(made, "duration"):  # since PyAV 15
            made.duration = round(frame.duration / self._time_base)
        if self._track is not None:
            self._track.until(frame.time)
        for packet in self._stream.encode(made):
            self._container.mux(packet)

    def finish(self) -> None:
        """Writes what the encoder holds back, and the rest of the sound."""
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        if self._track is not None:
            self._track.until(None)

    def close(self) -> None:
        """Closes the clip's file that the sound is read from."""
        if self._track is not None:
            self._track.close()

    def _made(self, picture: Tensor) -> Any:
        frame = self._frame_type(picture.shape[1], picture.shape[0], self.layout)
        values = picture.detach().float()
        if self._colours.matrix == RGB or self.layout.startswith("gray"):
            planes = values.unsqueeze(-1) if values.ndim == 2 else values
            top = 2**self._colours.bits - 1
            levels = (planes.clamp(0, 1) * top).round().cpu().numpy().astype(np.uint16)
            order = (0,) if values.ndim == 2 else (1, 2, 0, 3)[:self._channels]  # FFmpeg's planes are G, B, R, A
            found = [levels[..., i] for i in order]
        else:
            found = codes(values, self._colours, subsampled="420" in self.layout)
        for plane, content in zip(frame.planes, found, strict=False):
            target = np.frombuffer(plane, content.dtype).reshape(plane.height, -1)
            target[:, :content.shape[1]] = content
        self._tag(frame)
        return frame

    def _tag(self, target: Any) -> None:
        target.colorspace = self._colours.matrix
        target.color_range = 2 if self._colours.full else 1
        if hasattr(target, "color_primaries"):  # of frames, since PyAV 15
            target.color_primaries, target.color_trc = self._colours.primaries, self._colours.transfer


def _written(clip: Clip, codec: Codec, channels: int) -> Colours:
    """What the numbers in the new file mean: the clip's own matrix, primaries and transfer; of pictures, BT.709."""
    source = clip.colours
    if codec.encoder == "ffv1":
        return replace(source, matrix=RGB, full=True, bits=codec.bits)
    matrix = source.matrix
    if matrix == RGB:
        matrix = BT709 if clip.size[0] >= HD or source.primaries == UNSPECIFIED else BT601
    primaries, transfer = source.primaries, source.transfer
    if source.matrix == RGB and primaries == UNSPECIFIED:
        primaries = transfer = BT709
    return Colours(matrix, False, primaries, transfer, codec.bits)


@contextmanager
def opened(temporary: Path, path: Path, clip: Clip, channels: int, *, sound: bool) -> Iterator[VideoWriter]:
    """A writer to a temporary file that will be called `path`; finished at the end, closed in any case."""
    av, suffix = pyav(), path.suffix.lower()
    options = {"movflags": "faststart"} if suffix in (".mov", ".mp4") else {}
    with _closed(av.open(str(temporary), "w", options=options)) as container:
        writer = VideoWriter(container, suffix, clip, channels, sound=sound and suffix in ENCODERS)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


@contextmanager
def _closed(container: Any) -> Iterator[Any]:
    """Closes a container; where something failed, what closing then says of the half-written file is left unsaid."""
    try:
        yield container
    except BaseException:
        with suppress(Exception):
            container.close()
        raise
    container.close()

