"""Where a picture comes to lie in a crop: scale, rotation, flip and shift, resampled from a picture's pyramid."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image

from .pictures import Picture

Affine = tuple[float, float, float, float, float, float]


def affine(centre: tuple[float, float], size: int, scale: float, angle: float, flip: bool) -> Affine:
    """Pillow's coefficients, crop to picture: the crop's middle is the picture's `centre`.

    Args:
        centre: (x, y), pixels of the picture.
        size: side of the crop.
        scale: pixels of the crop per pixel of the picture. angle: radians. flip: left to right.
    """
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    turn = ((-cos if flip else cos), -sin, (-sin if flip else sin), cos)
    half = size / 2
    return (turn[0], turn[1], centre[0] - half * (turn[0] + turn[1]),
            turn[2], turn[3], centre[1] - half * (turn[2] + turn[3]))


def resample(picture: Picture, coefficients: Affine, size: int) -> np.ndarray:
    """[size, size, channels], float32 in 0..1; 0 beyond the picture."""
    step = math.hypot(coefficients[0], coefficients[3])  # pixels of the picture per pixel of the crop
    level = min(max(0, round(math.log2(max(step, 1e-6)))), len(picture.levels) - 1)
    source = picture.levels[level]
    # Levels of odd sizes round up, so the true ratio is by sizes.
    across, down = source.width / picture.size[0], source.height / picture.size[1]
    a, b, c, d, e, f = coefficients
    data = (a * across, b * across, c * across, d * down, e * down, f * down)
    kind = Image.Resampling.BICUBIC if step < 0.7 else Image.Resampling.BILINEAR
    crop = source.transform((size, size), Image.Transform.AFFINE, data, kind)
    return np.asarray(crop, np.float32) / 255


def place_foreground(picture: Picture, size: int, rng: Generator, enlargement: float) -> np.ndarray:
    """[size, size, 4], colours times alpha, and alpha: a random edge of the cut-out somewhere near the middle.

    It is enlarged at most `enlargement` times.
    """
    edge = picture.edges[rng.integers(len(picture.edges))]
    # Small cut-outs are not enlarged much; anything may be shrunk to about the crop.
    long = max(picture.size)
    low = min(0.9, max(0.3, 0.8 * size / long))
    scale = float(np.exp(rng.uniform(math.log(low), math.log(enlargement))))
    angle = float(rng.uniform(-math.pi, math.pi) if rng.random() < 0.3 else rng.normal(0, 0.25))
    shift = rng.uniform(-0.3, 0.3, 2) * size / scale
    centre = (float(edge[0] + shift[0]), float(edge[1] + shift[1]))
    found = resample(picture, affine(centre, size, scale, angle, bool(rng.random() < 0.5)), size)
    found[..., :3] = np.minimum(found[..., :3], found[..., 3:])  # bicubic overshoots
    return found


def place_background(picture: Picture, size: int, rng: Generator) -> np.ndarray:
    """[size, size, 3]: a random piece of a photograph, no smaller than what covers the crop."""
    width, height = picture.size
    angle = float(rng.normal(0, 0.1)) if rng.random() < 0.5 else 0.0
    reach = size * (abs(math.cos(angle)) + abs(math.sin(angle)))
    low = (reach + 2) / min(width, height)
    scale = float(np.exp(rng.uniform(math.log(low), math.log(max(low * 1.01, 2.0)))))
    margin = reach / scale / 2
    centre = (float(rng.uniform(margin, max(margin, width - margin))),
              float(rng.uniform(margin, max(margin, height - margin))))
    return resample(picture, affine(centre, size, scale, angle, bool(rng.random() < 0.5)), size)
