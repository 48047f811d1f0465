"""A cut-out over something new: I = alpha * F + (1 - alpha) * B."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from torch.nn import functional as F


def composite(foreground: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """foreground [B, H, W, 3] over background [B, H, W, 3] (or one that broadcasts) by alpha [B, H, W]."""
    alpha = alpha.unsqueeze(-1)
    return alpha * foreground + (1 - alpha) * background


def cover(background: Tensor, height: int, width: int) -> Tensor:
    """background [B, h, w, 3] scaled to just cover height x width, its middle kept."""
    scale = max(height / background.shape[1], width / background.shape[2])
    size = [max(height, round(background.shape[1] * scale)), max(width, round(background.shape[2] * scale))]
    channels = background.permute(0, 3, 1, 2)
    scaled = F.interpolate(channels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return scaled[..., top:top + height, left:left + width].permute(0, 2, 3, 1)


def colour(text: str) -> Tensor:
    """[3] in 0..1 from "#RRGGBB". Raises ValueError for anything else."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"colour is {text!r}; expected #RRGGBB, such as #00b140")
    return torch.tensor([int(text[i:i + 2], 16) / 255 for i in (1, 3, 5)])
