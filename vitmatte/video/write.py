"""What a clip's mattes are written to: a video file, or a picture for each frame. Whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from ..files import check_can_write, whole_files
from ..pictures.deep import write_png16
from ..pictures.exr import write_exr
from ..pictures.formats import Form
from ..pictures.writing import write_matte
from . import encode
from .read import Clip, ClipFrame
from .sequence import is_pattern, numbered

Kind = Literal["cutout", "fill", "matte"]
KINDS: tuple[Kind, ...] = ("cutout", "fill", "matte")
PICTURES = (".png", ".exr")
MATTES = (*PICTURES, ".tif", ".tiff")


@dataclass(frozen=True)
class Target:
    """Where one kind of result goes.

    Args:
        path: a video file (.mov, .webm, .mkv, .mp4), a pattern such as cut.####.png, or a folder (PNG, of the
            frames' names).
        kind: "cutout": the subject on nothing, or on a background; "fill": its colours without transparency, to go
            beside a matte; "matte": alpha.
        channels: 4 with alpha, 3, or 1.
        half, premultiplied: of OpenEXR, see `write_exr`.
    """

    path: Path
    kind: Kind
    channels: int
    half: bool = True
    premultiplied: bool = True

    @property
    def is_video(self) -> bool:
        """Whether it is one file for all frames."""
        return not is_pattern(self.path) and self.path.suffix.lower() in encode.SUFFIXES

    @property
    def suffix(self) -> str:
        """Of its file or files, in lower case."""
        return self.path.suffix.lower() if self.is_video or is_pattern(self.path) else ".png"

    def picture(self, frame: ClipFrame | tuple[int, str]) -> Path:
        """The file of a frame, or of one of that number and name."""
        number, name = (frame.number, frame.name) if isinstance(frame, ClipFrame) else frame
        return numbered(self.path, number) if is_pattern(self.path) else self.path / f"{name}.png"

    def check(self, clip: Clip) -> None:
        """Raises before any work where it cannot be written.

        Raises:
            ValueError: a name or format that does not fit. RuntimeError: an encoder that is not there. OSError: a
                folder that cannot be written.
        """
        if self.is_video:
            encode.check_video_name(self.path, self.channels, clip.size)
            check_can_write(self.path)
            return
        suffix = self.suffix
        known = MATTES if self.kind == "matte" else PICTURES
        # A folder may have a dot in its name, but nobody means cut.avi or cut.png to be one.
        if suffix not in known or (not is_pattern(self.path) and self.path.suffix and not os.path.isdir(self.path)):
            raise ValueError(f"{self.path}: expected a video ({', '.join(encode.SUFFIXES)}), a pattern of pictures "
                             f"such as {self.path.with_suffix('').name}.####.png ({', '.join(known)}), or a folder")
        if suffix == ".exr":
            Form().check(self.path)
            if clip.colours.hdr and self.kind != "matte":
                raise ValueError(f"{self.path}: {clip.name} is of high dynamic range (PQ or HLG), of which no light is "
                                 "computed here; write .mov, .mkv or .png, which keep its numbers")
        if os.path.isfile(self.path):
            raise ValueError(f"{self.path} is a file; expected the name of a folder or of a video")
        check_can_write(self.picture((0, "0")))


class Writer(Protocol):
    """Takes the pictures of one target."""

    def write(self, frame: ClipFrame, picture: Tensor) -> None:
        """Adds the picture of a frame, [H, W], [H, W, 3] or [H, W, 4] as its target says."""


class PictureWriter:
    """A file for each frame."""

    def __init__(self, target: Target, clip: Clip) -> None:
        self._target, self._profile = target, clip.profile

    def write(self, frame: ClipFrame, picture: Tensor) -> None:
        """See `Writer`."""
        path = self._target.picture(frame)
        suffix = path.suffix.lower()
        if suffix == ".exr":
            write_exr(path, picture, half=self._target.half, premultiplied=self._target.premultiplied)
        elif suffix == ".png":
            write_png16(path, picture, profile=self._profile)
        else:
            write_matte(path, picture)


@contextmanager
def writers(targets: list[Target], clip: Clip, *, sound: bool = True) -> Iterator[list[Writer]]:
    """A writer for each target. Video files take their names once all are whole; where anything fails, or the process
    is ended by a signal that it hears, there is none of them. Pictures are whole, one by one."""
    videos = [target for target in targets if target.is_video]
    with ExitStack() as stack:
        temporaries = iter(stack.enter_context(whole_files(*(target.path for target in videos))) if videos else [])
        found: list[Writer] = []
        for target in targets:
            if target.is_video:
                found.append(stack.enter_context(encode.opened(next(temporaries), target.path, clip, target.channels,
                                                               sound=sound)))
            else:
                found.append(PictureWriter(target, clip))
        yield found


def is_done(targets: list[Target], frame: tuple[int, str]) -> bool:
    """Whether all files of a frame of that number and name are there."""
    return all(not target.is_video and os.path.isfile(target.picture(frame)) for target in targets)
