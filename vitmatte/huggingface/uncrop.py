"""From the net's padded alphas back to mattes of the pictures' own sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ..padding import SizeContract


def original_mattes(outputs: Any, original_sizes: Any, contract: SizeContract) -> list[Any]:
    """See `VitMatteImageProcessor.post_process_image_matting`.

    Args:
        outputs: the net's output, or its alphas [B, 1, H, W] or [B, H, W].
        original_sizes: (height, width) for each picture or for all; None where nothing was padded.
        contract: how the pictures were padded.

    Returns:
        Views [H, W] of the alphas.

    Raises:
        ValueError: see there.
    """
    alphas = _alphas(outputs)
    padded = alphas.shape[-2], alphas.shape[-1]
    sizes = [padded] * len(alphas) if original_sizes is None else _sizes(original_sizes, len(alphas))
    for height, width in sizes:
        if (contract.padded(height), contract.padded(width)) != padded:
            raise ValueError(_misfit(height, width, padded, contract))
    return [contract.crop(alpha, height, width) for alpha, (height, width) in zip(alphas, sizes, strict=True)]


def _alphas(outputs: Any) -> Any:
    """[B, H, W], of an output object, a dict, or the alphas themselves."""
    alphas = outputs["alphas"] if isinstance(outputs, Mapping) and "alphas" in outputs else outputs
    alphas = getattr(alphas, "alphas", alphas)
    if not isinstance(alphas, (Tensor, np.ndarray)):
        raise ValueError(f"outputs is a {type(outputs).__name__} without alphas; expected what VitMatteForImageMatting "
                         "gives, or its alphas")
    if alphas.ndim == 4 and alphas.shape[1] == 1:
        return alphas[:, 0]
    if alphas.ndim == 3:
        return alphas
    raise ValueError(f"alphas is {list(alphas.shape)}; expected [batch, 1, height, width] or [batch, height, width]")


def _sizes(given: Any, count: int) -> list[tuple[int, int]]:
    """One (height, width) for each of `count` pictures."""
    array = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if array.ndim == 1 and array.shape == (2,):
        array = np.broadcast_to(array, (count, 2))
    if array.ndim != 2 or array.shape[-1] != 2 or array.dtype.kind not in "iu" or (array < 1).any():
        raise ValueError(f"original_sizes is {given!r}; expected (height, width) in pixels for each picture, or one "
                         "such pair for all")
    if len(array) != count:
        raise ValueError(f"original_sizes has {len(array)} sizes for {count} mattes; expected one for each, or one "
                         "(height, width) for all")
    return [(int(height), int(width)) for height, width in array]


def _misfit(height: int, width: int, padded: tuple[int, int], contract: SizeContract) -> str:
    told = (f"original_sizes says {height}x{width}, which padded to multiples of {contract.divisor} is "
            f"{contract.padded(height)}x{contract.padded(width)}, and the alphas are {padded[0]}x{padded[1]} "
            "(height x width)")
    if (contract.padded(width), contract.padded(height)) == padded:
        return f"{told}: expected (height, width), and this is (width, height)"
    return (f"{told}; expected the size the picture had in preprocess, and its size_divisor here too if it was given "
            "one. To resize a matte, take its padding off first")
