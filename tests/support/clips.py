"""Small clips for tests: drawn pictures, and video files of them made by PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitmatte.video.colours import Colours, codes
from vitmatte.video.read import Clip, ClipFrame

SIZE = 48, 64  # height, width
RATE = Fraction(30000, 1001)
BT601 = Colours(6, False, bits=8)


def drawn_frame(number: int, size: tuple[int, int] = SIZE) -> Tensor:
    """[H, W, 4]: smooth colours that move, and a disc of alpha with a soft edge that moves."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    colours = torch.stack([0.1 + 0.8 * columns, 0.2 + 0.6 * rows, 0.5 + 0.3 * torch.sin(5 * columns + number)], dim=-1)
    far = ((rows - 0.5) ** 2 + (columns - 0.3 - 0.02 * number) ** 2).sqrt()
    return torch.cat([colours, ((0.3 - far) * 20 + 0.5).clamp(0, 1)[..., None]], dim=-1)


def drawn_mask(number: int, size: tuple[int, int] = SIZE) -> Tensor:
    """The disc, 0 and 1."""
    return (drawn_frame(number, size)[..., 3] > 0.5).float()


class DrawnClip(Clip):
    """Drawn frames, some, which count how often and how far they were read."""

    name = "drawn"

    def __init__(self, count: int = 6, *, rate: Fraction = RATE) -> None:
        self.count = self.total = count
        self.size, self.rate, self.time_base, self.numbers = SIZE, rate, 1 / rate, range(1, count + 1)
        self.read: list[int] = []

    def frames(self, skip: int = 0):
        for i in range(skip, self.count):
            self.read.append(i)
            yield ClipFrame(i + 1, i, self.name_of(i), i / self.rate, 1 / self.rate, drawn_frame(i, self.size)[..., :3])


def write_video(
    path: Path, pictures: Sequence[Tensor], *, layout: str = "yuv420p", encoder: str = "ffv1", rate: Fraction = RATE,
    colours: Colours = BT601, tags: bool = True, sound: str | None = None,
    times: Sequence[int] | None = None,
) -> Path:
    """A video of pictures [H, W, 3 or 4], or [H, W] for grey ones.

    Args:
        layout, encoder: FFmpeg's names.
        colours: what the file's numbers mean; `tags` says so in it.
        sound: an encoder, of half a second of a tone for each 15 frames.
        times: of the frames, in milliseconds.
    """
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], layout
        stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / rate
        if tags:
            stream.codec_context.colorspace = colours.matrix
            stream.codec_context.color_range = 2 if colours.full else 1
        track = None if sound is None else container.add_stream(sound, rate=48000, layout="stereo")
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame(picture.shape[1], picture.shape[0], layout)
            if layout.startswith(("gray", "gbr")):
                top, kind = 2**colours.bits - 1, np.uint16 if colours.bits > 8 else np.uint8
                planes = picture.unsqueeze(-1) if picture.ndim == 2 else picture
                order = (0,) if picture.ndim == 2 else (1, 2, 0, 3)[:picture.shape[-1]]
                found = [(planes[..., n] * top).round().numpy().astype(kind) for n in order]
            else:
                found = codes(picture, colours, subsampled="420" in layout)
            for plane, content in zip(frame.planes, found, strict=False):
                np.frombuffer(plane, content.dtype).reshape(plane.height, -1)[:, :content.shape[1]] = content
            if tags:
                frame.colorspace, frame.color_range = colours.matrix, 2 if colours.full else 1
            frame.pts, frame.time_base = (times[i], Fraction(1, 1000)) if times else (i, 1 / rate)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
        if track is not None:
            wave = 0.3 * np.sin(np.arange(24000 * -(-len(pictures) // 15)) * 0.06)
            both = np.stack([wave, wave]).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
            tone.sample_rate, tone.pts = 48000, 0
            for packet in [*track.encode(tone), *track.encode(None)]:
                container.mux(packet)
    return path


def heard(path: Path) -> np.ndarray:
    """A file's sound, [samples] of its first channel."""
    import av

    with av.open(str(path)) as container:
        return np.concatenate([av.AudioResampler("fltp", "stereo", 48000).resample(frame)[0].to_ndarray()[0]
                               for frame in container.decode(container.streams.audio[0])])


def seen(path: Path, layout: str, decoder: str | None = None) -> list[np.ndarray]:
    """A file's pictures in one of FFmpeg's layouts, by a decoder of one's choice (VP9's alpha needs libvpx-vp9)."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            return [frame.to_ndarray(format=layout) for frame in container.decode(stream)]
        other = av.CodecContext.create(decoder, "r")
        return [frame.to_ndarray(format=layout) for packet in container.demux(stream)
                for frame in other.decode(packet if packet.size else None)]


def write_mask_pictures(folder: Path, count: int, *, first: int = 1, only: Sequence[int] | None = None) -> Path:
    """The discs as pictures of numbers from `first` on; those of some indices only."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for i in only if only is not None else range(count):
        Image.fromarray((drawn_mask(i) * 255).byte().numpy()).save(folder / f"mask.{first + i:04}.png")
    return folder


def write_frame_pictures(folder: Path, count: int, *, first: int = 1001) -> Path:
    """Drawn frames as pictures."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.fromarray((drawn_frame(i)[..., :3] * 255).round().byte().numpy()).save(folder / f"shot.{first + i}.png")
    return folder
