"""Clips that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor

from ..checks import check_image
from .read import Clip, ClipFrame, Sound


class TensorClip(Clip):
    """Pictures [B, H, W, 3 or 4] in 0..1 as the frames of a clip; a fourth channel is ignored.

    Args:
        images: the frames.
        rate: frames per second.
        sound: [channels, N] in -1..1 and samples per second.

    Raises:
        TypeError, ValueError: for what are no such pictures.
    """

    name = "the clip"

    def __init__(self, images: Tensor, rate: Fraction, sound: tuple[Tensor, int] | None = None) -> None:
        check_image(images)
        self._images = images
        self.size = int(images.shape[1]), int(images.shape[2])
        self.rate, self.time_base = rate, 1 / rate
        self.count = self.total = len(images)
        self.numbers = range(1, self.count + 1)
        if sound is not None:
            self.sound = Sound(samples=sound[0], sample_rate=sound[1])

    def frames(self, skip: int = 0) -> Iterator[ClipFrame]:
        """See `Clip`."""
        for i in range(skip, self.count):
            image = self._images[i, ..., :3].to(torch.float32)
            yield ClipFrame(i + 1, i, self.name_of(i), i / self.rate, 1 / self.rate, image)
