"""Procedural glass, veils, nets and smoke: alpha only. Colours come from elsewhere."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from .blur import cloud, smooth_noise


def sheer(size: int, rng: Generator) -> np.ndarray:
    """[size, size], mostly between 0 and 1."""
    return KINDS[int(rng.integers(len(KINDS)))](size, rng).clip(0, 1).astype(np.float32)


def shape(size: int, rng: Generator) -> np.ndarray:
    """A blob's inside, as pixels from its border: positive inside."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - rng.uniform(0.2, 0.8, (2, 1, 1)).astype(np.float32)
    turn = rng.uniform(0, math.pi)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    radii = rng.uniform(0.2, 0.6, 2)
    power = float(rng.choice((2, 2, 3, 6)))
    radius = ((np.abs(u) / radii[0]) ** power + (np.abs(v) / radii[1]) ** power + 1e-9) ** (1 / power)
    wobble = 0.12 * smooth_noise(size, rng.uniform(2, 5), rng)[..., 0] * rng.random()
    return (1 - radius + wobble) * min(radii) * size


def _glass(size: int, rng: Generator) -> np.ndarray:
    """Thin in the middle, denser towards the rim, with bright reflections."""
    depth = shape(size, rng)
    inside = np.clip(depth + 0.5, 0, 1)
    rim = np.exp(-np.maximum(depth, 0) / (size * rng.uniform(0.01, 0.08)))
    alpha = rng.uniform(0.02, 0.35) + rng.uniform(0.2, 0.9) * rim
    glints = np.clip((cloud(size, rng.uniform(2, 6), rng, 2) - rng.uniform(1.0, 1.8)) * rng.uniform(1, 6), 0, 1)
    return inside * np.maximum(alpha, glints)


def _veil(size: int, rng: Generator) -> np.ndarray:
    """Cloth: denser in its folds and at the hem."""
    depth = shape(size, rng)
    inside = np.clip(depth / rng.uniform(0.7, 3) + 0.5, 0, 1)
    turn, count = rng.uniform(0, math.pi), rng.uniform(2, 10)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    bent = x * math.cos(turn) + y * math.sin(turn) + 0.08 * smooth_noise(size, 3, rng)[..., 0]
    folds = 0.5 + 0.5 * np.sin(2 * math.pi * count * bent + smooth_noise(size, 3, rng)[..., 0])
    alpha = rng.uniform(0.08, 0.5) + rng.uniform(0.1, 0.6) * folds ** rng.uniform(1, 4)
    hem = np.exp(-np.maximum(depth, 0) / rng.uniform(1, 6)) * rng.uniform(0, 0.5)
    return inside * np.clip(alpha + hem, 0, 1)


def _net(size: int, rng: Generator) -> np.ndarray:
    """Two families of threads over a shape: nets, lace, fences, sieves."""
    turn, pitch = rng.uniform(0, math.pi), rng.uniform(5, 24)
    warp = pitch * 0.5 * rng.random() * smooth_noise(size, 3, rng, 2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    half = pitch * rng.uniform(0.06, 0.25)
    threads = np.zeros((size, size), np.float32)
    for i, angle in enumerate((turn, turn + rng.uniform(1.0, 2.1))):
        place = x * math.cos(angle) + y * math.sin(angle) + warp[..., i]
        threads = np.maximum(threads, np.clip(half + 0.5 - np.abs((place + pitch / 2) % pitch - pitch / 2), 0, 1))
    inside = np.clip(shape(size, rng) + 0.5, 0, 1) if rng.random() < 0.6 else 1.0
    return inside * np.maximum(threads * rng.uniform(0.5, 1.0), rng.uniform(0, 0.3) * (rng.random() < 0.5))


def _smoke(size: int, rng: Generator) -> np.ndarray:
    """Fractal density, thinning out to nothing."""
    density = cloud(size, rng.uniform(1.5, 4), rng, 5) + rng.uniform(-0.8, 0.5)
    thick = 1 - np.exp(-np.maximum(density, 0) * rng.uniform(0.4, 2.5))
    return thick * np.clip(shape(size, rng) / (size * 0.15) + 0.5, 0, 1)


KINDS = (_glass, _veil, _net, _smoke)
