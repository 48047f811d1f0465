"""One training sample: a foreground with its alpha over a background, and a trimap, all from one random generator.

I = alpha * F + (1 - alpha) * B, with F held as alpha * F throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.random import Generator

from ...trimap import UNKNOWN, doubled_trimap
from ..recipe import Mixture
from .blur import blurred, cloud, disc, streak
from .colour import compressed, grainy, jittered, to_bytes
from .geometry import place_background, place_foreground
from .hair import strands
from .pictures import File, Picture, load_background, load_foreground
from .translucent import sheer

T = TypeVar("T")
SURE = 2.5 / 255  # alpha this near 0 and 1 counts as 0 and 1 in the trimap
MISSED = 0.02  # share of the crop that a rough trimap may call known although it is not


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
        for _ in range(4):
            layer = self._layer(size, rng, foreground)
            if rng.random() < self.mixture.second:
                layer = over(self._layer(size, rng), layer)
            layer = self._out_of_focus(layer, rng)
            trimap = self._trimap(layer[..., 3], rng)
            if 0.01 < (trimap == 128).mean() < 0.97:
                break
        return Sample(to_bytes(self._picture(layer, size, rng)), to_bytes(layer[..., 3]), trimap)

    def _layer(self, size: int, rng: Generator, foreground: Picture | None = None) -> np.ndarray:
        """[S, S, 4], alpha * F and alpha."""
        mixture, kind = self.mixture, rng.random()
        if kind < mixture.strands:
            alpha = strands(size, rng)
        elif kind < mixture.strands + mixture.sheer:
            alpha = sheer(size, rng)
        else:
            layer = place_foreground(foreground or self.foregrounds.draw(rng), size, rng)
            if rng.random() >= mixture.borrowed_colour:
                layer[..., :3] = jittered(layer[..., :3], layer[..., 3:], rng)
                return layer
            alpha = layer[..., 3]
        colours = self._colours(size, rng)
        return np.concatenate([colours * alpha[..., None], alpha[..., None]], axis=-1)

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
        if rng.random() < mixture.gamma:
            picture = picture ** float(np.exp(rng.normal(0, 0.3)))
        if rng.random() < mixture.noise:
            picture = grainy(picture, rng)
        if rng.random() < mixture.jpeg:
            picture = compressed(picture, rng)
        return picture

    def _trimap(self, alpha: np.ndarray, rng: Generator) -> np.ndarray:
        """Unknown: everything soft and random widths beside it, or a band along a hard mask."""
        size = alpha.shape[0]
        # Half of the widths are below 6 pixels, and few above a sixth of the crop.
        inner, outer = (float(np.exp(rng.uniform(0, np.log(max(2, size / 5))))) for _ in range(2))
        rough = bool(rng.random() < self.mixture.rough)
        if rough:
            mask = (alpha > rng.uniform(0.1, 0.9)).astype(np.float32)
            trimap = _banded(mask, max(inner, 3.0), max(outer, 3.0))
            rough = ((trimap != UNKNOWN) & (np.abs(trimap - alpha) > 0.1)).mean() < MISSED
        if not rough:
            mask = np.where(alpha > 1 - SURE, 1, np.where(alpha < SURE, 0, alpha)).astype(np.float32)
            trimap = _banded(mask, inner, outer)
        if rng.random() < self.mixture.wide:
            trimap[cloud(size, float(rng.uniform(1.5, 4)), rng, 2) > rng.uniform(0.2, 1.2)] = UNKNOWN
        return np.where(trimap == UNKNOWN, 128, trimap * 255).astype(np.uint8)


def _banded(mask: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """The trimap [S, S] of a mask in 0..1; what a crop lacks is no news here."""
    values = torch.from_numpy(mask).unsqueeze(0)
    return doubled_trimap(values, 0.0, 1.0, (inner, outer, 0.0))[0].numpy() * np.float32(0.5)


def over(front: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Two layers [S, S, 4] as one: front + (1 - front's alpha) * back (Porter and Duff, 1984)."""
    return front + (1 - front[..., 3:]) * back
