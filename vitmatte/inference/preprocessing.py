"""The net's input from a picture and its trimap, as in training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..padding import SizeContract, Span
from ..trimap.known import settled
from ..values import Rule, check_values, is_int, is_number, read_json
from ..weights.config_file import PREPROCESSOR_NAME

DIVISOR = 32  # pixels
MAX_DIVISOR = 1024  # every picture is padded to a multiple
MAX_STATISTIC = 1e6  # of means and deviations; more would be a damaged file

# hustvl trained and published its nets with ImageNet's statistics (configs/common/model.py there); the hub's
# preprocessor_config.json says 0.5, so that every user of it feeds the nets another input than they know.
HUB_MEAN, HUB_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """What a net's input was made with in training.

    Args:
        mean, std: per channel, for pictures in 0..1.
        divisor: both sides are padded with zeros to a multiple of this many pixels, after normalisation.
        unknown: the trimap's value for unknown pixels; None feeds the trimap's own values, as the hub's port does
            (128 / 255 for an 8-bit trimap).
        both_sides: see `padding.SizeContract`. A `MattingModel` sets it for nets that were trained so.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    divisor: int = DIVISOR
    unknown: float | None = 0.5
    both_sides: bool = False

    @property
    def contract(self) -> SizeContract:
        """The sizes that pictures are padded to."""
        return SizeContract(self.divisor, self.both_sides)

    def net_input(self, image: Tensor, trimap: Tensor) -> Tensor:
        """image [B, H, W, 3] and trimap [B, H, W] (0, 1, or between for unknown) to [B, 4, H', W'] of the image's
        dtype."""
        return self.contract.pad(self.channels(image, trimap).permute(0, 3, 1, 2))

    def region(
        self, image: Tensor, trimap: Tensor, rows: Span, columns: Span, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """A rectangle of `net_input` of image [H, W, 3] and `settled` trimap [H, W], without making the rest of it.

        Args:
            rows, columns: (start, stop) in pixels of the padded picture.
            device, dtype: of the result.

        Returns:
            [1, 4, rows, columns].
        """
        (top, bottom), (left, right) = rows, columns
        picture = image[top:bottom, left:right].to(device, torch.float32)
        guide = settled(trimap[top:bottom, left:right]).to(device)
        inside = self._planes(picture, guide).to(dtype).unsqueeze(0)
        missing = bottom - top - picture.shape[0], right - left - picture.shape[1]
        return torch.nn.functional.pad(inside, (0, missing[1], 0, missing[0])) if any(missing) else inside

    def channels(self, image: Tensor, trimap: Tensor) -> Tensor:
        """Normalised image [..., 3] and trimap [...] as [..., 4]."""
        mean, std = image.new_tensor(self.mean), image.new_tensor(self.std)
        return torch.cat([(image - mean) / std, self._guide(trimap).to(image.dtype).unsqueeze(-1)], dim=-1)

    def _planes(self, image: Tensor, trimap: Tensor) -> Tensor:
        """`channels` of image [H, W, 3] and trimap [H, W] as [4, H, W], in half the time."""
        mean, std = (image.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        planes = image.new_empty(len(mean) + 1, *trimap.shape)
        torch.sub(image.permute(2, 0, 1), mean, out=planes[:-1]).div_(std)
        planes[-1] = self._guide(trimap)
        return planes

    def _guide(self, trimap: Tensor) -> Tensor:
        """A trimap with the net's value for unknown."""
        return trimap if self.unknown is None else torch.where((trimap > 0) & (trimap < 1), self.unknown, trimap)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> Preprocessing:
        """As preprocessor_config.json says, and transformers' defaults where there is none or it says nothing.

        Raises:
            ValueError: for a file that is no JSON object, or holds other values than numbers, three numbers, and a
                divisor; the message names the file.
        """
        path = Path(folder) / PREPROCESSOR_NAME
        values = read_json(path) if path.is_file() else {}
        divisors = [values[name] for name in ("size_divisor", "size_divisibility") if values.get(name) is not None]
        if len(set(map(repr, divisors))) > 1:
            raise ValueError(f"{path}: size_divisor is {divisors[0]!r:.200} and size_divisibility "
                             f"{divisors[1]!r:.200}; they are two names of one argument: give one, or "
                             "equal ones")
        divisor = divisors[0] if divisors else DIVISOR
        mean, std = (default if values.get(name) is None else values[name]
                     for name, default in (("image_mean", HUB_MEAN), ("image_std", HUB_STD)))
        found = {**values, "image_mean": mean, "image_std": std, "size_divisor": divisor}
        check_values(str(path), found, PROCESSOR_RULES)
        return cls(_per_channel(mean), _per_channel(std), divisor, None)


def _per_channel(value: Any) -> tuple[float, ...]:
    """One number for each of three channels, of an argument that gives them all or one for all."""
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),) * 3


def are_statistics(value: Any, low: float = -MAX_STATISTIC) -> bool:
    """Whether a value is a number above `low`, or three or four of them."""
    given = value if isinstance(value, (list, tuple)) else [value]
    right = (len(given) == 3 or not isinstance(value, (list, tuple)))
    return right and all(is_number(v) and low < v < MAX_STATISTIC for v in given)


# What a preprocessor_config.json must hold.
_FLAG = Rule(lambda v: v is None or isinstance(v, bool), "true or false")
PROCESSOR_RULES = {
    "do_rescale": _FLAG, "do_normalize": _FLAG, "do_pad": _FLAG,
    "rescale_factor": Rule(lambda v: v is None or is_number(v) and abs(v) < MAX_STATISTIC, "a number"),
    "image_mean": Rule(are_statistics, "a number, or one for each of 3 channels"),
    "image_std": Rule(lambda v: are_statistics(v, 1 / MAX_STATISTIC), "a positive number, or one for each of 3 "
                                                                      "channels"),
    "size_divisor": Rule(lambda v: is_int(v) and 1 <= v <= MAX_DIVISOR, f"a whole number from 1 to {MAX_DIVISOR}"),
}
