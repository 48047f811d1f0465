"""What is checked of arguments in many places: every refusal names the argument, what was expected, and the remedy.

One rule holds for the values of pictures, masks, trimaps and mattes. They are floating point around 0..1. Rounding and
resampling overshoot that, so values less than `OVERSHOOT` outside are right: of masks, trimaps and mattes they count as
0 and 1, pictures and colours are taken as they are. What is further outside is on another scale, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Real
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

LOAD_IMAGE_SIZE = (64, 64)  # (height, width)
LOAD_IMAGE_HINT = ("64x64 of one value is what ComfyUI's Load Image gives as the mask of a picture without "
                   "transparency: paint a mask (Open in Mask Editor), or connect one of another node")
SAME_SHAPE = 0.02  # by how much proportions may differ that come from rounding to whole pixels
NO_WEIGHTS = ("the net's weights are on the device meta, where they have no values: load the net with load_model or "
              "from_pretrained. Where accelerate has put them away (cpu_offload, disk_offload, a device_map), load it "
              "without that, or call accelerate.hooks.remove_hook_from_module(net, recurse=True): the net is small and "
              "stays on one device whole")

# Of values in 0..1 a filter whose weights add up to P above 0 and to -N below (P - N = 1) makes at most 2 P N less than
# 0 or more than 1, on two axes: 0.72 with Lanczos's of three lobes, 0.45 with torch's bicubic one. Below 1, so that
# whole numbers (labels 0, 1, 2, signs -1 and 1) are never taken for overshoot.
OVERSHOOT = 1.0

# Values this near 0 and 1 count as 0 and 1: one 8-bit step, and a rounding of it in half precision. It is needed:
# ComfyUI 0.33 loads the white of an 8-bit grey PNG as 65280/65535 = 0.9961.
TOLERANCE = 1 / 255 + 1e-4


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises ValueError unless an argument is one of those known; the message names it and them."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} is {value!r:.200}; expected one of {', '.join(known)}")


def check_number(name: str, value: object, what: str = "a number of pixels, 0 or more") -> float:
    """The number as a float; ValueError unless it is finite and 0 or more. NumPy's numbers are numbers too."""
    number = math.nan
    if isinstance(value, Real):
        with suppress(OverflowError):  # of whole numbers beyond what floating point holds
            number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} is {value!r:.60}; expected {what}")
    return number


def as_device(device: torch.device | str | None) -> torch.device | None:
    """The device of that name; ValueError unless torch knows such."""
    try:
        return None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is {device!r}: {str(error).splitlines()[0]}") from error


def check_can_compute(device: torch.device | str) -> None:
    """Raises ValueError unless torch can compute on the device here."""
    try:
        float(torch.zeros(1, device=device))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}; expected a device of "
                         "this machine, such as 'cpu'") from error


def check_tensor(value: object, name: str) -> None:
    """Raises TypeError unless `value` is a dense tensor, and ValueError for one without values (device "meta")."""
    if not isinstance(value, Tensor):
        remedy = ": torch.from_numpy makes one" if hasattr(value, "__array__") else ""
        raise TypeError(f"{name} is a {type(value).__module__}.{type(value).__qualname__}; expected a torch.Tensor"
                        f"{remedy}")
    if value.is_nested or value.layout is not torch.strided or value.is_quantized:
        kind = "nested" if value.is_nested else "quantized" if value.is_quantized else value.layout
        raise TypeError(f"{name} is a {kind} tensor; expected a plain dense one")
    if value.device.type == "meta":
        raise ValueError(f"{name} is on the device meta, where tensors have no values; expected the CPU or a GPU")


def check_range(low: float, high: float, name: str, remedy: str) -> bool:
    """Whether values from low to high overshoot 0..1; ValueError where they are not finite or overshoot too much."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    if not -OVERSHOOT < low <= high < 1 + OVERSHOOT:
        raise ValueError(f"{name} has values from {low:g} to {high:g}; expected 0..1: {remedy}")
    return low < 0 or high > 1


def _overshoots(value: Tensor, name: str, remedy: str) -> bool:
    low, high = (float(v) for v in torch.aminmax(value.detach().float()))
    return check_range(low, high, name, remedy)


def _check_type(value: Tensor, name: str) -> None:
    if value.dtype in FLOATS:
        return
    if value.dtype == torch.bool or value.is_floating_point():
        remedy = "of 16 to 64 bits: convert it with .float()"
    elif value.is_complex():
        remedy = "in 0..1"
    else:
        remedy = "in 0..1: divide by 255" + ("" if value.dtype == torch.uint8 else ", or what stands for white")
    raise ValueError(f"{name} is {value.dtype}; expected floating point {remedy}")


def check_plane(plane: Tensor, name: str) -> Tensor:
    """The plane with overshoot clamped to 0..1; TypeError or ValueError unless it is a tensor [B, H, W] or [H, W] with
    at least one pixel, floating point around 0..1 or bool."""
    check_tensor(plane, name)
    if plane.ndim not in (2, 3):
        raise ValueError(f"{name} has shape {list(plane.shape)}; expected [batch, height, width] or [height, width]")
    if plane.numel() == 0:
        raise ValueError(f"{name} has shape {list(plane.shape)}: it is empty")
    if plane.dtype != torch.bool:
        _check_type(plane, name)
        if _overshoots(plane, name, "scale it first"):
            return plane.detach().clamp(0.0, 1.0)
    return plane


def check_image(image: Tensor, name: str = "image", *, channels: int = 3, high_range: bool = False) -> None:
    """Raises TypeError or ValueError unless `image` is a tensor [B, H, W, 3 or 4] with at least one pixel, floating
    point, and its first `channels` around 0..1, or of a high range finite."""
    check_tensor(image, name)
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ValueError(f"{name} has shape {list(image.shape)}; expected [batch, height, width, 3 or 4]")
    if image.numel() == 0:
        raise ValueError(f"{name} has shape {list(image.shape)}: it is empty")
    _check_type(image, name)
    if high_range:
        if not bool(image[..., :channels].isfinite().all()):
            raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
        return
    _overshoots(image[..., :channels], name, "divide 8-bit values by 255, tone-map high dynamic range first")


def unequal(name: str, size: tuple[int, ...], other_name: str, other: tuple[int, ...], *planes: Any) -> str:
    """The message for two things whose sizes (height, width) should be equal; see `size_remedy`."""
    return (f"{name} is {size[1]}x{size[0]} and {other_name} {other[1]}x{other[0]} (width x height); expected equal "
            f"sizes: {size_remedy(tuple(size), tuple(other), *planes)}")


def size_remedy(one: tuple[int, ...], other: tuple[int, ...], *planes: Any) -> str:
    """The likely cause and the remedy where two sizes (height, width) should be equal.

    Args:
        planes: the masks or trimaps among the two, tensors or arrays.
    """
    if any(map(is_load_image_mask, planes)):
        return LOAD_IMAGE_HINT
    if one == other[::-1]:
        return ("one lies on its side, probably since the photograph's EXIF orientation turns it and the mask was "
                "drawn on the pixels as they are stored: turn the mask by 90 degrees, or draw it on the upright "
                "photograph")
    if abs(one[0] * other[1] - one[1] * other[0]) > max(one[0] * other[1], one[1] * other[0]) * SAME_SHAPE:
        return "their proportions differ, too: are they of one picture? A part of it needs the same part of the mask"
    return "scale one to the other"


def is_load_image_mask(plane: Any) -> bool:
    """Whether a mask, or a trimap made of it, is what ComfyUI's Load Image gives for a picture without transparency:
    64x64 of one value."""
    return tuple(plane.shape[-2:]) == LOAD_IMAGE_SIZE and bool(plane.min() == plane.max())


def check_picture(image: Tensor, plane: Tensor, name: str, *, high_range: bool = False) -> Tensor:
    """The plane as [B, H, W], clamped to 0..1; TypeError or ValueError unless image [B, H, W, 3 or 4] and plane
    [B, H, W] or [H, W], both around 0..1 (the image finite, if of a high range), fit each other."""
    check_image(image, high_range=high_range)
    plane = check_plane(plane, name)
    plane = plane.unsqueeze(0) if plane.ndim == 2 else plane
    if image.shape[1:3] != plane.shape[1:]:
        raise ValueError(unequal("image", image.shape[1:3], name, plane.shape[1:], plane))
    if 1 not in (len(image), len(plane)) and len(image) != len(plane):
        raise ValueError(f"{len(image)} of image and {len(plane)} of {name}: expected as many, or one of either")
    return plane


def check_pixel_values(pixel_values: Tensor, channels: int, step: tuple[int, int]) -> None:
    """Raises ValueError unless `pixel_values` is [B, channels, H, W] with sides that are multiples of `step`."""
    if pixel_values.ndim != 4 or pixel_values.shape[1] != channels:
        raise ValueError(f"pixel_values is {list(pixel_values.shape)}; expected [batch, {channels}, height, width] "
                         "(RGB and trimap)")
    height, width = pixel_values.shape[-2:]
    if height % step[0] or width % step[1] or not height or not width:
        raise ValueError(f"pixel_values is {height}x{width}; expected multiples of {step[0]}x{step[1]}: "
                         "VitMatteImageProcessor pads to that")


def check_cast(tensors: Mapping[str, Tensor], dtype: torch.dtype, where: str, remedy: str) -> None:
    """Raises ValueError where a finite value would be infinite in a floating-point type; names up to five tensors."""
    most, beyond = torch.finfo(dtype).max, []
    for name, value in tensors.items():
        if value.is_floating_point() and not value.is_meta and value.numel() and torch.finfo(value.dtype).max > most:
            low, high = torch.aminmax(value.detach())
            if most < (size := max(float(high), -float(low))) < math.inf:
                beyond.append(f"{name} {size:g}")
    if beyond:
        kind = str(dtype).removeprefix("torch.")
        raise ValueError(f"{where}: {len(beyond)} tensors have values beyond {kind}, which ends at {most:g} "
                         f"({', '.join(beyond[:5])}); {remedy}")
