"""Mattes, trimaps and pictures of a clip to be judged: each frame is there, or it is an error."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Literal

from torch import Tensor

from ..checks import unequal
from ..pictures.reading import read_image, read_mask, read_size, read_trimap, suffixes
from .file import VideoFile
from .masks import NO_BLACK, has_noisy_black
from .sequence import is_pattern, numbered_pictures

log = logging.getLogger(__name__)

Kind = Literal["mattes", "trimaps", "pictures"]
COLOURED = 0.1  # the mean spread of channels from which a video's frame has colours; greys with losses have 0.01


class Planes:
    """What a clip has for each frame: in a video file, a folder of pictures, or those of a pattern.

    Attributes:
        path: as given.
        count: of frames, as the file says.
        size: (height, width).

    Raises:
        FileNotFoundError, ValueError: nothing there, one picture, or no video. RuntimeError: a video, and no PyAV.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self._kind = path, kind
        self._video: VideoFile | None = None
        self._pictures: list[Path] = []
        if path.is_dir() or is_pattern(path):
            self._pictures = list(numbered_pictures(path).values())
            self._apart = len({path.stem for path in self._pictures}) == len(self._pictures)
            width, height = read_size(self._pictures[0])
            self.count, self.size = len(self._pictures), (height, width)
            return
        if not path.exists():
            raise FileNotFoundError(f"no {kind} {path}; expected a video, a folder of pictures, or a pattern such as "
                                    f"{kind[:-1]}.####.png")
        if path.suffix.lower() in suffixes() and path.suffix.lower() not in (".gif", ".webp", ".avif"):
            raise ValueError(f"{path} is one picture; expected a video, a folder of pictures, or a pattern such as "
                             f"{kind[:-1]}.####.png")
        self._video = VideoFile(path)
        self.count, self.size = self._video.count, self._video.size

    def frames(self) -> Generator[tuple[str, Tensor], None, None]:
        """Name and plane of each frame in order: [1, H, W] of a matte or trimap, [1, H, W, 3] of a picture.

        Raises:
            ValueError: what cannot be read, is of another size than the first frame, ends before the last one, or has
                colours in the place of mattes and trimaps, or transparency in that of trimaps.
        """
        if self._video is not None:
            yield from self._of(self._video)
            return
        read = {"mattes": read_mask, "trimaps": read_trimap, "pictures": read_image}[self._kind]
        for path in self._pictures:
            plane = read(path)
            if tuple(plane.shape[1:3]) != self.size:
                raise ValueError(unequal(str(path), tuple(plane.shape[1:3]), str(self._pictures[0]), self.size))
            yield path.stem if self._apart else path.name, plane

    def _of(self, video: VideoFile) -> Generator[tuple[str, Tensor], None, None]:
        if self._kind != "pictures":
            self._check(video)
        done = 0
        for frame in video.frames() if self._kind == "pictures" else video.greys():
            if done < self.count:
                yield frame.name, frame.image.clamp(0, 1).unsqueeze(0)
            done += 1
        if done != self.count:
            raise ValueError(f"{video.name} says that it has {self.count} frames, and has {done}: it was cut short, or "
                             "is damaged; write it again")

    def _check(self, video: VideoFile) -> None:
        """Whether the first frame is one of a matte or a trimap at all."""
        if video.shows_alpha:
            if self._kind == "trimaps":
                raise ValueError(f"{video.name} has transparency; expected trimaps of black (background), grey "
                                 "(unknown) and white (foreground)")
            return
        picture = next(video.frames()).image
        if float((picture.amax(-1) - picture.amin(-1)).mean()) > COLOURED:
            raise ValueError(f"{video.name} has colours and no transparency; expected {self._kind} in grey"
                             + (", or a cut-out with transparency" if self._kind == "mattes" else ""))
        if self._kind == "trimaps" and has_noisy_black(picture.mean(-1)):
            log.warning(NO_BLACK, video.name, "write the trimaps without losses")
