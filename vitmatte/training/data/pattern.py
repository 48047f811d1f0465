"""Colours in parts: stripes, checks, patches and spots, plain or each with a photograph's piece."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from .blur import blurred, disc, smooth_noise
from .colour import LUMA


def patterned(size: int, rng: Generator, piece: Callable[[], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A multicoloured surface.

    Args:
        size: side in pixels.
        rng: all chance comes from it.
        piece: gives a photograph's piece [S, S, 3].

    Returns:
        Colours [S, S, 3] in 0..1, and the number of each pixel's part [S, S], from 0.
    """
    count = int(rng.integers(2, 6))
    labels = KINDS[int(rng.integers(len(KINDS)))](size, count, rng)
    texture = piece()
    detail = (texture @ LUMA)[..., None]
    detail = (detail - detail.mean()) * rng.uniform(0, 0.8)
    colours = np.zeros((size, size, 3), np.float32)
    for label in range(count):
        source = rng.random()
        fill = plain(rng) + detail if source < 0.75 else piece() if source < 0.87 else texture
        colours = np.where((labels == label)[..., None], fill, colours)
    light = np.exp(rng.uniform(0, 0.3) * smooth_noise(size, float(rng.uniform(1.5, 6)), rng))
    colours = np.clip(blurred(colours.astype(np.float32), disc(0.7)) * light, 0, 1)
    return colours.astype(np.float32), labels


def plain(rng: Generator) -> np.ndarray:
    """One colour [3] of any hue; a third is near grey, down to black and up to white."""
    value = float(np.clip(rng.uniform(-0.1, 1.1), 0, 1))
    saturation = float(rng.uniform(0, 0.15) if rng.random() < 0.33 else rng.uniform(0.2, 1))
    hue = 2 * math.pi * float(rng.random())
    wheel = 0.5 + 0.5 * np.cos(hue - np.array([0, 2, 4]) * math.pi / 3)
    return (value * (1 - saturation + saturation * wheel)).astype(np.float32)


def _bent(size: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turned coordinates [S, S] in pixels, bent smoothly."""
    turn = rng.uniform(0, math.pi)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    bend = smooth_noise(size, float(rng.uniform(1.5, 5)), rng, 2) * size * rng.uniform(0, 0.06)
    return (x * math.cos(turn) + y * math.sin(turn) + bend[..., 0],
            y * math.cos(turn) - x * math.sin(turn) + bend[..., 1])


def _stripes(size: int, count: int, rng: Generator) -> np.ndarray:
    """Bands of random widths that repeat."""
    u, _ = _bent(size, rng)
    period = count * float(np.exp(rng.uniform(math.log(4), math.log(size / 3))))
    bounds = np.cumsum(rng.uniform(0.3, 1, count))
    return np.searchsorted(bounds / bounds[-1], (u / period) % 1, side="right").clip(0, count - 1)


def _checks(size: int, count: int, rng: Generator) -> np.ndarray:
    """Squares, or stripes over stripes."""
    u, v = _bent(size, rng)
    cell = float(np.exp(rng.uniform(math.log(6), math.log(size / 3))))
    i, j = np.floor(u / cell).astype(int), np.floor(v / cell * rng.uniform(0.5, 2)).astype(int)
    return (i + j) % count if rng.random() < 0.5 else (i * 7 + j * 13 + i * j) % count


def _patches(size: int, count: int, rng: Generator) -> np.ndarray:
    """Regions of a smooth outline."""
    cells = float(rng.uniform(1.5, 6))
    return smooth_noise(size, cells, rng, count).argmax(axis=-1)


def _spots(size: int, count: int, rng: Generator) -> np.ndarray:
    """Discs on a ground."""
    u, v = _bent(size, rng)
    cell = float(np.exp(rng.uniform(math.log(8), math.log(size / 3))))
    away = np.hypot(u / cell % 1 - 0.5, v / cell % 1 - 0.5)
    number = (np.floor(u / cell) * 5 + np.floor(v / cell) * 3).astype(int) % max(1, count - 1)
    return np.where(away < rng.uniform(0.2, 0.5), 1 + number, 0)


KINDS = (_stripes, _stripes, _checks, _patches, _patches, _spots)
