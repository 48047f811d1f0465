"""Procedural meshes: nets, fences, lattices, blinds, knitted and woven cloth, sheets with holes.

A mesh repeats in coordinates (u, v) that are turned, seen at an angle and bent smoothly over the crop; lengths across
a thread are turned into pixels by the coordinates' slope, so that a thread covers of each pixel what it should.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .blur import smooth_noise
from .translucent import shape


@dataclass
class Cloth:
    """Where threads run.

    u, v: coordinates [S, S] in pitches. slope: pitches per pixel [S, S]. half: half a thread's width in pitches.
    """

    u: np.ndarray
    v: np.ndarray
    slope: np.ndarray
    half: float
    rng: Generator

    def thread(self, off: np.ndarray, steep: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Cover and brightness of threads, by the distance `off` (pitches) from their middle line.

        steep: by how much `off` grows faster than the distance across the thread.
        """
        away, half = off / (steep * self.slope), self.half / self.slope
        cover = np.clip(np.minimum(away + 0.5, half) - np.maximum(away - 0.5, -half), 0, 1)
        round_ = np.sqrt(np.clip(1 - (away / np.maximum(half, 1e-3)) ** 2, 0, 1))
        return cover, 0.6 + 0.4 * round_


def mesh(size: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and brightness, both [size, size]; brightness is a factor to the colours, about 1."""
    cloth = _cloth(size, rng)
    alpha, bright = KINDS[int(rng.integers(len(KINDS)))](cloth)
    bright = 1 + alpha * (bright - 1)  # between the threads may come something solid
    alpha = alpha * (1.0 if rng.random() < 0.8 else float(rng.uniform(0.5, 1)))
    if rng.random() < 0.12:  # a fine cloth between the threads
        alpha = np.maximum(alpha, float(rng.uniform(0.05, 0.4)))
    alpha = _bounded(alpha, size, rng)
    light = np.exp(rng.uniform(0, 0.25) * smooth_noise(size, float(rng.uniform(1.5, 5)), rng)[..., 0])
    return alpha.clip(0, 1).astype(np.float32), (bright * light).astype(np.float32)


def _cloth(size: int, rng: Generator) -> Cloth:
    pitch = float(np.exp(rng.uniform(math.log(3.5), math.log(min(60, size / 5)))))
    turn = rng.uniform(0, math.pi) if rng.random() < 0.6 else rng.normal(0, 0.15)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) - size / 2
    tilt = rng.normal(0, 0.25, 2) / size
    away = 1 + np.clip(tilt[0] * x + tilt[1] * y, -0.5, 2)
    cells = float(rng.uniform(1.2, 4))  # bumps across; the bend stays well below folding
    bend = smooth_noise(size, cells, rng, 2) * (0.1 * size / cells) * rng.random() ** 2
    u = ((x * math.cos(turn) + y * math.sin(turn)) / away + bend[..., 0]) / pitch
    v = ((y * math.cos(turn) - x * math.sin(turn)) / away + bend[..., 1]) / pitch * rng.uniform(0.6, 1.4)
    down, across = np.gradient(v)
    slope = np.maximum(np.hypot(down, across), 1e-4)
    half = float(rng.uniform(0.03, 0.16)) if rng.random() < 0.65 else float(rng.uniform(0.16, 0.42))
    return Cloth(u.astype(np.float32), v.astype(np.float32), slope.astype(np.float32),
                  max(half, 0.15 / pitch), rng)


def _bounded(alpha: np.ndarray, size: int, rng: Generator) -> np.ndarray:
    """The mesh over all, within a shape that may have a hem, or as part of something solid."""
    kind = rng.random()
    if kind < 0.08:
        return alpha
    depth = shape(size, rng)
    inside = np.clip(depth + 0.5, 0, 1)
    if kind < 0.55:
        hem = np.clip(float(rng.uniform(1, 12)) - depth + 0.5, 0, 1) if rng.random() < 0.7 else 0.0
        return inside * np.maximum(alpha, hem)
    if kind < 0.8:  # an opening in something solid
        return np.maximum(alpha, 1 - inside)
    return np.maximum(alpha, inside)  # a solid part on the mesh


def _near(x: np.ndarray) -> np.ndarray:
    """Distance to the nearest whole number, signed."""
    return x - np.round(x)


def _woven(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray],
           over: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two families of threads, the first in front where `over`."""
    front, back = np.where(over, first[0], second[0]), np.where(over, second[0], first[0])
    light = np.where(over, first[1], second[1]), np.where(over, second[1], first[1])
    alpha = front + (1 - front) * back
    shade = (front * light[0] + (1 - front) * back * light[1] * 0.8) / np.maximum(alpha, 1e-4)
    return alpha, shade


def _grid(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """Two families of threads that cross, over and under by turns."""
    lean = float(c.rng.uniform(-0.5, 0.5)) if c.rng.random() < 0.5 else 0.0
    u = c.u + lean * c.v
    over = (np.round(u) + np.round(c.v)) % 2 < 1
    return _woven(c.thread(_near(u), math.hypot(1, lean)), c.thread(_near(c.v)), over)


def _loops(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """Two families of waves against each other: chain link, fishing nets, knitting."""
    swing = float(c.rng.uniform(0.2, 0.55))
    wave, steep = swing * np.sin(2 * math.pi * c.u), np.sqrt(1 + (swing * 2 * math.pi * np.cos(2 * math.pi * c.u)) ** 2)
    over = np.cos(2 * math.pi * c.u) > 0
    return _woven(c.thread(_near(c.v - wave), steep), c.thread(_near(c.v + wave + 0.5), steep), over)


def _bars(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """One family, with a few that cross it: fences, combs, blinds, fringes."""
    rare = float(c.rng.uniform(4, 15))
    cross = c.thread(_near(c.u / rare) * rare)
    bars = c.thread(_near(c.v))
    return _woven(bars, cross, np.full_like(c.v, c.rng.random() < 0.5, dtype=bool)) if c.rng.random() < 0.6 else bars


def _triangles(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """Three families at 60 degrees: cane work."""
    over = (np.round(c.u) + np.round(c.v)) % 2 < 1
    two = _woven(c.thread(_near(c.v)), c.thread(_near(0.5 * c.v + 0.866 * c.u)), over)
    return _woven(two, c.thread(_near(0.5 * c.v - 0.866 * c.u)), ~over)


def _hexagons(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """Honeycomb wire, tulle."""
    cell, off = np.array([1, math.sqrt(3)]), []
    place = np.stack([c.u, c.v], -1)
    for shift in (0, 0.5):
        p = np.abs((place - shift * cell) % cell - cell / 2)
        off.append(np.maximum(p[..., 0], 0.5 * p[..., 0] + 0.866 * p[..., 1]))
    return c.thread(0.5 - np.minimum(*off))


def _holes(c: Cloth) -> tuple[np.ndarray, np.ndarray]:
    """A sheet with round holes in rows."""
    u = c.u + 0.5 * (np.floor(c.v) % 2) if c.rng.random() < 0.5 else c.u
    away = np.hypot(u % 1 - 0.5, c.v % 1 - 0.5)
    alpha = np.clip((away - float(c.rng.uniform(0.2, 0.48))) / c.slope + 0.5, 0, 1)
    return alpha, np.ones_like(alpha)


KINDS = (_grid, _grid, _loops, _loops, _bars, _triangles, _hexagons, _holes)
