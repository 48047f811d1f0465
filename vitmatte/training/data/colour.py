"""Colours, noise and compression of layers and pictures, [H, W, 3] in 0..1."""

from __future__ import annotations

import io

import numpy as np
from numpy.random import Generator
from PIL import Image

from .blur import smooth_noise

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def jittered(colours: np.ndarray, alpha: np.ndarray | float, rng: Generator, strength: float = 1.0) -> np.ndarray:
    """Other exposure, contrast, tint and saturation.

    Args:
        colours: times alpha where alpha is given; the changes are linear, so that they hold for such colours too.
        alpha: [H, W, 1], or 1.
    """
    saturation = float(np.exp(rng.normal(0, 0.35 * strength)))
    gain = np.exp(rng.normal(0, 0.22 * strength) + rng.normal(0, 0.08 * strength, 3)).astype(np.float32)
    grey = (colours @ LUMA)[..., None]
    changed = (grey + (colours - grey) * min(saturation, 2.0)) * gain
    lift = (rng.normal(0, 0.08 * strength) + rng.normal(0, 0.03 * strength, 3)).astype(np.float32)
    return np.clip(changed + lift * alpha, 0, alpha).astype(np.float32)


def grainy(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """With noise, of single pixels or coarser, grey or coloured, up to 0.04 strong."""
    size = picture.shape[0]
    strength = 0.04 * float(rng.random()) ** 2
    channels = 1 if rng.random() < 0.4 else 3
    if rng.random() < 0.6:
        noise = rng.standard_normal((size, size, channels), dtype=np.float32)
    else:
        noise = smooth_noise(size, size / float(rng.uniform(1.3, 3)), rng, channels)
    return np.clip(picture + strength * noise, 0, 1).astype(np.float32)


def compressed(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """Through JPEG at a random quality, at a random place of its 8x8 grid."""
    top, left = (int(n) for n in rng.integers(0, 8, 2))
    padded = np.pad(to_bytes(picture), ((top, 0), (left, 0), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    Image.fromarray(padded).save(buffer, "JPEG", quality=int(rng.integers(40, 97)),
                                 subsampling=int(rng.choice((0, 2))))
    return np.asarray(Image.open(buffer), np.float32)[top:, left:] / 255


def to_bytes(plane: np.ndarray) -> np.ndarray:
    """0..1 to 8 bits, rounded."""
    return (np.clip(plane, 0, 1) * 255 + 0.5).astype(np.uint8)
