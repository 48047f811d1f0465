"""The flicker of a clip's frames in files, for `vitmatte evaluate --clip`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..checks import unequal
from ..evaluation.temporal import Clip, Flicker
from ..video.flow import Levels, flow_between, levels_of


class FramesOfClip:
    """Takes frames one after the other, and follows the motion of their pictures."""

    def __init__(self) -> None:
        self._clip = Clip()
        self._before: tuple[Levels, np.ndarray] | None = None

    def push(self, found: np.ndarray, true: np.ndarray, area: np.ndarray | None, image: Tensor | None,
             name: str) -> None:
        """Takes the next frame: its found and true matte [H, W], the area [H, W] that counts, its picture
        [1, H, W, 3] or None (then nothing follows the motion), and the picture's name.

        The motion is the subject's: that of the picture, looked for where the true matte is.
        """
        motion = None
        if image is not None:
            if tuple(image.shape[1:3]) != true.shape:
                raise ValueError(unequal(name, tuple(image.shape[1:3]), "its matte", true.shape))
            levels = levels_of(image[0, ..., :3])
            if self._before is not None and self._before[0].size == levels.size:
                weight = torch.from_numpy(self._before[1]).float().clamp(0, 1)
                motion = flow_between(self._before[0], levels, weight=weight).dense().numpy()
            self._before = levels, true
        self._clip.push(found, true, area, motion)

    def flicker(self) -> Flicker:
        """The clip's figures; ValueError where no two frames count."""
        return self._clip.flicker()
