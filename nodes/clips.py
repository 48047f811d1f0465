"""ComfyUI's VIDEO as a clip of the library: a file is read frame by frame, frames in memory are taken from there."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from comfy_api.latest import InputImpl

from ..vitmatte.video.file import VideoFile
from ..vitmatte.video.masks import Masks, TensorMasks, VideoMasks
from ..vitmatte.video.read import Clip
from ..vitmatte.video.tensors import TensorClip
from .trimap import check_painted

NOISY = "set low to 0.1 and high to 0.9"


def clip_of(video: Any) -> Clip:
    """The clip of a VIDEO.

    Raises:
        ValueError: what has no frames or cannot be read. RuntimeError: a file, and no PyAV.
    """
    if isinstance(video, InputImpl.VideoFromFile):
        return video_file(video)
    parts = video.get_components()
    if not len(parts.images):
        raise ValueError("the video has no frames")
    sound = None
    if parts.audio is not None:
        sound = parts.audio["waveform"][0], int(parts.audio["sample_rate"])
    return TensorClip(parts.images, Fraction(parts.frame_rate).limit_denominator(100_000), sound)


def video_file(video: Any) -> VideoFile:
    """The same of a VIDEO that is a file, or the bytes of one, with the times it was trimmed to (ComfyUI 0.3.76)."""
    window = video.get_active_trim_window() if hasattr(video, "get_active_trim_window") else None
    return VideoFile(video.get_stream_source(), window=window)


def masks_of(clip: Clip, mask: torch.Tensor | None, mask_video: Any, *, carried: bool) -> Masks:
    """The masks of a clip, from either of two inputs.

    Raises:
        ValueError: none or both, an empty mask, or one that does not fit.
    """
    if (mask is None) == (mask_video is None):
        raise ValueError("connect either mask or mask_video" + (", not both" if mask is not None else
                         ": rough masks of the subject, as of SAM or Remove Background"))
    if mask is not None:
        check_painted(mask)
        return TensorMasks(mask, clip, carried=carried)
    return VideoMasks(video_file(mask_video), clip, remedy=NOISY)


def video_of(path: str) -> Any:
    """A VIDEO of a file."""
    return InputImpl.VideoFromFile(path)


class Frames:
    """Some frames of a clip for the preview below a node, evenly spread and small.

    Args:
        count: of the clip.
        most: of those that are kept.
        side: pixels.
    """

    def __init__(self, count: int, most: int, side: int) -> None:
        few = min(count, most)
        self._wanted = {round(i * (count - 1) / max(1, few - 1)) for i in range(few)}
        self._side = side
        self.kept: list[torch.Tensor] = []

    def add(self, index: int, picture: torch.Tensor) -> None:
        """Keeps a picture [H, W] or [H, W, 3 or 4], if it is one of those."""
        if index in self._wanted:
            step = max(1, -(-max(picture.shape[:2]) // self._side))
            self.kept.append(picture[::step, ::step].clone().cpu())
