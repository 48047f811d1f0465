"""Blur by a lens out of focus and by motion, as small kernels."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.random import Generator
from torch.nn import functional as F


def blurred(layer: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """[H, W, C] filtered with [k, k] (k odd); the border is continued."""
    from kornia.filters import filter2d

    x = torch.from_numpy(np.ascontiguousarray(layer)).permute(2, 0, 1).unsqueeze(0)
    return filter2d(x, torch.from_numpy(kernel)[None], border_type="replicate")[0].permute(1, 2, 0).numpy()


def disc(radius: float) -> np.ndarray:
    """The circle of confusion of a point: a disc with a soft rim, sum 1; radius in pixels."""
    reach = max(1, math.ceil(radius))
    place = np.arange(-reach, reach + 1, dtype=np.float32)
    kernel = np.clip(radius + 0.5 - np.hypot(place[:, None], place[None, :]), 0, 1).astype(np.float32)
    return kernel / kernel.sum()


def streak(length: float, angle: float) -> np.ndarray:
    """Motion along a straight line: length in pixels, angle in radians; sum 1."""
    reach = max(1, math.ceil(length / 2))
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3), np.float32)
    for t in np.linspace(-length / 2, length / 2, 4 * reach + 1):
        x, y = t * math.cos(angle) + reach + 1, t * math.sin(angle) + reach + 1
        left, top = int(x), int(y)
        right, below = x - left, y - top
        kernel[top:top + 2, left:left + 2] += np.outer((1 - below, below), (1 - right, right))
    return kernel / kernel.sum()


def smooth_noise(size: int, cells: float, rng: Generator, channels: int = 1) -> np.ndarray:
    """[size, size, channels] of smooth random numbers of mean 0 and deviation about 1, `cells` bumps across."""
    grid = max(2, round(cells) + 1)
    coarse = torch.from_numpy(rng.standard_normal((1, channels, grid, grid)).astype(np.float32))
    smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
    return 1.4 * smooth[0].permute(1, 2, 0).numpy()


def cloud(size: int, cells: float, rng: Generator, octaves: int = 4) -> np.ndarray:
    """[size, size] of fractal noise of mean 0 and deviation about 1 (Perlin, SIGGRAPH 1985)."""
    total, weight, power = np.zeros((size, size), np.float32), 1.0, 0.0
    for _ in range(octaves):
        if cells > size / 2:
            break
        total += weight * smooth_noise(size, cells, rng)[..., 0]
        power += weight**2
        cells, weight = cells * 2, weight * 0.55
    return total / max(power, 1e-6) ** 0.5
