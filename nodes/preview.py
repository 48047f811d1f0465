"""What previews show."""

from __future__ import annotations

import torch

MOST = 16  # frames; each is written as a PNG, which takes longer than looking at it


def first_frames(batch: torch.Tensor) -> torch.Tensor:
    """The first frames of a mask [B, H, W] or [H, W], or of pictures [B, H, W, C], for a preview."""
    return batch if batch.ndim == 2 else batch[:MOST]
