"""DiffMatte's way from noise to a matte: the steps, the noise, and what the decoder is given beside them.

Source: Hu et al., arXiv 2312.05915, sampled as its authors' inference does ("ddim10"). With time t from 1 (noise) to 0
(matte), gamma = 1 - t and the matte x0 in -1..1, the state is x = scale sqrt(gamma) x0 + sqrt(1 - gamma) noise. In each
step the decoder says x0 from x / std(x), where std is over the whole picture without its padding; the noise that this
implies takes x to the next time (DDIM: Song et al., arXiv 2010.02502, without fresh noise).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..values import COUNT, WHOLE, Rule, check_values, is_number

INPUTS = 7  # channels: RGB, one each for background, unknown and foreground, and the state
MAX_STEPS = 1000
LEAST_GAMMA, LEAST_SIGMA, LEAST_STD = 1e-9, 1e-10, 1e-5  # the authors'
NOISE_ROWS = 64  # are made at once

DIFFUSION_RULES: dict[str, Rule] = {
    "time_channels": COUNT, "embedding_channels": COUNT, "seed": WHOLE,
    "steps": Rule(lambda v: COUNT.holds(v) and v <= MAX_STEPS, f"a whole number from 1 to {MAX_STEPS}"),
    "scale": Rule(lambda v: is_number(v) and 1e-3 <= v <= 1, "a number from 0.001 to 1"),
}


@dataclass(frozen=True)
class DiffusionConfig:
    """How DiffMatte's decoder is told the time, and how it is used.

    Args:
        time_channels: of the sinusoidal embedding of the time.
        embedding_channels: of what every block is given of it.
        steps: the decoder runs so many times; 10 by the authors.
        scale: of the matte in the state; below 1 the state is divided by its standard deviation. 0.2 by the authors.
        seed: of the noise that the steps begin with.

    Raises:
        ValueError: for a value that is not as described; the message names the field.
    """

    time_channels: int = 32
    embedding_channels: int = 32
    steps: int = 10
    scale: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        self.check("DiffusionConfig")

    def check(self, owner: str) -> None:
        """Raises ValueError, whose message begins with `owner`, unless the values are right."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        check_values(owner, values, DIFFUSION_RULES)


@dataclass(frozen=True)
class Step:
    """One step: at a time, the shares of matte and noise in the state, and those in the next one."""

    time: float
    matte: float
    noise: float
    next_matte: float
    next_noise: float

    def next_state(self, state: Tensor, found: Tensor) -> Tensor:
        """The state at the next time, where the decoder says `found` (in -1..1)."""
        noise = (state - self.matte * found) / max(self.noise, LEAST_SIGMA)
        return found * self.next_matte + noise * self.next_noise


def steps_of(config: DiffusionConfig) -> list[Step]:
    """The steps from noise to matte. All values are those of float32, in which the authors compute."""
    times = torch.linspace(1.0, 0.0, config.steps + 1, dtype=torch.float32)
    gamma = (1 - times).clamp(min=LEAST_GAMMA)
    shares = list(zip((gamma.sqrt() * config.scale).tolist(), (1 - gamma).sqrt().tolist(), strict=True))
    return [Step(time, *now, *after) for time, now, after in zip(times.tolist(), shares, shares[1:], strict=False)]


def given_state(state: Tensor, config: DiffusionConfig) -> float:
    """What the decoder's input is multiplied with: 1 / std of the state [H, W]; 1 where the scale is 1."""
    if config.scale >= 1:
        return 1.0
    return 1 / max(float(state.std(correction=0)), LEAST_STD)


def noise(height: int, width: int, seed: int) -> Tensor:
    """Normal noise [H, W], float32 on the CPU, that depends on the seed and a pixel's place alone.

    A pixel at (row, column) has the same noise in a picture of any size and on any device, so it does not matter in
    which tiles, batches or order pixels are computed. Each place is a counter that SplitMix64's finaliser (Steele, Lea
    and Flood, OOPSLA 2014) turns into two uniform numbers, and Box and Muller's formula those into a normal one.
    """
    made = np.empty((height, width), np.float32)
    column = np.arange(width, dtype=np.uint64)
    key = _mixed(np.array([seed % 2**64], np.uint64))
    for top in range(0, height, NOISE_ROWS):
        row = np.arange(top, min(height, top + NOISE_ROWS), dtype=np.uint64)[:, None]
        bits = _mixed(_mixed((row << np.uint64(32)) + column + key) ^ key)
        first = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) / 2**32
        second = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2**32
        made[top:top + NOISE_ROWS] = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    return torch.from_numpy(made)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's next number after the states x, modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def condition(pixel_values: Tensor, height: int, width: int) -> Tensor:
    """What the decoder sees besides the state.

    Args:
        pixel_values: [B, 4, H, W], normalised RGB and trimap, or a rectangle of it.
        height, width: so many of its rows and columns are the picture, the others padding.

    Returns:
        [B, 6, H, W]: RGB and one channel each for background, unknown and foreground, all as 2 v - 1; 0 in the padding.
    """
    trimap = pixel_values[:, 3:4]
    background, foreground = trimap == 0, trimap == 1
    kinds = torch.cat([background, ~(background | foreground), foreground], dim=1).to(pixel_values)
    seen = torch.cat([pixel_values[:, :3], kinds], dim=1) * 2 - 1
    seen[:, :, height:] = 0
    seen[:, :, :, width:] = 0
    return seen
