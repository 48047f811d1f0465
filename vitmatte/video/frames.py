"""The one check of a clip's frame and the planes that belong to it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..checks import check_image, check_plane, check_tensor, unequal


def check_frame(
    image: Tensor, planes: Mapping[str, Tensor], before: tuple[int, ...] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The picture [H, W, 3] and contiguous copies of the planes [H, W], as float32 on the picture's device.

    Args:
        image: [H, W, 3 or 4], floating point in 0..1; a fourth channel is left out.
        planes: by name, [H, W] in 0..1, of the picture's size.
        before: (H, W) of the clip's other frames.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, types, ranges or sizes.
    """
    check_tensor(image, "image")
    if image.ndim != 3:
        raise ValueError(f"image has shape {list(image.shape)}; expected one frame, [height, width, 3 or 4]: give the "
                         "frames of a batch one by one")
    check_image(image[None])
    size, found = tuple(image.shape[:2]), []
    if before is not None and before != size:
        raise ValueError(unequal("image", size, "the frame before it", before))
    for name, plane in planes.items():
        plane = check_plane(plane, name)
        if plane.ndim != 2:
            raise ValueError(f"{name} has shape {list(plane.shape)}; expected one frame, [height, width]")
        if tuple(plane.shape) != size:
            raise ValueError(unequal("image", size, name, tuple(plane.shape), plane))
        found.append(plane.to(image.device, torch.float32, copy=True, memory_format=torch.contiguous_format))
    return image[..., :3].float(), found


def planes_of(image: Tensor) -> Tensor:
    """[1, 3, H, W]: a copy of a picture [H, W, 3] as float32, so that the caller may go on with its own."""
    return image.permute(2, 0, 1).unsqueeze(0).float().clone(memory_format=torch.contiguous_format)
