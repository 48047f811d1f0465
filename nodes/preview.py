"""What previews show."""

from __future__ import annotations

import torch

MOST = 16  # frames; each is written as a PNG, which takes longer than looking at it


def first_frames(mask: torch.Tensor) -> torch.Tensor:
    """The first frames of a mask [B, H, W] or [H, W], for a preview."""
    return mask if mask.ndim == 2 else mask[:MOST]
