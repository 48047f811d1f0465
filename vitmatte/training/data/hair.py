"""Procedural hair, fur, grass and threads: alpha and brightness, drawn large and reduced. Colours come from elsewhere.

Strands are as thin as a tenth of a pixel. One thinner than a pixel of the large canvas is drawn a pixel wide and less
opaque, which after the reduction is the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

FINE = 3  # drawn at this many times the size
MIDDLE = 128  # brightness that leaves a colour as it is
TAPER = ((1.0, 1.0), (0.75, 1.0), (0.5, 0.85), (0.35, 0.5))  # width and opacity of a strand's parts, root to tip


def strands(size: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Alpha and brightness, both [size, size], of a head, a pelt's edge, a curtain of hair or a few single hairs.

    Brightness is a factor to the colours, about 1, and has a meaning where alpha is above 0.
    """
    drawing = Drawing(size, rng)
    KINDS[int(rng.choice(len(KINDS), p=OFTEN))](drawing)
    return drawing.planes()


class Drawing:
    """A canvas of brightness and opacity, `FINE` times as large as the crop, and what its strands have in common."""

    def __init__(self, size: int, rng: Generator) -> None:
        self.size, self.rng = size, rng
        self.canvas = Image.new("LA", (FINE * size, FINE * size), (MIDDLE, 0))
        self.draw = ImageDraw.Draw(self.canvas)
        self.points = 13 if size < 300 else 21
        self.more = max(0.6, size / 200)  # as many strands as the place has room for
        self.base = float(rng.uniform(70, 180))
        self.spread = float(rng.uniform(5, 35))
        self.locks = rng.normal(0, 20 / size, 2)
        # Loose strands catch the light that the mass behind does not, or the other way round.
        self.loose = self.base * float(np.exp(rng.normal(0, 0.35)))

    def planes(self) -> tuple[np.ndarray, np.ndarray]:
        """Alpha and brightness at the crop's size."""
        plane = np.asarray(self.canvas.reduce(FINE), np.float32)
        return plane[..., 1] / 255, plane[..., 0] / MIDDLE

    def solid(self, outline: np.ndarray) -> None:
        """A polygon [N, 2] in pixels of the crop."""
        self.draw.polygon([tuple(p) for p in (outline * FINE).tolist()], fill=(int(self.base), 255))

    def curves(self, roots: np.ndarray, angles: np.ndarray, lengths: np.ndarray, bend: np.ndarray | float,
               wave: float, cycles: float = 1.0) -> np.ndarray:
        """[N, points, 2]: from each root, turning steadily by `bend` radians in all, with a wave on top."""
        t = np.linspace(0, 1, self.points, dtype=np.float32)
        phase = self.rng.uniform(0, 2 * math.pi, (len(roots), 1))
        heading = angles[:, None] + np.reshape(bend, (-1, 1)) * t + wave * np.sin(2 * math.pi * cycles * t + phase)
        step = np.stack([np.cos(heading), np.sin(heading)], -1) * (lengths / (self.points - 1))[:, None, None]
        return roots[:, None] + np.cumsum(step, axis=1) - step

    def strands(self, curves: np.ndarray, widths: np.ndarray, *, loose: bool = True) -> None:
        """Draws curves in pixels of the crop, faint ones first; each part of a strand is thinner than the last."""
        rng, count = self.rng, len(curves)
        opacity = np.ones(count)
        if loose and rng.random() < 0.5:
            opacity = rng.uniform(rng.uniform(0.3, 1), 1, count)
        if loose and rng.random() < 0.6:
            widths = widths * rng.uniform(0.25, 1, count)
        bright = np.clip(rng.normal(self.loose if loose else self.base, self.spread, count), 8, 255)
        if not loose:  # hair in the mass lies in locks of like light
            bright = np.clip(bright + self.spread * np.sin(curves[:, 0] @ self.locks), 8, 255)
        order = np.argsort(opacity * np.minimum(widths, 1))
        parts = np.array_split(np.arange(self.points), len(TAPER))
        for curve, width, opaque, light in zip((curves * FINE)[order], (widths * FINE)[order], opacity[order],
                                               bright[order], strict=True):
            points = [tuple(p) for p in curve.tolist()]
            for part, (narrower, fainter) in zip(parts, TAPER, strict=True):
                wide = float(width) * narrower
                drawn = max(1, round(wide))
                alpha = 255.0
                if loose:  # the others lie on something solid, which must stay so
                    alpha *= opaque * fainter * (min(1.0, wide / drawn) if drawn < 3 else 1.0)
                self.draw.line(points[max(0, part[0] - 1):part[-1] + 1], fill=(int(light), int(alpha)), width=drawn)

    def width(self, low: float = 0.12, high: float = 2.5) -> tuple[float, float]:
        """The thinnest and the thickest strand of this picture in pixels."""
        thick = float(np.exp(self.rng.uniform(math.log(0.4), math.log(high))))
        return low, thick


def _head(d: Drawing) -> None:
    """A solid round or oval with combed hair on it, that long hairs leave, most lying close, some flying."""
    rng, size = d.rng, d.size
    middle = rng.uniform(0.1, 0.9, 2) * size
    radii = rng.uniform(0.15, 0.5, 2) * size
    ring = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    order = np.arange(2, 9)[:, None]
    bumps = 1 + (rng.normal(0, 0.06, (7, 1)) / order * np.sin(order * ring + rng.uniform(0, 6, (7, 1)))).sum(axis=0)
    outline = middle + np.stack([np.cos(ring), np.sin(ring)], -1) * radii * bumps[:, None]
    count = int(rng.integers(40, 320) * d.more)
    start = rng.uniform(0, 2 * math.pi, count)
    roots = middle + np.stack([np.cos(start), np.sin(start)], -1) * radii * rng.uniform(0.8, 1.0, (count, 1))
    side = float(rng.choice((-1, 1)))
    lean, bend, curl = side * rng.uniform(0, 1.4), side * rng.uniform(-1, 1.5), rng.uniform(0, 0.9)
    lengths = size * rng.uniform(0.06, 0.4) * np.exp(rng.normal(0, 0.5, count))
    curves = d.curves(roots, start + lean + rng.normal(0, 0.3, count), lengths, rng.normal(bend, 0.6, count), curl,
                      rng.uniform(0.7, 3))
    low, high = d.width()
    front = rng.random(count) < rng.uniform(0, 0.3)
    d.strands(curves[~front], rng.uniform(low, high, int((~front).sum())))
    d.solid(outline)
    inner = int(350 * d.more)
    start = rng.uniform(0, 2 * math.pi, inner)
    roots = middle + np.stack([np.cos(start), np.sin(start)], -1) * radii * np.sqrt(rng.uniform(0, 0.98, (inner, 1)))
    close = min(radii) * rng.uniform(0.2, 0.5)
    combed = d.curves(roots, start + lean + rng.normal(0, 0.2, inner), np.full(inner, close), bend, curl)
    d.strands(combed, rng.uniform(0.4, rng.uniform(0.8, 2.5), inner), loose=False)
    if front.any():
        d.strands(curves[front], rng.uniform(low, high, int(front.sum())), loose=False)


def _fur(d: Drawing) -> None:
    """Part of the crop solid, with a wavy border that many short hairs cross, all combed alike."""
    rng, size = d.rng, d.size
    normal = rng.uniform(0, 2 * math.pi)
    along, across = np.array([-math.sin(normal), math.cos(normal)]), np.array([math.cos(normal), math.sin(normal)])
    base = np.array([size, size]) / 2 + across * rng.normal(0, 0.2) * size
    t = np.linspace(-1.2, 1.2, 40)
    swing = size * rng.uniform(0.02, 0.15) * np.sin(t * rng.uniform(1, 6) + rng.uniform(0, 6))
    border = base + t[:, None] * along * size + swing[:, None] * across
    comb = normal + rng.normal(0, 0.7)
    length = float(np.exp(rng.uniform(math.log(8), math.log(0.25 * size))))
    low, high = d.width()

    def tufts(count: int, deep: float, loose: bool, widths: np.ndarray) -> None:
        place = rng.uniform(-0.8, 0.8, count)
        roots = base + place[:, None] * along * size + np.interp(place, t, swing)[:, None] * across
        roots = roots - across * rng.uniform(0, deep, (count, 1)) * size
        angles = comb + rng.normal(0, rng.uniform(0.1, 0.5), count)
        lengths = length * np.exp(rng.normal(0, 0.35, count))
        d.strands(d.curves(roots, angles, lengths, rng.normal(0, 0.6, count), rng.uniform(0, 0.4)), widths,
                  loose=loose)

    count = int(rng.integers(150, 600) * d.more)
    tufts(count, 0.03, True, rng.uniform(low, high, count))
    d.solid(np.concatenate([border, (border - across * 3 * size)[::-1]]))
    inner = int(400 * d.more)
    tufts(inner, 0.7, False, rng.uniform(0.4, rng.uniform(0.8, 2.5), inner))


def _curtain(d: Drawing) -> None:
    """Long strands over the whole crop, with gaps: long hair, grass, threads; often a dense part among them."""
    rng, size = d.rng, d.size
    angle = rng.uniform(0, 2 * math.pi)
    along = np.array([-math.sin(angle), math.cos(angle)])
    start = np.array([size, size]) / 2 - 0.8 * size * np.array([math.cos(angle), math.sin(angle)])
    spread, bend, wave = rng.uniform(0.1, 0.5), rng.normal(0, 0.4), rng.uniform(0, 0.35)
    low, high = d.width(high=4)

    def fall(count: int, wide: float, loose: bool, widths: np.ndarray) -> None:
        roots = start + rng.normal(0, wide, (count, 1)) * along * size
        curves = d.curves(roots, angle + rng.normal(0, 0.12, count), np.full(count, 1.7 * size),
                          rng.normal(bend, 0.2, count), wave, rng.uniform(0.5, 3))
        d.strands(curves, widths, loose=loose)

    count = int(rng.integers(15, 160) * d.more)
    fall(count, spread, True, rng.uniform(low, high, count))
    if rng.random() < 0.7:
        dense = int(rng.integers(60, 260) * d.more)
        fall(dense, spread * rng.uniform(0.15, 0.5), False, rng.uniform(1.5, 5, dense))


def _single(d: Drawing) -> None:
    """A smooth solid side and a few thin hairs that leave or cross it, long and bent, some looped."""
    rng, size = d.rng, d.size
    normal = rng.uniform(0, 2 * math.pi)
    along, across = np.array([-math.sin(normal), math.cos(normal)]), np.array([math.cos(normal), math.sin(normal)])
    base = np.array([size, size]) / 2 + across * rng.normal(0.1, 0.2) * size
    t = np.linspace(-1.5, 1.5, 60)
    bulge = size * (rng.normal(0, 0.3) * t**2 + rng.uniform(0, 0.06) * np.sin(t * rng.uniform(2, 8)))
    border = base + t[:, None] * along * size + bulge[:, None] * across
    count = int(rng.integers(3, 40) * d.more)
    place = rng.uniform(-0.7, 0.7, count)
    roots = base + place[:, None] * along * size + (np.interp(place, t, bulge) - rng.uniform(0, 20, count))[
        :, None] * across
    angles = normal + rng.normal(0, 0.9, count)
    lengths = size * rng.uniform(0.1, 0.9, count)
    curves = d.curves(roots, angles, lengths, rng.normal(0, 1.3, count), rng.uniform(0, 0.6), rng.uniform(0.5, 2.5))
    d.strands(curves, np.exp(rng.uniform(math.log(0.15), math.log(1.2), count)))
    d.solid(np.concatenate([border, (border - across * 3 * size)[::-1]]))
    crossing = count // 4
    d.strands(curves[:crossing], rng.uniform(0.4, 1.0, crossing), loose=False)


KINDS = (_head, _fur, _curtain, _single)
OFTEN = (0.4, 0.25, 0.17, 0.18)
