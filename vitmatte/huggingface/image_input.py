"""What callers give as pictures and trimaps (PIL, arrays, tensors; one or many; either order of channels) as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

ORDERS = ("channels_first", "channels_last")


def as_list(value: Any, ndim: int, name: str, count: int | None = None) -> list[Any]:
    """Single things in a list, batches cut up.

    Args:
        value: one picture or trimap, a batch of them in one array or tensor, or a list.
        ndim: dimensions of one: 3 for pictures, 2 for trimaps.
        name: for the message.
        count: how many there should be, where that is known; tells a batch of trimaps from one with a channel axis.

    Raises:
        ValueError: for an array of any other number of dimensions.
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, (np.ndarray, Tensor)):
        return [value]
    if value.ndim == ndim + 1 and (ndim == 3 or value.shape[0] == count or 1 not in (value.shape[0], value.shape[-1])):
        return list(value)
    if value.ndim == ndim + 2 and ndim == 2:
        return list(value)
    if value.ndim in (2, ndim, ndim + 1):
        return [value]
    raise ValueError(f"{name} has shape {list(value.shape)}; expected one of {ndim} dimensions or a batch of such")


def picture(value: Any, order: str | None = None, channels: int = 3, grey: bool = False) -> np.ndarray:
    """Any picture as float32 [H, W, channels], values unchanged.

    Args:
        value: a PIL picture, or an array or tensor [H, W, C] or [C, H, W].
        order: one of `ORDERS`; None tells it from the shape.
        channels: 3, or 4 to keep a fourth channel; otherwise it is left out.
        grey: whether arrays [H, W], [H, W, 1] and [1, H, W] are taken too, and made RGB.

    Raises:
        ValueError: for any other shape, and for PIL pictures of more than 8 bits.
    """
    if hasattr(value, "convert"):
        return np.asarray(_eight_bits(value, "image").convert("RGB" if channels == 3 else "RGBA"), np.float32)
    array = _array(value, "image")
    known = (3, 4, 1) if grey else (3, 4)
    if grey and array.ndim == 2:
        array, order = array[..., None], "channels_last"
    if order is None and array.ndim == 3:
        first, last = array.shape[0], array.shape[-1]
        order = ORDERS[0] if first in known and (last not in known or (first, last) == (3, 4)) else ORDERS[1]
    if array.ndim == 3 and order == "channels_first":
        array = array.transpose(1, 2, 0)
    if grey and array.ndim == 3 and array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    if array.ndim != 3 or not channels <= array.shape[-1] <= 4:
        told = "" if order is None else f" in the order {order}"
        expected = "3 or 4" if channels == 3 else "4"
        raise ValueError(f"image has shape {list(_array(value, 'image').shape)}{told}; expected [height, width, "
                         f"{expected}] or [{expected}, height, width]")
    return array[..., :channels].astype(np.float32)


def trimap(value: Any) -> np.ndarray:
    """Any trimap - PIL, or an array or tensor [H, W], [1, H, W] or [H, W, 1] - as float32 [H, W], values unchanged.

    Raises:
        ValueError: for any other shape, and for PIL pictures of more than 8 bits.
    """
    if hasattr(value, "convert"):
        return np.asarray(_eight_bits(value, "trimap").convert("L"), np.float32)
    array = _array(value, "trimap")
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim != 2:
        raise ValueError(f"trimap has shape {list(_array(value, 'trimap').shape)}; expected [height, width]")
    return array.astype(np.float32)


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} is a {type(value).__name__}; expected a PIL picture, an array or a tensor (open a "
                         "file with PIL.Image.open)")
    return array


def _eight_bits(value: Any, name: str) -> Any:
    if value.mode[0] in "IF":  # PIL would clip these to 255
        raise ValueError(f"{name} is a PIL picture of mode {value.mode}; expected 8 bits a channel: give its values as "
                         "an array, with the rescale_factor that brings them to 0..1")
    return value
