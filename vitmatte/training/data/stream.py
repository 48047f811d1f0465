"""Batches of composites, made by worker processes ahead of time, and addressable: batch n of a run is always the same.

Sample j of step n comes from the random generator seeded [seed, n, j], so that a run that is resumed at step n goes
on exactly as if it had never stopped, with any number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..recipe import Crops, Recipe
from .composites import Compositor

# Signals that end a run after the step at hand.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AHEAD = 6  # batches per worker
Address = tuple[int, int, int]  # step, place in the batch, side of the crop
Batch = tuple[Tensor, Tensor, Tensor]


class Composites(Dataset[Batch]):
    """Samples by address: image [S, S, 3], alpha [S, S] and trimap [S, S], uint8."""

    def __init__(self, compositor: Compositor, seed: int) -> None:
        self.compositor, self.seed = compositor, seed

    def __getitem__(self, address: Address) -> Batch:
        step, place, size = address
        sample = self.compositor.sample(size, np.random.default_rng([self.seed, step, place]))
        image, alpha, trimap = (np.ascontiguousarray(x) for x in (sample.image, sample.alpha, sample.trimap))
        return torch.from_numpy(image), torch.from_numpy(alpha), torch.from_numpy(trimap)


class Addresses:
    """The addresses of every batch from a step on, without end or up to `last`; and of which kind each is, in order,
    in `kinds`."""

    def __init__(self, recipe: Recipe, first: int, last: int | None) -> None:
        self.recipe, self.first, self.last = recipe, first, last
        self.kinds: deque[Crops] = deque()

    def __iter__(self) -> Iterator[list[Address]]:
        step = self.first
        while self.last is None or step < self.last:
            crops = crops_of(self.recipe, step)
            self.kinds.append(crops)
            yield [(step, place, crops.size) for place in range(crops.batch)]
            step += 1


def crops_of(recipe: Recipe, step: int) -> Crops:
    """The kind of batch of a step."""
    among = recipe.crops_at(step)
    weights = np.array([crops.weight for crops in among])
    rng = np.random.default_rng([recipe.seed, step, 2**31])
    return among[int(rng.choice(len(among), p=weights / weights.sum()))]


def _at_work(_: int) -> None:
    """Sets up a worker: one thread; signals to the whole process group are left to the parent, which ends it."""
    torch.set_num_threads(1)
    for name in STOPS:
        signal.signal(name, signal.SIG_IGN)


def batches(
    compositor: Compositor, recipe: Recipe, first: int, last: int | None
) -> Iterator[tuple[Crops, Batch]]:
    """The batches of steps `first` to `last` (None: without end), in order, each after its kind."""
    how: dict[str, Any] = {}
    if recipe.workers:
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
        how = {"prefetch_factor": AHEAD, "multiprocessing_context": method, "worker_init_fn": _at_work}
    data = Composites(compositor, recipe.seed)
    addresses = Addresses(recipe, first, last)
    for batch in DataLoader(data, batch_sampler=addresses, num_workers=recipe.workers, **how):
        yield addresses.kinds.popleft(), batch


def net_input(image: Tensor, trimap: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 image [B, S, S, 3] and trimap [B, S, S] to [B, 4, S, S], as `processing.Preprocessing` does."""
    normal = (image.float() / 255 - mean) / std
    guide = torch.where(trimap == 128, 0.5, trimap.float() / 255)
    return torch.cat([normal, guide.unsqueeze(-1)], dim=-1).permute(0, 3, 1, 2)
