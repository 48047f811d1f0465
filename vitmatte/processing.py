"""From pictures and trimaps to what the net takes: `VitMatteImageProcessor` as documented, and `Preprocessing`,
the part of it that inference on tensors needs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import PREPROCESSOR_NAME, read_json
from .files import whole_file
from .size import SizeContract, Span

# hustvl trained and published its nets with ImageNet's statistics (configs/common/model.py there); the hub's
# preprocessor_config.json says 0.5, so that every user of it feeds the nets another input than they know.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HUB_MEAN, HUB_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
DIVISOR = 32


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
        return cls(_triple(processor.image_mean), _triple(processor.image_std), processor.size_divisibility, None)


class ProcessedImages(dict[str, Any]):
    """The processor's result: a dict that also reads by attribute and moves between devices."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, *args: Any, **kwargs: Any) -> ProcessedImages:
        """`Tensor.to` on every tensor."""
        return ProcessedImages(
            {name: value.to(*args, **kwargs) if isinstance(value, Tensor) else value for name, value in self.items()}
        )


class VitMatteImageProcessor:
    """Rescales, normalises, joins and pads pictures and trimaps, with the arguments Hugging Face documents.

    Args:
        do_rescale: multiply pictures and trimaps by `rescale_factor`; False for values in 0..1.
        rescale_factor: 1/255 for values in 0..255.
        do_normalize: subtract `image_mean` and divide by `image_std` (pictures only).
        image_mean, image_std: one number, or one per channel. The default 0.5 is the hub's;
            the published nets were trained with `IMAGENET_MEAN` and `IMAGENET_STD`.
        do_pad: zeros at the bottom and the right up to a multiple of `size_divisibility` pixels.
        size_divisibility: see do_pad.
        size_divisor: newer name of the same.
        extra: other keys of a preprocessor_config.json, kept and written back.
    """

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        do_pad: bool = True,
        size_divisibility: int | None = None,
        *,
        size_divisor: int | None = None,
        **extra: Any,
    ) -> None:
        self.do_rescale, self.rescale_factor = do_rescale, rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(HUB_MEAN) if image_mean is None else image_mean
        self.image_std = list(HUB_STD) if image_std is None else image_std
        self.do_pad = do_pad
        self.size_divisibility = _first(size_divisibility, size_divisor, DIVISOR)
        self.extra = extra

    def __call__(self, images: Any, trimaps: Any, *args: Any, **kwargs: Any) -> ProcessedImages:
        """See `preprocess`."""
        return self.preprocess(images, trimaps, *args, **kwargs)

    def preprocess(
        self,
        images: Any,
        trimaps: Any,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        do_pad: bool | None = None,
        size_divisibility: int | None = None,
        return_tensors: str | None = None,
        data_format: str = "channels_first",
        input_data_format: str | None = None,
        *,
        size_divisor: int | None = None,
    ) -> ProcessedImages:
        """Pictures and trimaps to the net's `pixel_values`.

        Args:
            images: a PIL picture, an array or tensor [H, W, 3], [3, H, W] (a fourth channel is ignored) or a batch
                of those, or a list of such.
            trimaps: the same for trimaps [H, W], [1, H, W] or [H, W, 1], one for each picture.
            do_rescale, rescale_factor, do_normalize, image_mean, image_std, do_pad, size_divisibility, size_divisor:
                for this call instead of the processor's.
            return_tensors: "pt" or "np" for one [B, 4, H, W]; None for a list of arrays.
            data_format: order of the result, "channels_first" or "channels_last".
            input_data_format: order of the arrays given; told from their shapes by default.

        Returns:
            A dict with `pixel_values`, float32.

        Raises:
            ValueError: for other shapes, unequal numbers or sizes of pictures and trimaps, or, with return_tensors,
                pictures of several sizes.
        """
        for name, value in (("data_format", data_format), ("input_data_format", input_data_format)):
            if value not in ("channels_first", "channels_last") and (name, value) != ("input_data_format", None):
                raise ValueError(f"{name} is {value!r}; expected 'channels_first' or 'channels_last'")
        if return_tensors not in (None, "pt", "np"):
            raise ValueError(f"return_tensors is {return_tensors!r}; expected 'pt', 'np' or None")
        pictures = [_picture(image, input_data_format) for image in _as_list(images, 3, "images")]
        maps = [_trimap(trimap) for trimap in _as_list(trimaps, 2, "trimaps", len(pictures))]
        if len(pictures) != len(maps):
            raise ValueError(f"{len(pictures)} images and {len(maps)} trimaps; expected one trimap for each image")
        factor = _first(rescale_factor, self.rescale_factor) if _first(do_rescale, self.do_rescale) else 1.0
        mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
        if _first(do_normalize, self.do_normalize):
            mean = np.array(_triple(_first(image_mean, self.image_mean)), np.float32)
            std = np.array(_triple(_first(image_std, self.image_std)), np.float32)
        divisor = _first(size_divisibility, size_divisor, self.size_divisibility)
        contract = SizeContract(divisor if _first(do_pad, self.do_pad) else 1)
        results = []
        for picture, trimap in zip(pictures, maps, strict=True):
            if picture.shape[:2] != trimap.shape:
                raise ValueError(f"image of {_size(picture)} and trimap of {_size(trimap)} (height x width); "
                                 "expected equal sizes")
            joined = np.dstack([(picture * np.float32(factor) - mean) / std, trimap * np.float32(factor)])
            height, width = trimap.shape
            filled = ((0, contract.padded(height) - height), (0, contract.padded(width) - width), (0, 0))
            joined = np.pad(joined.astype(np.float32), filled)
            if data_format == "channels_first":
                joined = np.ascontiguousarray(joined.transpose(2, 0, 1))
            results.append(joined)
        return ProcessedImages(pixel_values=_stack(results, return_tensors))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VitMatteImageProcessor:
        """From the content of a preprocessor_config.json."""
        return cls(**{k: v for k, v in values.items() if k != "image_processor_type"})

    def to_dict(self) -> dict[str, Any]:
        """As written to preprocessor_config.json."""
        names = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_pad",
                 "size_divisibility")
        own = {name: getattr(self, name) for name in names}
        return {**self.extra, **own, "image_processor_type": type(self).__name__}

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **hub: Any) -> VitMatteImageProcessor:
        """Reads preprocessor_config.json from a folder, or from a repository of the hub (see the model's)."""
        from .hub import fetch_repository

        folder = Path(name_or_path)
        if not folder.exists():
            folder = fetch_repository(str(name_or_path), weights=False, **hub)
        path = folder / PREPROCESSOR_NAME if folder.is_dir() else folder
        return cls.from_dict(read_json(path))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes preprocessor_config.json."""
        import json

        with whole_file(Path(folder) / PREPROCESSOR_NAME) as path:
            path.write_text(json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _triple(value: float | Sequence[float]) -> tuple[float, ...]:
    numbers = (float(value),) * 3 if isinstance(value, (int, float)) else tuple(float(v) for v in value)
    if len(numbers) != 3:
        raise ValueError(f"{list(numbers)} has {len(numbers)} numbers; expected one, or one for each of 3 channels")
    return numbers


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _as_list(value: Any, ndim: int, name: str, count: int | None = None) -> list[Any]:
    """Single things in a list, batches cut up; `ndim` is that of one picture, `count` what a batch should have."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, (np.ndarray, Tensor)):
        return [value]
    if value.ndim == ndim + 1 and (ndim == 3 or value.shape[0] == count or 1 not in (value.shape[0], value.shape[-1])):
        return list(value)
    if value.ndim == ndim + 2 and ndim == 2:
        return list(value)
    if value.ndim in (ndim, ndim + 1):
        return [value]
    raise ValueError(f"{name} has shape {list(value.shape)}; expected one of {ndim} dimensions or a batch of such")


def _picture(value: Any, order: str | None) -> np.ndarray:
    """Any picture as [H, W, 3] float32, values unchanged."""
    if hasattr(value, "convert"):
        return np.asarray(value.convert("RGB"), np.float32)
    array = _array(value)
    if order is None and array.ndim == 3:
        order = "channels_first" if array.shape[0] in (3, 4) and array.shape[-1] not in (3, 4) else "channels_last"
        if array.shape[0] == 3 and array.shape[-1] == 4:
            order = "channels_first"
    if array.ndim == 3 and order == "channels_first":
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] not in (3, 4):
        raise ValueError(f"image has shape {list(_array(value).shape)}; expected [height, width, 3 or 4] or "
                         "[3 or 4, height, width]")
    return array[..., :3].astype(np.float32)


def _trimap(value: Any) -> np.ndarray:
    """Any trimap as [H, W] float32, values unchanged."""
    if hasattr(value, "convert"):
        return np.asarray(value.convert("L"), np.float32)
    array = _array(value)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise ValueError(f"trimap has shape {list(_array(value).shape)}; expected [height, width]")
    return array.astype(np.float32)


def _stack(arrays: list[np.ndarray], kind: str | None) -> Any:
    if kind is None:
        return arrays
    sizes = {array.shape for array in arrays}
    if len(sizes) != 1:
        raise ValueError(f"images of several sizes after padding ({sorted(sizes)}) do not make one batch; "
                         "give one size at a time, or leave out return_tensors")
    stacked = np.stack(arrays)
    return torch.from_numpy(stacked) if kind == "pt" else stacked
