"""Conjugate gradients for the unknown pixels of one tile.

Source: M. Hestenes, E. Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952. A step from x to x +
length p lowers the squared energy norm of the error, |e|_A^2, by length (r, r), and the squared Euclidean norm |e|^2 by
(|e|_A^2 before + |e|_A^2 after) |p|^2 / (p, A p), their theorem 6:3. Both norms fall in every step. So the last steps,
and a guess of the ones to come, say how far from the solution x was before them (Z. Strakos, P. Tichy, "On error
estimation in the conjugate gradient method and why it works in finite precision computations", ETNA 13, 2002, sections
3 and 5).

There is no preconditioner. The matrix has a diagonal of about 5 nearly everywhere, and dividing by it takes more steps
to the same Euclidean error.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..steps import Step
from . import laplacian
from .blocks import BLOCK, MARGIN, OWN, Blocks, inside, packed_zeros, read, squares, surroundings, write

log = logging.getLogger(__name__)

# The steps that tell what is left: a share of all, and at least one for so many of the square root of the condition, of
# which the steps to the solution are a multiple, and no fewer than FEWEST.
SHARE, ROOTS, FEWEST = 0.2, 6, 8
LARGEST = 9.0  # no eigenvalue of the Laplacian lies above: each of a pixel's nine windows adds at most 1
MOST = 0.98  # what the second half of the last steps lowers, of what the first did, where it is as much or more
MAX_STEPS = 5000  # a bound for what rounding might do; a hundred or two are usual
# Values of a block of a tile: the entries of the Laplacian, its diagonal, the method's four planes, and where its
# surroundings are found.
BLOCK_VALUES = (len(laplacian.OFFSETS) * (BLOCK + MARGIN) * (BLOCK + 2 * MARGIN) + 5 * BLOCK**2
                + (BLOCK + 2 * MARGIN) ** 2)
RUN_VALUES = 4 * (BLOCK + 2 * MARGIN) ** 2  # of a block while it is computed: with its margin, the product, and copies
# Of a block while its entries are made: its colours centred and whitened, 27 each, the entries, and what passes.
MADE_VALUES = (80 + len(laplacian.OFFSETS)) * (BLOCK + 2 * MARGIN) ** 2
DOT_VALUES = 2**18


@dataclass(frozen=True)
class Sizes:
    """How many blocks a tile has at most, are computed at a time, and have their entries made at a time."""

    tile: int
    run: int
    made: int

    @classmethod
    def within(cls, memory_limit: int, dtype: torch.dtype, device: torch.device) -> Sizes:
        """The largest that take so many bytes; on a CPU a run is small enough for its cache."""
        run, made = (256, 64) if device.type == "cpu" else (8192, 512)
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
    def delay(self) -> int:
        """Steps of the method that are looked back on at least."""
        return max(FEWEST, math.ceil(math.sqrt(LARGEST / (self.weight * self.least)) / ROOTS))


@dataclass(frozen=True)
class Tile:
    """The linear system of some blocks: A x = r, where x is what has to be added to the matte.

    Args:
        blocks: the blocks.
        runs: those that are computed at a time.
        around: for each run, where its blocks with their margin lie in a packed plane (`blocks.surroundings`).
        weights: for each run, the entries [12, BLOCK + 2, BLOCK + 4, m] between unknown pixels, off the diagonal; see
            `laplacian.stencil`.
        diagonal: packed (see `blocks`); above 0 at unknown pixels, 0 at known ones, which stay as they are.
        residual: packed, of the matte as it is; 0 at known pixels.
        pixels: unknown ones.
    """

    blocks: Blocks
    runs: list[slice]
    around: list[Tensor]
    weights: list[Tensor]
    diagonal: Tensor
    residual: Tensor
    pixels: int


def tile_of(problem: Problem, alpha: Tensor, blocks: Blocks, dtype: torch.dtype, sizes: Sizes, step: Step) -> Tile:
    """The system of some blocks for a matte [H, W] as it is now, on the device of `blocks.beside`."""
    device, count = blocks.beside.device, len(blocks)
    # Colours are whitened in float64, where the device has it: a window of one colour has a covariance of epsilon.
    fine = torch.float32 if device.type == "mps" else torch.float64
    runs = blocks.runs(sizes.run)
    diagonal, residual = packed_zeros(blocks, dtype), packed_zeros(blocks, dtype)
    weights, pixels = [], 0
    for run in runs:
        held = torch.empty(len(laplacian.OFFSETS), BLOCK + MARGIN, BLOCK + 2 * MARGIN, run.stop - run.start,
                           device=device, dtype=dtype)
        own_diagonal, own_residual = squares(diagonal, run), squares(residual, run)
        for first in range(run.start, run.stop, sizes.made):
            part = slice(first, min(first + sizes.made, run.stop))
            here = slice(first - run.start, part.stop - run.start)
            colours = read(problem.image, blocks, part, MARGIN).to(device, fine).contiguous()
            whole = inside(problem.unknown, blocks, part, margin=1, edge=1).to(device)
            entries, own = laplacian.stencil(colours, whole, dtype)
            now = read(alpha, blocks, part, MARGIN).to(device, dtype)
            given = read(problem.given, blocks, part).to(device, dtype)
            data = (2 * given - 1).square_().add_(problem.least).mul_(problem.weight)
            # The Laplacian of a constant is 0: less one of its own values, a block's matte is rounded less.
            left = data * (given - now[OWN, OWN]) - laplacian.apply(entries, own, now - now[BLOCK // 2, BLOCK // 2])
            unknown = read(problem.unknown, blocks, part, MARGIN) & inside(problem.unknown, blocks, part, margin=MARGIN)
            where = unknown.to(device, dtype)
            laplacian.between(entries, where)
            solved = where[OWN, OWN]
            torch.mul(left, solved, out=own_residual[..., here])
            torch.mul(own + data, solved, out=own_diagonal[..., here])
            held[..., here] = entries
            pixels += int(solved.sum())
            step(part.stop / count)
        weights.append(held)
    around = [surroundings(blocks, run, sizes.run) for run in runs]
    return Tile(blocks, runs, around, weights, diagonal, residual, pixels)


def solve(tile: Tile, tolerance: float, delay: int, step: Step) -> Tensor:
    """Conjugate gradients from 0 until the error's root mean square keeps the tolerance, after `delay` steps at least.

    Returns x, packed. The tile's residual is used up.
    """
    residual, kind = tile.residual, torch.finfo(tile.residual.dtype)
    least = kind.tiny / kind.eps  # sums of squares below lose their digits, and the method its way
    found, product, ahead = torch.zeros_like(residual), torch.zeros_like(residual), residual.clone()
    parts = _parts(tile, product)
    size = ahead_size = _dot(residual, residual)
    allowed, first, done, steps = tolerance**2 * tile.pixels, 0.0, 0.0, list[tuple[float, float]]()
    for _ in range(MAX_STEPS):
        for part, around in zip(parts, tile.around, strict=True):
            torch.index_select(ahead, 0, around, out=part.flat)
            torch.mul(part.diagonal, part.own, out=part.product)
            for entries, values in part.terms:
                part.product.addcmul_(entries, values)
            step(done)
        curvature = _dot(product, ahead)
        if not (curvature > 0 and size > least):  # nothing is left to do
            return found
        length = size / curvature
        found.add_(ahead, alpha=length)
        residual.sub_(product, alpha=length)
        steps.append((length * size, ahead_size / curvature))
        if len(steps) >= delay:
            estimate = _squared_error(steps[-max(delay, int(SHARE * len(steps))):])
            if estimate <= allowed:
                return found
            first = first or estimate
            done = max(done, min(1.0, math.log(first / estimate) / math.log(first / allowed)))
        size, before = _dot(residual, residual), size
        turn = size / before
        torch.add(residual, ahead, alpha=turn, out=ahead)
        ahead_size = size + turn**2 * ahead_size  # a residual is orthogonal to the directions before it
    log.warning("the refinement was stopped after %d steps, %.1g times as far from the solution as asked for",
                MAX_STEPS, math.sqrt(estimate / allowed))
    return found


@dataclass(frozen=True)
class _Part:
    """A run ready for products with the matrix: views, which would take a fifth of the time if each step made them.

    Args:
        flat: [(BLOCK + 2 MARGIN)^2 m], what is multiplied, with a margin around each block; all runs share its memory.
        own: [BLOCK, BLOCK, m], of it, what is the blocks' own.
        terms: see `laplacian.terms`.
        diagonal, product: [BLOCK, BLOCK, m], of the tile's packed planes.
    """

    flat: Tensor
    own: Tensor
    terms: list[tuple[Tensor, Tensor]]
    diagonal: Tensor
    product: Tensor


def _parts(tile: Tile, product: Tensor) -> list[_Part]:
    """The runs of a tile, whose products are written to the packed plane `product`."""
    side, found = BLOCK + 2 * MARGIN, []
    buffer = product.new_empty(max(len(around) for around in tile.around))
    for run, around, weights in zip(tile.runs, tile.around, tile.weights, strict=True):
        flat = buffer[:len(around)]
        plane = flat.view(side, side, -1)
        found.append(_Part(flat, plane[OWN, OWN], laplacian.terms(weights, plane), squares(tile.diagonal, run),
                           squares(product, run)))
    return found


def _squared_error(last: list[tuple[float, float]]) -> float:
    """|e|^2 before the last steps: of each, by how much it lowered |e|_A^2, and |p|^2 / (p, A p). What later steps will
    lower is taken to go on falling as it did from the first half of these steps to the second."""
    half = len(last) // 2
    energy = _to_come([lowered for lowered, _ in last], half)  # after the step that is looked at, the last one first
    terms = []
    for lowered, ratio in reversed(last):
        terms.append(ratio * (2 * energy + lowered))
        energy += lowered
    terms.reverse()
    return sum(terms) + _to_come(terms, half)


def _to_come(terms: list[float], half: int) -> float:
    """The sum of what follows after positive terms, as a geometric series of halves."""
    first, second = sum(terms[:half]), sum(terms[half:])
    fall = min(second / first, MOST) if first > 0 else 0.0
    return second * fall / (1 - fall)


def _dot(one: Tensor, other: Tensor) -> float:
    """Summed in pieces, so that the rounding of float32 does not grow with the tile."""
    pieces = zip(one.split(DOT_VALUES), other.split(DOT_VALUES), strict=True)
    return sum(float(torch.dot(*piece)) for piece in pieces)


def add_to(alpha: Tensor, tile: Tile, found: Tensor) -> None:
    """Adds a solution to the matte [H, W] at the tile's unknown pixels."""
    for run in tile.runs:
        here = squares(tile.diagonal, run) > 0
        now = read(alpha, tile.blocks, run).to(found)
        write(alpha, now + squares(found, run), here, tile.blocks, run)
