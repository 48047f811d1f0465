"""What previews show."""

from __future__ import annotations

import torch
from PIL import Image

MOST = 16  # frames; each is written as a PNG, which takes longer than looking at it
SIDE = 512  # pixels, of previews of a frame while the others are computed


def first_frames(batch: torch.Tensor) -> torch.Tensor:
    """The first frames of a mask [B, H, W] or [H, W], or of pictures [B, H, W, C], for a preview."""
    return batch if batch.ndim == 2 else batch[:MOST]


def thumbnail(alpha: torch.Tensor) -> tuple[str, Image.Image, int]:
    """A matte [H, W] as ComfyUI shows what is still being computed: (file format, picture, largest side)."""
    step = max(1, max(alpha.shape) // SIDE)
    levels = (alpha[::step, ::step].float() * 255).round().to("cpu", torch.uint8)
    return "JPEG", Image.fromarray(levels.numpy()), SIDE
