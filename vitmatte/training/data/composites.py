"""One training sample: a foreground with its alpha over a background, and a trimap, all from one random generator.

I = alpha * F + (1 - alpha) * B, with F held as alpha * F throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ..mixture import Mixture
from .blur import blurred, disc, smooth_noise, streak
from .colour import LUMA, compressed, grainy, jittered, to_bytes
from .geometry import place_background, place_foreground
from .hair import strands
from .mesh import mesh
from .pattern import patterned
from .pictures import File, Picture, load_background, load_foreground
from .translucent import shape, sheer
from .trimaps import SURE, trimap_by_bands, trimap_by_share, wanted_share

Layer = tuple[np.ndarray, list[np.ndarray]]
EXCESS = 2.5  # times the wanted unknown share; most samples above it are made anew
GAMMA = 2.2  # of stored colours; light adds where they are raised to it
HAIR = np.array([[0.08, 0.06, 0.05], [0.16, 0.11, 0.08], [0.3, 0.19, 0.12], [0.5, 0.33, 0.2], [0.75, 0.6, 0.4],
                 [0.9, 0.8, 0.62], [0.55, 0.25, 0.12], [0.6, 0.6, 0.6], [0.95, 0.94, 0.92]], np.float32)


@dataclass
class Sample:
    """8-bit arrays: image [S, S, 3], alpha [S, S], and trimap [S, S] of 0, 128 and 255; a name where one matters."""

    image: np.ndarray
    alpha: np.ndarray
    trimap: np.ndarray
    name: str = ""


class Library:
    """Pictures by weight, decoded when first wanted and kept."""

    def __init__(self, files: list[File], load: Callable[[File], Picture]) -> None:
        self.files, self._load = files, load
        self._kept: dict[int, Picture] = {}
        weights = np.array([file.weight for file in files])
        self._bounds = np.cumsum(weights / weights.sum())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Picture:
        if i not in self._kept:
            self._kept[i] = self._load(self.files[i])
        return self._kept[i]

    def draw(self, rng: Generator) -> Picture:
        """A random picture, by weight."""
        return self[min(int(np.searchsorted(self._bounds, rng.random())), len(self.files) - 1)]


class Compositor:
    """Makes samples from libraries of foregrounds and backgrounds."""

    def __init__(self, foregrounds: list[File], backgrounds: list[File], mixture: Mixture) -> None:
        self.foregrounds = Library(foregrounds, load_foreground)
        self.backgrounds = Library(backgrounds, load_background)
        self.mixture = mixture

    def preload(self) -> None:
        """Decodes everything, so that processes forked later share it."""
        for library in (self.foregrounds, self.backgrounds):
            for i in range(len(library)):
                library[i]

    def sample(self, size: int, rng: Generator, foreground: Picture | None = None) -> Sample:
        """A random sample with something unknown and, as far as four tries give it, something known in it.

        Args:
            size: side in pixels.
            rng: all chance comes from it.
            foreground: the first foreground; default a random one.
        """
        mixture = self.mixture
        for _ in range(4):
            layer, parts = self._layer(size, rng, foreground)
            if rng.random() < mixture.second:
                back, others = self._layer(size, rng)
                parts = [*parts, *others, *(x[..., 3] > SURE for x in (layer, back))]
                layer = over(back, layer)
            layer = self._out_of_focus(layer, rng)
            if mixture.unknown:
                trimap = trimap_by_share(layer[..., 3], parts, mixture, rng)
            else:
                trimap = trimap_by_bands(layer[..., 3], mixture, rng)
            unknown = float((trimap == 128).mean())
            if mixture.unknown and unknown > EXCESS * wanted_share(size, mixture) and rng.random() < 0.75:
                continue
            if 0.01 < unknown < 0.97:
                break
        return Sample(to_bytes(self._picture(layer, size, rng)), to_bytes(layer[..., 3]), trimap)

    def _layer(self, size: int, rng: Generator, foreground: Picture | None = None) -> Layer:
        """[S, S, 4], alpha * F and alpha; and masks [S, S] of parts that have colours of their own."""
        mixture, kind = self.mixture, rng.random()
        bright: np.ndarray | float = 1.0
        below = np.cumsum([mixture.strands, mixture.sheer, mixture.mesh])
        if kind < below[0]:
            alpha, bright = strands(size, rng)
        elif kind < below[1]:
            alpha = sheer(size, rng)
        elif kind < below[2]:
            alpha, bright = mesh(size, rng)
        elif _happens(mixture.patterned, rng):
            return self._patterned(size, rng, foreground)
        else:
            layer = place_foreground(foreground or self.foregrounds.draw(rng), size, rng, mixture.enlargement)
            if rng.random() >= mixture.borrowed_colour:
                layer[..., :3] = jittered(layer[..., :3], layer[..., 3:], rng)
                return layer, []
            alpha = layer[..., 3]
        if kind < below[0] and _happens(mixture.natural, rng):
            colours = np.clip(HAIR[rng.integers(len(HAIR))] * np.exp(rng.normal(0, 0.15, 3)), 0, 1)
            colours = colours * np.exp(rng.uniform(0, 0.3) * smooth_noise(size, float(rng.uniform(1.5, 6)), rng))
        elif kind < below[2] and _happens(mixture.patterned, rng):
            colours = patterned(size, rng, lambda: self._piece(size, rng))[0]
        else:
            colours = self._colours(size, rng)
        colours = np.clip(colours * np.asarray(bright)[..., None], 0, 1)
        return np.concatenate([colours * alpha[..., None], alpha[..., None]], axis=-1).astype(np.float32), []

    def _patterned(self, size: int, rng: Generator, foreground: Picture | None) -> Layer:
        """A foreground's outline, or a plain shape's, in several colours; half the time with the foreground's light."""
        colours, labels = patterned(size, rng, lambda: self._piece(size, rng))
        if foreground is None and rng.random() < 0.4:
            alpha = np.clip(shape(size, rng) + 0.5, 0, 1).astype(np.float32)
        else:
            layer = place_foreground(foreground or self.foregrounds.draw(rng), size, rng, self.mixture.enlargement)
            alpha = layer[..., 3]
            if rng.random() < 0.5 and alpha.sum() > 1:
                light = (layer[..., :3] @ LUMA) / np.maximum(alpha, 1 / 255)
                light = light / max(float((light * alpha).sum() / alpha.sum()), 0.05)
                colours = np.clip(colours * np.clip(light, 0.2, 2.5)[..., None], 0, 1)
        parts = [(labels == label) & (alpha > SURE) for label in range(int(labels.max()) + 1)]
        layer = np.concatenate([colours * alpha[..., None], alpha[..., None]], axis=-1)
        return layer.astype(np.float32), parts

    def _piece(self, size: int, rng: Generator) -> np.ndarray:
        return place_background(self.backgrounds.draw(rng), size, rng)

    def _colours(self, size: int, rng: Generator) -> np.ndarray:
        """[S, S, 3], a photograph's piece with less contrast, down to a nearly even colour."""
        colours = jittered(place_background(self.backgrounds.draw(rng), size, rng), 1.0, rng)
        mean = colours.mean(axis=(0, 1), keepdims=True)
        return (mean + (colours - mean) * float(rng.random())).astype(np.float32)

    def _out_of_focus(self, layer: np.ndarray, rng: Generator) -> np.ndarray:
        if rng.random() < self.mixture.defocus:
            layer = blurred(layer, disc(float(np.exp(rng.uniform(np.log(0.6), np.log(5))))))
        if rng.random() < self.mixture.motion:
            layer = blurred(layer, streak(float(rng.uniform(2, 14)), float(rng.uniform(0, np.pi))))
        return layer

    def _picture(self, layer: np.ndarray, size: int, rng: Generator) -> np.ndarray:
        mixture = self.mixture
        background = jittered(place_background(self.backgrounds.draw(rng), size, rng), 1.0, rng)
        if rng.random() < mixture.background_blur:
            background = blurred(background, disc(float(np.exp(rng.uniform(np.log(0.7), np.log(6))))))
        alpha = layer[..., 3:]
        if rng.random() < mixture.alike and alpha.sum() > 1:
            mean = layer[..., :3].sum(axis=(0, 1)) / alpha.sum()
            background = np.clip(background + float(rng.uniform(0.4, 1)) * (mean - background.mean(axis=(0, 1))), 0, 1)
        picture = np.clip(layer[..., :3] + (1 - alpha) * background, 0, 1).astype(np.float32)
        if _happens(mixture.linear, rng):
            picture = in_linear_light(picture, layer, background)
        if rng.random() < mixture.gamma:
            picture = picture ** float(np.exp(rng.normal(0, 0.3)))
        if rng.random() < mixture.noise:
            picture = grainy(picture, rng)
        if rng.random() < mixture.jpeg:
            picture = compressed(picture, rng)
        return picture


def _happens(probability: float, rng: Generator) -> bool:
    """By chance. Draws nothing for 0, so that a mixture without the choice makes the samples that it made before."""
    return probability > 0 and bool(rng.random() < probability)


def in_linear_light(picture: np.ndarray, layer: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The picture [S, S, 3] with its soft pixels mixed as light mixes, and not as stored colours do.

    Stored colours are taken as light to the power 1 / 2.2 (near IEC 61966-2-1).
    """
    alpha = layer[..., 3]
    soft = (alpha > 0) & (alpha < 1)
    share = alpha[soft][:, None]
    front = np.clip(layer[soft][:, :3] / share, 0, 1)
    mixed = share * front**GAMMA + (1 - share) * background[soft].clip(0, 1) ** GAMMA
    picture = picture.copy()
    picture[soft] = mixed ** (1 / GAMMA)
    return picture


def over(front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Two layers [S, S, 4] as one: front + (1 - front's alpha) * back (Porter and Duff, 1984)."""
    return front + (1 - front[..., 3:]) * back
