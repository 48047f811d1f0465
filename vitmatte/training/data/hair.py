"""Procedural hair, fur and grass: alpha only, drawn large and reduced. Colours are borrowed from a photograph."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

FINE = 3  # drawn at this many times the size
POINTS = 11  # of a strand's curve


def strands(size: int, rng: Generator) -> np.ndarray:
    """[size, size], the alpha of a head, a pelt's edge or a tuft with single hairs around it."""
    canvas = Image.new("L", (FINE * size, FINE * size), 0)
    draw = ImageDraw.Draw(canvas)
    kind = rng.random()
    if kind < 0.45:
        _head(draw, size, rng)
    elif kind < 0.8:
        _fur(draw, size, rng)
    else:
        _loose(draw, size, rng)
    return np.asarray(canvas.reduce(FINE), np.float32) / 255


def _curves(roots: np.ndarray, angles: np.ndarray, lengths: np.ndarray, bend: np.ndarray, wave: np.ndarray,
            rng: Generator) -> np.ndarray:
    """[N, POINTS, 2]: from each root, turning steadily by `bend` radians in all, with a wave on top."""
    t = np.linspace(0, 1, POINTS, dtype=np.float32)
    phase = rng.uniform(0, 2 * math.pi, (len(roots), 1))
    heading = angles[:, None] + bend[:, None] * t + wave[:, None] * np.sin(2 * math.pi * t + phase)
    step = np.stack([np.cos(heading), np.sin(heading)], -1) * (lengths / (POINTS - 1))[:, None, None]
    moved = np.cumsum(step, axis=1) - step
    return roots[:, None] + moved


def _draw(draw: ImageDraw.ImageDraw, curves: np.ndarray, widths: np.ndarray, shades: np.ndarray) -> None:
    """Each strand in two parts, the outer one thinner."""
    for curve, width, shade in zip(curves * FINE, widths * FINE, shades, strict=True):
        points = [tuple(p) for p in curve.tolist()]
        draw.line(points[: POINTS // 2 + 2], fill=int(shade), width=max(1, round(width)))
        draw.line(points[POINTS // 2 + 1:], fill=int(shade * 0.9), width=max(1, round(width * 0.6)))


def _shades(count: int, rng: Generator) -> np.ndarray:
    """How opaque each strand is, 8 bits: most fully, in some pictures all less."""
    low = 255 if rng.random() < 0.4 else int(rng.integers(90, 240))
    return rng.integers(low, 256, count) if low < 255 else np.full(count, 255)


def _head(draw: ImageDraw.ImageDraw, size: int, rng: Generator) -> None:
    """A solid round or oval that long hairs leave, most lying close, some flying."""
    middle = rng.uniform(0.1, 0.9, 2) * size
    radii = rng.uniform(0.2, 0.55, 2) * size
    ring = rng.uniform(0, 2 * math.pi, 48)
    ring.sort()
    bumps = 1 + 0.06 * rng.standard_normal(48)
    outline = middle + np.stack([np.cos(ring), np.sin(ring)], -1) * radii * bumps[:, None]
    draw.polygon([tuple(p) for p in (outline * FINE).tolist()], fill=255)
    count = int(rng.integers(40, 220))
    start = rng.uniform(0, 2 * math.pi, count)
    roots = middle + np.stack([np.cos(start), np.sin(start)], -1) * radii * rng.uniform(0.8, 1.0, (count, 1))
    side = float(rng.choice((-1, 1)))
    angles = start + side * rng.uniform(0.2, 1.4) + rng.normal(0, 0.25, count)
    lengths = size * rng.uniform(0.1, 0.5) * np.exp(rng.normal(0, 0.5, count))
    curves = _curves(roots, angles, lengths, rng.normal(side * rng.uniform(-1, 1.5), 0.6, count),
                     np.full(count, rng.uniform(0, 0.7)), rng)
    _draw(draw, curves, rng.uniform(0.35, rng.uniform(0.6, 2.2), count), _shades(count, rng))


def _fur(draw: ImageDraw.ImageDraw, size: int, rng: Generator) -> None:
    """Half of the crop solid, with a wavy border that many short hairs cross, all combed alike."""
    normal = rng.uniform(0, 2 * math.pi)
    along, across = np.array([-math.sin(normal), math.cos(normal)]), np.array([math.cos(normal), math.sin(normal)])
    base = np.array([size, size]) / 2 + across * rng.normal(0, 0.15) * size
    t = np.linspace(-1.2, 1.2, 40)
    swing = size * rng.uniform(0.02, 0.12) * np.sin(t * rng.uniform(1, 6) + rng.uniform(0, 6))
    border = base + t[:, None] * along * size + swing[:, None] * across
    draw.polygon([tuple(p) for p in (np.concatenate([border, (border - across * 3 * size)[::-1]]) * FINE).tolist()],
                 fill=255)
    count = int(rng.integers(120, 420))
    place = rng.uniform(-0.8, 0.8, count)
    roots = base + place[:, None] * along * size + np.interp(place, t, swing)[:, None] * across
    roots = roots - across * rng.uniform(0, 0.06, (count, 1)) * size
    angles = normal + rng.normal(0, 0.7) + rng.normal(0, rng.uniform(0.1, 0.5), count)
    lengths = size * rng.uniform(0.04, 0.2) * np.exp(rng.normal(0, 0.3, count))
    curves = _curves(roots, angles, lengths, rng.normal(0, 0.6, count), np.full(count, rng.uniform(0, 0.4)), rng)
    _draw(draw, curves, rng.uniform(0.35, rng.uniform(0.6, 2.0), count), _shades(count, rng))


def _loose(draw: ImageDraw.ImageDraw, size: int, rng: Generator) -> None:
    """A curtain of long thin strands over the whole crop, with gaps: long hair, grass, threads."""
    count = int(rng.integers(15, 130))
    angle = rng.uniform(0, 2 * math.pi)
    along = np.array([-math.sin(angle), math.cos(angle)])
    start = np.array([size, size]) / 2 - 0.8 * size * np.array([math.cos(angle), math.sin(angle)])
    spread = rng.normal(0, rng.uniform(0.1, 0.5), (count, 1))
    roots = start + spread * along * size
    curves = _curves(roots, angle + rng.normal(0, 0.12, count), np.full(count, 1.7 * size),
                     rng.normal(rng.normal(0, 0.4), 0.25, count), np.full(count, rng.uniform(0, 0.35)), rng)
    _draw(draw, curves, rng.uniform(0.35, rng.uniform(0.7, 4), count), _shades(count, rng))
