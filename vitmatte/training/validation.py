"""The fixed validation set: composites of held-out foregrounds on held-out backgrounds, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..evaluation.metrics import mse, sad
from ..inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from ..pictures.writing import save_picture
from .data.colour import to_bytes
from .data.composites import Compositor, Sample
from .data.pictures import find_backgrounds, find_foregrounds
from .data.stream import net_input
from .mixture import Mixture
from .recipe import Recipe

SEED = 646
# Foregrounds as they are: what is procedural or recoloured has no place in a comparison.
AS_IS = Mixture(strands=0, sheer=0, borrowed_colour=0, second=0)
COLUMNS = 3  # of samples on a sheet


@dataclass(frozen=True)
class Score:
    """Errors in the unknown area over the set: MSE and SAD (thousands), mean and median."""

    mse: float
    mse_median: float
    sad: float
    sad_median: float


def validation_set(recipe: Recipe) -> list[Sample]:
    """The samples; each foreground in turn, sizes and numbers from the recipe. Empty where it names no folders."""
    if not recipe.validation_foregrounds or not recipe.validation_backgrounds:
        return []
    files = find_foregrounds(recipe.validation_foregrounds), find_backgrounds(recipe.validation_backgrounds)
    compositor = Compositor(*files, AS_IS)
    count, samples = len(compositor.foregrounds), []
    for i in range(recipe.validation_count):
        rng = np.random.default_rng([SEED, i])
        sample = compositor.sample(recipe.validation_size, rng, compositor.foregrounds[i % count])
        sample.name = f"{i:03}-{compositor.foregrounds.files[i % count].colour.stem}"
        samples.append(sample)
    return samples


@torch.no_grad()
def mattes(net: nn.Module, samples: list[Sample], device: torch.device, batch: int = 8) -> list[np.ndarray]:
    """The net's alpha [S, S] of every sample, with what the trimap knows put in."""
    mean, std = (torch.tensor(x, device=device) for x in (IMAGENET_MEAN, IMAGENET_STD))
    found: list[np.ndarray] = []
    for first in range(0, len(samples), batch):
        part = samples[first:first + batch]
        image, trimap = (_stack([getattr(s, name) for s in part], device) for name in ("image", "trimap"))
        alpha = net(net_input(image, trimap, mean, std))[:, 0].float()
        found += list(torch.where(trimap == 128, alpha, trimap / 255).cpu().numpy())
    return found


def _stack(arrays: list[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def score(samples: list[Sample], found: list[np.ndarray]) -> Score:
    """The errors of these mattes."""
    pairs = [(alpha, s.alpha / 255, s.trimap == 128) for s, alpha in zip(samples, found, strict=True)]
    squares, sums = [mse(*pair) for pair in pairs], [sad(*pair) for pair in pairs]
    return Score(*(float(f(x)) for x in (squares, sums) for f in (np.mean, np.median)))


def strip(sample: Sample, found: list[np.ndarray]) -> np.ndarray:
    """[S, N * S, 3], 8 bits: picture, trimap, true matte and mattes found, side by side."""
    planes = [sample.trimap, sample.alpha, *(to_bytes(alpha) for alpha in found)]
    return np.concatenate([sample.image, *(np.repeat(plane[..., None], 3, axis=2) for plane in planes)], axis=1)


def write_sheet(path: Path, samples: list[Sample], found: list[np.ndarray], most: int = 18) -> None:
    """A contact sheet: picture, trimap, true and found matte, side by side, COLUMNS samples a row."""
    step = max(1, len(samples) // most)
    chosen = list(zip(samples, found, strict=True))[::step][:most]
    if not chosen:
        return
    tiles = [strip(sample, [alpha]) for sample, alpha in chosen]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[i:i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    save_picture(Image.fromarray(np.concatenate(rows)), path)
