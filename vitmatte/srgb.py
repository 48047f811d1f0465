"""The transfer of sRGB (IEC 61966-2-1): between code values, as pictures store them, and light."""

from __future__ import annotations

import torch
from torch import Tensor


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB code values to light, 0..1 to 0..1; values above 1 go on along the curve, those below 0 along its line."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055).clamp_min(0) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """Light to sRGB code values, the inverse of `to_linear`."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0) ** (1 / 2.4) - 0.055)
