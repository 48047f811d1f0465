"""The flicker of a clip's frames in files, for `vitmatte evaluate --clip`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..checks import unequal
from ..evaluation.temporal import Clip, Flicker
from ..pictures import reading
from ..video.flow import Levels, flow_between, levels_of


class FramesOfClip:
    """Takes frames one after the other, and follows the motion of their pictures.

    Args:
        images: the pictures' files by name; empty without: then nothing follows the motion.
    """

    def __init__(self, images: dict[str, Path]) -> None:
        self.images = images
        self._clip = Clip()
        self._before: tuple[Levels, np.ndarray] | None = None

    def push(self, name: str, found: np.ndarray, true: np.ndarray, area: np.ndarray | None) -> None:
        """Takes the next frame: its name, its found and true matte [H, W], and the area [H, W] that counts.

        The motion is the subject's: that of the picture, looked for where the true matte is.
        """
        motion = None
        if self.images:
            image = reading.read_image(self.images[name])[0]
            if tuple(image.shape[:2]) != true.shape:
                raise ValueError(unequal(str(self.images[name]), tuple(image.shape[:2]), "its matte", true.shape))
            levels = levels_of(image[..., :3])
            if self._before is not None and self._before[0].size == levels.size:
                weight = torch.from_numpy(self._before[1]).float().clamp(0, 1)
                motion = flow_between(self._before[0], levels, weight=weight).dense().numpy()
            self._before = levels, true
        self._clip.push(found, true, area, motion)

    def flicker(self) -> Flicker:
        """The clip's figures; ValueError where no two frames count."""
        return self._clip.flicker()
