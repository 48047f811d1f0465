"""Conjugate gradients for the unknown pixels of one tile.

Source: M. Hestenes, E. Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952, preconditioned with
the diagonal. Each step of the method lowers the energy-norm error |e|_A^2 by alpha (r, z), so the steps of the last
`DELAY` say how far from the solution it was `DELAY` steps ago, as far as the ones to come are small beside them (Z.
Strakos, P. Tichy, "On error estimation in the conjugate gradient method and why it works in finite precision
computations", ETNA 13, 2002). No eigenvalue of A = L + D lies below the least weight d of the data D, since the
Laplacian L has none below 0, hence |e|_2 <= |e|_A / sqrt(d).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from ..steps import Step
from . import laplacian
from .blocks import BLOCK, MARGIN, Blocks, inside, read, with_margin, write

log = logging.getLogger(__name__)

DELAY = 16
MAX_STEPS = 5000  # a bound for what rounding might do; some hundred are usual

# Values of a block of a tile: the entries of the Laplacian, its diagonal and the inverse, and the method's four planes.
BLOCK_VALUES = len(laplacian.OFFSETS) * (BLOCK + MARGIN) * (BLOCK + 2 * MARGIN) + 6 * BLOCK**2
RUN_VALUES = 4 * (BLOCK + 2 * MARGIN) ** 2  # of a block while it is computed: with its margin, the product, and copies
# Of a block while its entries are made: its colours centred and whitened, 27 each, the entries, and what passes.
MADE_VALUES = (80 + len(laplacian.OFFSETS)) * (BLOCK + 2 * MARGIN) ** 2


@dataclass(frozen=True)
class Sizes:
    """How many blocks a tile has at most, are computed at a time, and have their entries made at a time."""

    tile: int
    run: int
    made: int

    @classmethod
    def within(cls, memory_limit: int, dtype: torch.dtype, device: torch.device) -> Sizes:
        """The largest that take so many bytes; on a CPU a run is small enough for its cache."""
        run, made = (128, 8) if device.type == "cpu" else (2048, 128)
        run = max(8, min(run, memory_limit // 8 // (RUN_VALUES * dtype.itemsize)))
        made = max(1, min(made, memory_limit // 2 // (MADE_VALUES * 8)))
        left = memory_limit - run * RUN_VALUES * dtype.itemsize - made * MADE_VALUES * 8
        return cls(max(1, left // (BLOCK_VALUES * dtype.itemsize)), run, made)


@dataclass(frozen=True)
class Problem:
    """What is minimised: L of the picture, and the data w (alpha - given)^2 with w = weight (least + (2 given - 1)^2).

    Args:
        image: [H, W, 3].
        given: [H, W], the matte that the data holds to.
        unknown: [H, W], bool.
        weight, least: of the data.
        tolerance: of the root mean square of alpha's error.
    """

    image: Tensor
    given: Tensor
    unknown: Tensor
    weight: float
    least: float
    tolerance: float

    @property
    def allowed(self) -> float:
        """Squared energy-norm error of a pixel that keeps the tolerance."""
        return self.tolerance**2 * self.weight * self.least


@dataclass(frozen=True)
class Tile:
    """The linear system of some blocks: A x = r, where x is what has to be added to the matte.

    Args:
        blocks: the blocks.
        runs: those that are computed at a time.
        weights: for each run, the entries [12, m, BLOCK + 2, BLOCK + 4] off the diagonal; see `laplacian.stencil`.
        diagonal: [M, BLOCK, BLOCK].
        inverse: [M, BLOCK, BLOCK], of the diagonal, 0 at known pixels: directions are 0 there, so that they stay as
            they are, though the matrix has entries for them.
        residual: [M, BLOCK, BLOCK], of the matte as it is.
        pixels: unknown ones.
    """

    blocks: Blocks
    runs: list[slice]
    weights: list[Tensor]
    diagonal: Tensor
    inverse: Tensor
    residual: Tensor
    pixels: int


def tile_of(problem: Problem, alpha: Tensor, blocks: Blocks, dtype: torch.dtype, sizes: Sizes, step: Step) -> Tile:
    """The system of some blocks for a matte [H, W] as it is now, on the device of `blocks.beside`."""
    device, count = blocks.beside.device, len(blocks)
    # Entries are made in float64, where the device has it: a window of one colour has a covariance of epsilon.
    fine = torch.float32 if device.type == "mps" else torch.float64
    runs = blocks.runs(sizes.run)
    diagonal, inverse, residual = (torch.empty(count, BLOCK, BLOCK, device=device, dtype=dtype) for _ in range(3))
    weights, pixels = [], 0
    for run in runs:
        held = torch.empty(len(laplacian.OFFSETS), run.stop - run.start, BLOCK + MARGIN, BLOCK + 2 * MARGIN,
                           device=device, dtype=dtype)
        for first in range(run.start, run.stop, sizes.made):
            part = slice(first, min(first + sizes.made, run.stop))
            colours = read(problem.image, blocks, part, MARGIN).to(device, fine)
            whole = inside(problem.unknown, blocks, part, margin=1, edge=1).to(device)
            entries, own = laplacian.stencil(colours, whole)
            now = read(alpha, blocks, part, MARGIN).to(device, fine)
            given = read(problem.given, blocks, part).to(device, fine)
            data = (2 * given - 1).square_().add_(problem.least).mul_(problem.weight)
            here = (read(problem.unknown, blocks, part) & inside(problem.unknown, blocks, part)).to(device)
            left = data * (given - now[:, MARGIN:-MARGIN, MARGIN:-MARGIN]) - laplacian.apply(entries, own, now)
            residual[part] = left * here
            diagonal[part] = own = (own + data) * here
            inverse[part] = torch.where(here, own.reciprocal(), 0)
            pixels += int(here.sum())
            held[:, first - run.start:part.stop - run.start] = entries
            step(part.stop / count)
        weights.append(held)
    return Tile(blocks, runs, weights, diagonal, inverse, residual, pixels)


def solve(tile: Tile, problem: Problem, step: Step) -> tuple[Tensor, float]:
    """Conjugate gradients from 0 until the error keeps the tolerance; the tile's residual is used up.

    Returns:
        (x [M, BLOCK, BLOCK], by how much it lowers the squared energy-norm error).
    """
    residual = tile.residual
    found = torch.zeros_like(residual)
    ahead = residual.new_zeros(len(residual) + 1, BLOCK, BLOCK)  # the direction; last, the block that is not there
    product = torch.empty_like(residual)
    size = _prepare(tile, ahead, 0.0)
    last: deque[float] = deque(maxlen=DELAY)
    lowered, allowed, first, done = 0.0, problem.allowed * tile.pixels, 0.0, 0.0
    for _ in range(MAX_STEPS):
        curvature = 0.0
        for run, weights in zip(tile.runs, tile.weights, strict=True):
            plane = with_margin(ahead, tile.blocks, run)
            product[run] = laplacian.apply(weights, tile.diagonal[run], plane)
            curvature += _dot(product[run], ahead[run])
            step(done)
        if not curvature > 0:  # nothing is left to do
            return found, lowered
        length = size / curvature
        for run in tile.runs:
            found[run].add_(ahead[run], alpha=length)
            residual[run].sub_(product[run], alpha=length)
        last.append(length * size)
        lowered += last[-1]
        estimate = sum(last)
        if len(last) == DELAY:
            if estimate <= allowed:
                return found, lowered
            first = first or estimate
            done = max(done, min(1.0, math.log(first / estimate) / math.log(first / allowed)))
        size = _prepare(tile, ahead, size)
    log.warning("the refinement was stopped after %d steps, %.1g times as far from the solution as asked for",
                MAX_STEPS, math.sqrt(estimate / allowed))
    return found, lowered


def _prepare(tile: Tile, ahead: Tensor, before: float) -> float:
    """Makes the next direction in `ahead`, z + (r, z) / before * ahead with z = r / diagonal; returns (r, z)."""
    size = 0.0
    for run in tile.runs:
        size += _dot(tile.residual[run], tile.residual[run] * tile.inverse[run])
    turn = size / before if before else 0.0
    for run in tile.runs:
        ahead[run].mul_(turn).addcmul_(tile.residual[run], tile.inverse[run])
    return size


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one.reshape(-1), other.reshape(-1)))


def add_to(alpha: Tensor, tile: Tile, found: Tensor) -> None:
    """Adds a solution to the matte [H, W] at the tile's unknown pixels."""
    for run in tile.runs:
        here = tile.inverse[run] > 0
        now = read(alpha, tile.blocks, run).to(found)
        write(alpha, now + found[run], here, tile.blocks, run)
