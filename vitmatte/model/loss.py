"""The loss ViTMatte is trained with (Yao et al., arXiv 2305.15272, section 3.4), and its four parts.

Each part is a mean over the pixels it is about, so that its size depends neither on the crop nor on how much of it
is unknown. (The authors' code multiplies by 512 * 512 instead, which is the same for their crops of 512.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 5  # of the Laplacian pyramid; Hou and Liu, "Context-Aware Image Matting", ICCV 2019
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson, "The Laplacian Pyramid", 1983
SMOOTHNESS = 0.01  # share of the gradient part that asks for a flat matte, as in the authors' code


@dataclass(frozen=True)
class LossWeights:
    """What the parts count in the sum; the paper's are all 1.

    Args:
        unknown, known: absolute difference in the unknown area and outside it.
        laplacian: difference of the Laplacian pyramids, over everything.
        gradient: difference of the gradients in the unknown area.
    """

    unknown: float = 1.0
    known: float = 1.0
    laplacian: float = 1.0
    gradient: float = 1.0


def matting_loss(
    alphas: Tensor, labels: Tensor, unknown: Tensor, weights: LossWeights | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the parts, and each part by its name in `LossWeights`.

    Args:
        alphas, labels: [B, 1, H, W], found and true, in 0..1.
        unknown: [B, 1, H, W], bool: where the trimap leaves the matte open.
        weights: default the paper's.
    """
    weights = weights or LossWeights()
    alphas, labels = alphas.float(), labels.float()
    parts = {
        "unknown": masked_difference(alphas, labels, unknown),
        "known": masked_difference(alphas, labels, ~unknown),
        "laplacian": laplacian_difference(alphas, labels),
        "gradient": gradient_difference(alphas, labels, unknown),
    }
    return torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum(), parts


def masked_difference(alphas: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference where the mask is true; 0 where that is nowhere."""
    return ((alphas - labels).abs() * mask).sum() / mask.sum().clamp(min=1)


def gradient_difference(alphas: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference of the Sobel gradients where the mask is true, both directions summed, and
    `SMOOTHNESS` times the found matte's own gradients; outside the picture is 0."""
    found, true = _sobel(alphas), _sobel(labels)
    difference = (found - true).abs() + SMOOTHNESS * found.abs()
    return (difference * mask).sum() / mask.sum().clamp(min=1)


def _sobel(x: Tensor) -> Tensor:
    """[B, 1, H, W] to [B, 2, H, W]: along the row, along the column."""
    kernel = x.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return F.conv2d(x, torch.stack([kernel, kernel.t()]).unsqueeze(1), padding=1)


def laplacian_difference(alphas: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute difference of each level of the Laplacian pyramids, level i counted 2^i / 5.

    The pyramid is linear, so it is that of the difference. Levels that a small picture does not have (its sides
    must be at least 4 for one more) are left out.
    """
    level = alphas - labels
    total = level.new_zeros(())
    for i in range(LEVELS):
        if min(level.shape[-2:]) < 4:
            break
        level = level[..., : level.shape[-2] // 2 * 2, : level.shape[-1] // 2 * 2]
        smaller = _blur(level)[..., ::2, ::2]
        total = total + 2**i * (level - _enlarged(smaller)).abs().mean()
        level = smaller
    return total / LEVELS


def _blur(x: Tensor, gain: float = 1.0) -> Tensor:
    from kornia.filters import filter2d_separable

    row = x.new_tensor(BINOMIAL).unsqueeze(0) * gain
    return filter2d_separable(x, row, row, border_type="reflect")


def _enlarged(x: Tensor) -> Tensor:
    """Twice the size: zeros between the places, then smoothed, times 4 for the zeros."""
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, height, 2, width, 2)
    spread[:, :, :, 0, :, 0] = x
    return _blur(spread.view(batch, channels, 2 * height, 2 * width), gain=2.0)
