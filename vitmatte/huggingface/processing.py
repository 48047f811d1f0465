"""Pictures and trimaps to what the net takes, and back to mattes of the pictures' size, as documented."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import unequal
from ..inference.preprocessing import DIVISOR
from ..padding import SizeContract
from ..plain import outside_inference_mode
from .image_input import ORDERS, as_list, picture, trimap
from .processed import ProcessedImages
from .processor_config import ProcessorConfig, first, numbers, one_divisor
from .uncrop import original_mattes

log = logging.getLogger(__name__)

SMALL_TRIMAP = 2  # values up to this, of a bool trimap, one in 0..1 or labels 0, 1, 2, stand for no 8-bit grey
LARGE_TRIMAP = 1.5  # of a trimap in 0..1; beyond the images' overshoot


class VitMatteImageProcessor(ProcessorConfig):
    """Rescales, normalises, joins and pads pictures and trimaps, with the arguments Hugging Face documents; they and
    reading and writing them are `ProcessorConfig`'s.
    """

    model_input_names = ("pixel_values",)

    def __call__(self, images: Any, trimaps: Any, *args: Any, **kwargs: Any) -> ProcessedImages:
        """See `preprocess`."""
        return self.preprocess(images, trimaps, *args, **kwargs)

    @outside_inference_mode
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
        do_convert_rgb: bool | None = None,
        device: torch.device | str | None = None,
        disable_grouping: bool | None = None,
    ) -> ProcessedImages:
        """Pictures and trimaps to the net's `pixel_values`.

        Args:
            images: a PIL picture, an array or tensor [H, W, 3], [3, H, W] (a fourth channel is left out, unless
                image_mean or image_std has four numbers) or a batch of those, or a list of such, of any sizes.
            trimaps: the same for trimaps [H, W], [1, H, W] or [H, W, 1], one for each picture.
            do_rescale, rescale_factor, do_normalize, image_mean, image_std, do_pad, size_divisibility, size_divisor:
                for this call instead of the processor's.
            return_tensors: "pt" or "np" for one [B, 4, H, W]; None for a list of arrays.
            data_format: order of the result, "channels_first" or "channels_last".
            input_data_format: order of the arrays given; told from their shapes by default.
            do_convert_rgb: True takes grey arrays too. PIL pictures of any mode become RGB anyway.
            device: where to put the result, with return_tensors="pt".
            disable_grouping: how transformers goes through a batch; makes no difference to the result, here or there.

        Returns:
            A dict with `pixel_values`, float32.

        Raises:
            ValueError: for other shapes, unequal numbers or sizes of pictures and trimaps, or, with return_tensors,
                pictures of several sizes.
        """
        for name, value in (("data_format", data_format), ("input_data_format", input_data_format)):
            if value not in ORDERS and (name, value) != ("input_data_format", None):
                raise ValueError(f"{name} is {value!r}; expected 'channels_first' or 'channels_last'")
        if device is not None and return_tensors != "pt":
            raise ValueError(f"device is {device!r} with return_tensors {return_tensors!r}; expected 'pt' with it")
        mean, std = first(image_mean, self.image_mean), first(image_std, self.image_std)
        channels = 4 if any(np.shape(value) == (4,) for value in (mean, std)) else 3
        pictures = [picture(image, input_data_format, channels, bool(do_convert_rgb))
                    for image in as_list(images, 3, "images")]
        maps = [trimap(each) for each in as_list(trimaps, 2, "trimaps", len(pictures))]
        if len(pictures) != len(maps):
            raise ValueError(f"{len(pictures)} images and {len(maps)} trimaps; expected one trimap for each image")
        factor = np.float32(first(rescale_factor, self.rescale_factor) if first(do_rescale, self.do_rescale) else 1)
        _warn_of_scales(pictures, maps, factor)
        shift, scale = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        if first(do_normalize, self.do_normalize):
            shift = np.array(numbers("image_mean", mean, channels), np.float32)
            scale = np.array(numbers("image_std", std, channels), np.float32)
        divisor = one_divisor(size_divisibility, size_divisor, self.size_divisor)
        results = []
        for image, guide in zip(pictures, maps, strict=True):
            if image.shape[:2] != guide.shape:
                raise ValueError(unequal("image", image.shape[:2], "trimap", guide.shape, guide))
            joined = np.dstack([(image * factor - shift) / scale, guide * factor]).transpose(2, 0, 1)
            if first(do_pad, self.do_pad):
                joined = self.pad_image(joined, divisor)
            if data_format == "channels_last":
                joined = joined.transpose(1, 2, 0)
            results.append(np.ascontiguousarray(joined, np.float32))
        processed = ProcessedImages(pixel_values=results).convert_to_tensors(return_tensors)
        return processed if device is None else processed.to(device)

    @outside_inference_mode
    def pad_image(self, image: Any, size_divisor: int = DIVISOR) -> Any:
        """An array or tensor [..., H, W] with zeros at the bottom and the right, up to multiples of size_divisor."""
        contract = SizeContract(one_divisor(None, size_divisor, DIVISOR))
        if isinstance(image, Tensor):
            return contract.pad(image)
        height, width = image.shape[-2:]
        after = contract.padded(height) - height, contract.padded(width) - width
        return np.pad(image, [(0, 0)] * (image.ndim - 2) + [(0, after[0]), (0, after[1])])

    def post_process_image_matting(
        self, outputs: Any, original_sizes: Any = None, *, size_divisor: int | None = None
    ) -> list[Any]:
        """Mattes of the pictures' own sizes: the padding of `preprocess` is taken off again.

        Args:
            outputs: what the net gave, or its alphas: a tensor [B, 1, H, W] or [B, H, W].
            original_sizes: (height, width) of each picture, or of all of them, as a list of pairs, one pair, or a
                tensor [B, 2]; a picture's own size (PIL's `picture.size` is the other way round: (width, height)).
                None where nothing was padded.
            size_divisor: for this call instead of the processor's, where `preprocess` was given one.

        Returns:
            One [H, W] for each picture, 0..1; views of the alphas.

        Raises:
            ValueError: no alphas, another number of sizes than of mattes, or a size that is not what was padded.
        """
        divisor = one_divisor(None, size_divisor, self.size_divisor) if self.do_pad or size_divisor else 1
        return original_mattes(outputs, original_sizes, SizeContract(divisor))


# Names that transformers gives the same processor, by what it computes with.
VitMatteImageProcessorPil = VitMatteImageProcessorFast = VitMatteImageProcessor


def _warn_of_scales(pictures: list[np.ndarray], trimaps: list[np.ndarray], factor: np.float32) -> None:
    """Warns of values that are not of the scale which the factor brings to 0..1. Trimaps are multiplied by it too."""
    small = any(0 < image.max() <= 1 for image in pictures if image.size)
    if factor < 0.01 and small:
        log.warning("the images' values are at most 1 and are multiplied by %g: give do_rescale=False for values in "
                    "0..1", factor)
    tops = [float(each.max()) for each in trimaps if each.size]
    if factor < 0.01 and any(0 < top <= SMALL_TRIMAP for top in tops):
        remedy = "give both in 0..255" if small else "multiply it by 255, or labels 0, 1, 2 by 127.5"
        log.warning("the trimap's values are at most %g and are multiplied by %g like the images', so that it is taken "
                    "for background all over: expected 0, 128 and 255 beside 8-bit images; %s, or give both in 0..1 "
                    "with do_rescale=False", max(top for top in tops if top <= SMALL_TRIMAP), factor, remedy)
    if any(top * factor > LARGE_TRIMAP for top in tops):
        log.warning("the trimap's values reach %g and are multiplied by %g: expected 0..1 then, as of the images; "
                    "divide the trimap by 255, or give both in 0..255 with do_rescale=True", max(tops), factor)
