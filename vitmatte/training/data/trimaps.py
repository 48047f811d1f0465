"""Trimaps of a sample: bands of random width along edges, or a wanted share of the crop unknown, as people paint it."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

from ...trimap.known import UNKNOWN
from ...trimap.make import doubled_trimap
from ..mixture import Mixture
from .blur import cloud, smooth_noise

SURE = 2.5 / 255  # alpha this near 0 and 1 counts as 0 and 1 in the trimap
MISSED = 0.02  # share of the crop that a rough trimap may call known although it is not
COARSE = 128  # distances are found on a grid of about so many cells
SHARE_AT = 512  # side of the crops whose mean unknown share a mixture states


def trimap_by_bands(alpha: np.ndarray, mixture: Mixture, rng: Generator) -> np.ndarray:
    """Unknown: everything soft and random widths beside it, or a band along a hard mask. [S, S] of 0, 128, 255."""
    size = alpha.shape[0]
    # Half of the widths are below 6 pixels, and few above a sixth of the crop.
    inner, outer = (float(np.exp(rng.uniform(0, np.log(max(2, size / 5))))) for _ in range(2))
    rough = bool(rng.random() < mixture.rough)
    if rough:
        mask = (alpha > rng.uniform(0.1, 0.9)).astype(np.float32)
        trimap = _banded(mask, max(inner, 3.0), max(outer, 3.0))
        rough = ((trimap != UNKNOWN) & (np.abs(trimap - alpha) > 0.1)).mean() < MISSED
    if not rough:
        mask = np.where(alpha > 1 - SURE, 1, np.where(alpha < SURE, 0, alpha)).astype(np.float32)
        trimap = _banded(mask, inner, outer)
    if rng.random() < mixture.wide:
        trimap[cloud(size, float(rng.uniform(1.5, 4)), rng, 2) > rng.uniform(0.2, 1.2)] = UNKNOWN
    return np.where(trimap == UNKNOWN, 128, trimap * 255).astype(np.uint8)


def _banded(mask: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """The trimap [S, S] of a mask in 0..1; what a crop lacks is no news here."""
    values = torch.from_numpy(mask).unsqueeze(0)
    return doubled_trimap(values, 0.0, 1.0, (inner, outer, 0.0))[0].numpy() * np.float32(0.5)


def trimap_by_share(alpha: np.ndarray, parts: list[np.ndarray], mixture: Mixture, rng: Generator) -> np.ndarray:
    """A trimap [S, S] of 0, 128 and 255 of which about a wanted share is unknown.

    What is soft is unknown, and with it what is nearest, on both sides by different widths that change along the
    edge, until the share is reached. Whole parts of the object and blobs come first where the mixture says so.

    Args:
        alpha: [S, S].
        parts: masks [S, S], bool, of parts of the object of which the trimap may say nothing.
        mixture: `unknown`, `rough`, `wide` and `parts` count here.
        rng: all chance comes from it.
    """
    size = alpha.shape[0]
    share = min(0.75, wanted_share(size, mixture) * float(np.exp(rng.normal(-0.18, 0.6))))
    solid = alpha > 0.5
    if rng.random() < mixture.rough:
        mask = alpha > rng.uniform(0.1, 0.9)
        trimap = _grown(_edges(mask), mask, share, rng)
        if ((trimap != 128) & (np.abs(trimap / 255 - alpha) > 0.1)).mean() < MISSED:
            return trimap
    unknown = ((alpha > SURE) & (alpha < 1 - SURE)) | _edges(solid)
    if parts and rng.random() < mixture.parts:
        for i in rng.permutation(len(parts)):
            if 0 < parts[i].mean() < max(0.15, 1.5 * share) and (unknown | parts[i]).mean() < 0.6:
                unknown |= parts[i]
                if unknown.mean() > share:
                    break
    if rng.random() < mixture.wide:
        unknown |= _blobs(unknown, share, rng)
    return _grown(unknown, solid, share, rng)


def wanted_share(size: int, mixture: Mixture) -> float:
    """The mean share of unknown pixels that a mixture wants of crops of a size."""
    return mixture.unknown * math.sqrt(SHARE_AT / size)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbour of the other kind, and those neighbours."""
    found = np.zeros_like(mask)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def _blobs(unknown: np.ndarray, share: float, rng: Generator) -> np.ndarray:
    """Wide areas [S, S], two of three times near what is unknown already; a quarter of the share to all of it."""
    size = unknown.shape[0]
    height = cloud(size, float(rng.uniform(1.5, 5)), rng, 2)
    if rng.random() < 0.67 and unknown.any():
        height = height - _distance(unknown) / (size * rng.uniform(0.03, 0.15))
    return height > np.quantile(height[::4, ::4], 1 - share * float(rng.uniform(0.25, 1.0)))


def _grown(unknown: np.ndarray, solid: np.ndarray, share: float, rng: Generator) -> np.ndarray:
    """The trimap whose unknown area has grown to a share of the crop, by a few pixels at least.

    Four times in five, known islands and inlets that nobody would paint become unknown too.
    """
    size = unknown.shape[0]
    if not unknown.any():
        return np.where(solid, 255, 0).astype(np.uint8)
    least = float(np.exp(rng.uniform(0, math.log(size / 24))))
    inner, outer = np.exp(rng.normal(0, 0.5, 2)).astype(np.float32)
    uneven = rng.uniform(0, 0.7) * smooth_noise(size, float(rng.uniform(2, 9)), rng)[..., 0]
    away = _distance(unknown) / (np.where(solid, inner, outer) * np.exp(uneven))
    unknown = unknown | (away <= max(float(np.quantile(away[::4, ::4], share)), least))
    if rng.random() < 0.8:
        radius = size * float(rng.uniform(0.015, 0.06))
        core = _distance(unknown) > radius
        if core.any():
            unknown |= _distance(core) > radius
    return np.where(unknown, 128, np.where(solid, 255, 0)).astype(np.uint8)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Pixels [S, S] to the nearest true pixel, to one or two pixels in large crops; some must be true."""
    size = mask.shape[0]
    step = max(1, size // COARSE)
    step = step if size % step == 0 else 1
    coarse = mask.reshape(size // step, step, size // step, step).any(axis=(1, 3))
    away = torch.from_numpy(step * distance_transform_edt(~coarse).astype(np.float32))[None, None]
    if step > 1:
        away = F.interpolate(away, size=(size, size), mode="bilinear", align_corners=False)
    return away[0, 0].numpy()
