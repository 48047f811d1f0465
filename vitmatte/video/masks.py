"""Which mask belongs to which frame of a clip: one for all, one for each, or for some."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from ..checks import unequal
from ..pictures.pairing import listed
from ..pictures.reading import read_mask, read_size, read_trimap, suffixes
from .file import VideoFile
from .read import Clip, ClipFrame
from .sequence import is_pattern, numbered_pictures

log = logging.getLogger(__name__)

FAINT, NOISY = 0.1, 0.02  # a video's black is up to this bright, in so much of a frame: it was compressed with losses
NO_BLACK = "%s: its black is no black, as after a lossy compression, and counts as unknown: %s"


def has_noisy_black(plane: Tensor) -> bool:
    """Whether much of a mask or trimap [H, W] is nearly, and not quite, black."""
    return float(((plane > 1 / 250) & (plane < FAINT)).float().mean()) > NOISY


class Masks(ABC):
    """The masks, or trimaps, of a clip.

    Attributes:
        has: the indices (from 0, of the frames that are read) that have one of their own.
    """

    has: frozenset[int] | range

    @abstractmethod
    def at(self, index: int) -> tuple[Tensor, str] | None:
        """The plane [H, W] in 0..1 of a frame and its name, or None; to be asked in the order of the frames, from any
        on."""


class TensorMasks(Masks):
    """Masks [B, H, W] or [H, W]: one for all, as many as frames, or, where they are carried on, those of the first
    frames.

    Raises:
        ValueError: another size or count.
    """

    def __init__(self, masks: Tensor, clip: Clip, *, carried: bool = False, name: str = "masks") -> None:
        self._masks = masks if masks.ndim == 3 else masks.unsqueeze(0)
        self._name = name
        _check_size(clip, tuple(self._masks.shape[1:]), name, self._masks)
        count = len(self._masks)
        self._one = count == 1 and not carried
        if count > clip.count or (count < clip.count and not carried and not self._one):
            raise ValueError(f"{count} {name} for {clip.count} frames of {clip.name}; expected as many, or one for "
                             "all; fewer only where they are for the first frames and are carried on by motion")
        self.has = range(clip.count if self._one else count)

    def at(self, index: int) -> tuple[Tensor, str] | None:
        """See `Masks`."""
        if index not in self.has:
            return None
        return self._masks[0 if self._one else index].float(), f"{self._name}[{index}]"


class PictureMasks(Masks):
    """Files of pictures, by index; or one for all."""

    def __init__(self, paths: dict[int, Path], count: int, *, one: bool, read: Callable[[Path], Tensor]) -> None:
        self._paths, self._one, self._read = paths, one, read
        self.has = range(count) if one else frozenset(paths)
        self._kept: tuple[Path, Tensor] | None = None

    def at(self, index: int) -> tuple[Tensor, str] | None:
        """See `Masks`."""
        if index not in self.has:
            return None
        path = self._paths[0 if self._one else index]
        if self._kept is None or self._kept[0] != path:
            self._kept = path, self._read(path)[0]
        return self._kept[1], str(path)


class VideoMasks(Masks):
    """A video of masks, with as many frames as the clip that is read, or as the whole of it."""

    def __init__(self, video: VideoFile, clip: Clip, *, remedy: str = "") -> None:
        _check_size(clip, video.size, video.name)
        if video.count not in (clip.count, clip.total):
            raise ValueError(f"{video.name} has {video.count} masks for {clip.count} frames of {clip.name}; expected "
                             "as many as frames")
        self._video, self._remedy = video, remedy
        self._skip = clip.first if video.count == clip.total else 0
        self._next = 0
        self._masks: Iterator[ClipFrame] = iter(())
        self._told = False
        self.has = range(clip.count)

    def at(self, index: int) -> tuple[Tensor, str] | None:
        """See `Masks`."""
        if index != self._next or not index:
            self._masks = self._video.greys(self._skip + index)
        self._next = index + 1
        frame = next(self._masks, None)
        if frame is None:
            raise ValueError(f"{self._video.name} ends before the clip does: it has no frame for index {index}")
        if not self._told and self._remedy and has_noisy_black(frame.image):
            self._told = True
            log.warning(NO_BLACK, self._video.name, self._remedy)
        return frame.image, f"{self._video.name}, frame {frame.number}"


def masks_of(path: Path, clip: Clip, *, trimaps: bool = False, carried: bool = False, remedy: str = "") -> Masks:
    """The masks in a picture, a folder, a pattern's pictures, or a video.

    Those of a folder belong to the frames in order where there are as many as frames; fewer belong to the frames of the
    numbers in their names.

    Args:
        trimaps: read them as trimaps.
        carried: frames may lack one, and a single picture is that of the first frame.
        remedy: what to do about a video whose black is noisy.

    Raises:
        FileNotFoundError, ValueError: not there, of another size, too few, or of no frame; before any is decoded.
    """
    read = read_trimap if trimaps else read_mask
    if not path.is_dir() and not is_pattern(path):
        if not path.exists():
            raise FileNotFoundError(f"no masks {path}; expected a picture, a folder, a pattern such as mask.####.png, "
                                    "or a video")
        if path.suffix.lower() not in suffixes():
            return VideoMasks(VideoFile(path), clip, remedy=remedy)
        _check_picture(clip, path)
        return PictureMasks({0: path}, clip.count, one=not carried, read=read)
    found = numbered_pictures(path)
    paths = list(found.values())
    if len(found) in (clip.total, clip.count):
        first = clip.first if len(found) == clip.total else 0
        by_index = dict(enumerate(paths[first:first + clip.count]))
        _tell_of_numbers([*found][first:first + clip.count], path, clip)
    else:
        by_index = _by_number(found, path, clip)
    for one in by_index.values():
        _check_picture(clip, one)
    lacking = [clip.numbers[i] for i in range(clip.count) if i not in by_index]
    if lacking and not carried:
        raise FileNotFoundError(f"{path} has no mask for {len(lacking)} of {clip.count} frames of {clip.name}: "
                                f"{listed([str(n) for n in lacking])}; expected one for each, or --carry, by which "
                                "those that are there are carried on by motion")
    return PictureMasks(by_index, clip.count, one=False, read=read)


def check_first(masks: Masks, clip: Clip) -> None:
    """Raises ValueError unless the first frame has a mask to be carried on."""
    if 0 not in masks.has:
        raise ValueError(f"{clip.name}: its first frame {clip.numbers[0]} has no mask; masks are carried on from the "
                         "first to the last: give one for it")


def _tell_of_numbers(numbers: list[int], path: Path, clip: Clip) -> None:
    """A warning where masks are taken in order though their numbers say otherwise. A video's frames have no numbers of
    their own, so that masks from 0 on are as good as from 1 on."""
    apart = {mask - frame for mask, frame in zip(numbers, clip.numbers, strict=True)}
    if apart != {0} and not (isinstance(clip, VideoFile) and len(apart) == 1):
        i = next(i for i, frame in enumerate(clip.numbers) if numbers[i] != frame)
        log.warning("%s: its masks are taken in order, not by their numbers, which differ from the frames': mask %d is "
                    "that of frame %d", path, numbers[i], clip.numbers[i])


def _by_number(found: dict[int, Path], path: Path, clip: Clip) -> dict[int, Path]:
    """Pictures by the indices of the frames of their numbers; those of frames that are not read are passed over."""
    index = {number: i for i, number in enumerate(clip.numbers)}
    first, last = clip.numbers[0] - clip.first, clip.numbers[-1] + clip.total - clip.first - clip.count
    astray = [one.name for number, one in found.items() if not first <= number <= last]
    if astray:
        raise ValueError(f"{path} has {len(found)} masks for {clip.count} frames of {clip.name}, and by their numbers "
                         f"some are of no frame: {listed(astray)}; its frames are {first}-{last}")
    return {index[number]: one for number, one in found.items() if number in index}


def _check_picture(clip: Clip, path: Path) -> None:
    width, height = read_size(path)
    _check_size(clip, (height, width), str(path))


def _check_size(clip: Clip, size: tuple[int, ...], name: str, *planes: Tensor) -> None:
    if tuple(size) != clip.size:
        raise ValueError(unequal(clip.name, clip.size, name, tuple(size), *planes))
