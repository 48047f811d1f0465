"""The net's input from a picture and its trimap, as in training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..huggingface.processing import VitMatteImageProcessor
from ..huggingface.processor_config import DIVISOR, numbers
from ..huggingface.processor_config import HUB_MEAN as HUB_MEAN
from ..huggingface.processor_config import HUB_STD as HUB_STD
from ..model.config import PREPROCESSOR_NAME
from ..padding import SizeContract, Span

# hustvl trained and published its nets with ImageNet's statistics (configs/common/model.py there); the hub's
# preprocessor_config.json says 0.5, so that every user of it feeds the nets another input than they know.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """What a net's input was made with in training.

    Args:
        mean, std: per channel, for pictures in 0..1.
        divisor: both sides are padded with zeros to a multiple of this many pixels, after normalisation.
        unknown: the trimap's value for unknown pixels; None feeds the trimap's own values, as the hub's port does
            (128 / 255 for an 8-bit trimap).
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    divisor: int = DIVISOR
    unknown: float | None = 0.5

    def net_input(self, image: Tensor, trimap: Tensor) -> Tensor:
        """image [B, H, W, 3] and trimap [B, H, W] (0, 1, or between for unknown) to [B, 4, H', W'] of the image's
        dtype."""
        return SizeContract(self.divisor).pad(self.channels(image, trimap).permute(0, 3, 1, 2))

    def region(
        self, image: Tensor, trimap: Tensor, rows: Span, columns: Span, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """A rectangle of `net_input` of image [H, W, 3] and trimap [H, W], without making the rest of it.

        Args:
            rows, columns: (start, stop) in pixels of the padded picture.
            device, dtype: of the result.

        Returns:
            [1, 4, rows, columns].
        """
        (top, bottom), (left, right) = rows, columns
        picture, guide = (x[top:bottom, left:right].to(device, torch.float32) for x in (image, trimap))
        inside = self.channels(picture, guide).to(dtype).permute(2, 0, 1).unsqueeze(0)
        missing = bottom - top - picture.shape[0], right - left - picture.shape[1]
        return torch.nn.functional.pad(inside, (0, missing[1], 0, missing[0])) if any(missing) else inside

    def channels(self, image: Tensor, trimap: Tensor) -> Tensor:
        """Normalised image [..., 3] and trimap [...] as [..., 4]."""
        mean, std = image.new_tensor(self.mean), image.new_tensor(self.std)
        if self.unknown is not None:
            trimap = torch.where((trimap > 0) & (trimap < 1), self.unknown, trimap)
        return torch.cat([(image - mean) / std, trimap.to(image.dtype).unsqueeze(-1)], dim=-1)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> Preprocessing:
        """As preprocessor_config.json says, and transformers' defaults where there is none."""
        path = Path(folder) / PREPROCESSOR_NAME
        processor = VitMatteImageProcessor.from_pretrained(folder) if path.is_file() else VitMatteImageProcessor()
        mean, std = (numbers(name, getattr(processor, name), 3) for name in ("image_mean", "image_std"))
        return cls(mean, std, processor.size_divisor, None)
