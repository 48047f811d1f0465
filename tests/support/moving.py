"""Subjects that move: a textured disc over a textured background, both with known places."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def disc(height: int, width: int, x: float, y: float, radius: float) -> Tensor:
    """[H, W]: a disc with an edge of one pixel."""
    rows, columns = torch.arange(height)[:, None].float(), torch.arange(width).float()
    return (radius + 0.5 - torch.hypot(rows - y, columns - x)).clamp(0, 1)


def texture(height: int, width: int, seed: int, cell: float = 6.0) -> Tensor:
    """[H, W, 3] in 0..1: smooth bumps about `cell` pixels wide, and twice as wide, and finer ones."""
    made = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, height, width)
    for share, size in ((0.5, 2 * cell), (0.35, cell), (0.15, cell / 2)):
        coarse = torch.rand(1, 3, int(height / size) + 2, int(width / size) + 2, generator=made)
        total += share * F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return total[0].permute(1, 2, 0).clamp(0, 1)


def shifted(layer: Tensor, x: float, y: float = 0.0) -> Tensor:
    """[H, W, C] moved to the right and down; its border goes on."""
    height, width = layer.shape[:2]
    rows, columns = torch.arange(height) - y, torch.arange(width) - x
    across, down = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    grid = torch.stack(torch.broadcast_tensors(across, down[:, None]), -1)
    moved = F.grid_sample(layer.permute(2, 0, 1)[None], grid[None].float(), mode="bicubic", padding_mode="border",
                          align_corners=False)
    return moved[0].permute(1, 2, 0).clamp(0, 1)


def picture(alpha: Tensor, x: float, y: float = 0.0, behind: float = 0.0) -> Tensor:
    """[H, W, 3]: a subject with this matte whose texture has moved by (x, y), over a background moved by `behind`."""
    height, width = alpha.shape
    front, back = texture(height, width, 1), texture(height, width, 2)
    share = alpha[..., None]
    return share * shifted(front, x, y) + (1 - share) * shifted(back, behind)
