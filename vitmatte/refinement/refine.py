"""A matte in line with the picture's colours: closed-form matting that holds to the net's alpha.

Of all mattes with the known pixels as the trimap says, the one is taken that makes

    strength * alpha' L alpha + DATA * sum_i (LEAST + (2 a_i - 1)^2) (alpha_i - a_i)^2

least, where L is the matting Laplacian (`laplacian`) and a the matte given. Where the net is sure, near 0 and 1, it is
held to more than where it is not. A strength of 0 gives the matte itself.

A tile takes `BLOCK_BYTES` for each block in which a pixel is unknown. What fits is solved at once. A picture with more
is cut into tiles that overlap, each solved with its surroundings as they are, again and again until what further
rounds would change is within the tolerance (multiplicative Schwarz), so that the result is the whole picture's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import as_device, check_can_compute, check_number, check_picture
from ..plain import plain_results
from ..steps import Step, ignore, of_frame, part, strips
from ..trimap.known import known_areas
from .blocks import Blocks, blocks_in, occupied_blocks, rectangles
from .solve import Problem, Sizes, add_to, solve, tile_of

log = logging.getLogger(__name__)

DATA = 0.01  # chosen on composites of validation pictures: benchmarks/results/refine.md
LEAST = 0.05
TOLERANCE = 1 / 255  # a step of 8 bits
MIN_TOLERANCE = 1e-12  # of alpha in float64
TOLERANCES = f"a number from {MIN_TOLERANCE:g} to 1"
MAX_STRENGTH = 100.0
MEMORY = 256 * 2**20
MIN_MEMORY = 16 * 2**20
OVERLAP = 2  # blocks
MAX_ROUNDS = 50
MOST = 0.95  # of what a round changed, what the next one changes, where it is as much or more


@plain_results
def refine_matte(
    image: Tensor,
    alpha: Tensor,
    trimap: Tensor,
    *,
    strength: float = 1.0,
    tolerance: float = TOLERANCE,
    memory_limit: int | None = None,
    device: torch.device | str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """A matte, brought into line with the picture's colours in the unknown area.

    Args:
        image: [B, H, W, 3 or 4] floating point in 0..1 (a fourth channel is ignored).
        alpha: [B, H, W] or [H, W] in 0..1, the matte to refine, such as `matte` gives.
        trimap: [B, H, W] or [H, W] in 0..1: 0 background, 1 foreground (an 8-bit step from either is still that),
            anything between unknown. Sizes are equal; of image, alpha and trimap there may be one for all of the
            others.
        strength: 0 for the matte as it is, 1 for what was best on validation composites; up to 100. Twice the strength
            gives the colours twice the weight against the matte.
        tolerance: root mean square of alpha's error against the exact solution, from 1e-12 to 1. Below 1e-5 the
            rounding of float32 is larger: with alpha in float64 it is computed in float64, where the device has it.
        memory_limit: bytes that may be taken besides the tensors given and the result, at least 16 MiB; None for
            256 MiB. Less is slower, and the same within the tolerance.
        device: where it is computed; None for where the picture is.
        on_progress: called with (steps done, steps in all), also within a frame.
        check_interrupt: called as often; what it raises ends the call.

    Returns:
        [B, H, W] float32 on the image's device: exactly 0 and 1 where the trimap is known, and where it is unknown the
        solution, of which what lies outside of 0..1 is brought to 0 and 1.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    alpha, trimap = check_picture(image, alpha, "alpha"), check_picture(image, trimap, "trimap")
    counts = {len(image), len(alpha), len(trimap)} - {1}
    if len(counts) > 1:
        raise ValueError(f"{len(image)} of image, {len(alpha)} of alpha and {len(trimap)} of trimap: expected as many, "
                         "or one of any")
    strength = check_strength("strength", strength)
    if not MIN_TOLERANCE <= check_number("tolerance", tolerance, TOLERANCES) <= 1:
        raise ValueError(f"tolerance is {tolerance!r:.60}; expected {TOLERANCES}")
    limit = MEMORY if memory_limit is None else check_number("memory_limit", memory_limit, "a number of bytes")
    if limit < MIN_MEMORY:
        raise ValueError(f"memory_limit is {memory_limit} bytes; a refinement takes at least {MIN_MEMORY}")
    where = as_device(device) or image.device
    if device is not None:
        check_can_compute(where)
    frames = counts.pop() if counts else 1
    result = torch.empty(frames, *image.shape[1:3], dtype=torch.float32, device=image.device)
    for i in range(frames):
        step = of_frame(i, frames, on_progress, check_interrupt)
        refine_frame(image[i % len(image), ..., :3], alpha[i % len(alpha)].to(image.device),
                     trimap[i % len(trimap)].to(image.device), result[i], strength=strength, tolerance=tolerance,
                     memory_limit=int(limit), device=where, step=step)
    return result


def check_strength(name: str, strength: object) -> float:
    """The strength as a float; ValueError unless it is a number from 0 to `MAX_STRENGTH`."""
    what = f"a number from 0 (off) to {MAX_STRENGTH:g}; 1 is usual"
    number = check_number(name, strength, what)
    if number > MAX_STRENGTH:
        raise ValueError(f"{name} is {strength!r:.60}; expected {what}")
    return number


def refine_frame(
    image: Tensor, alpha: Tensor, trimap: Tensor, out: Tensor, *, strength: float, memory_limit: int,
    device: torch.device, tolerance: float = TOLERANCE, step: Step = ignore,
) -> None:
    """`refine_matte` of one frame, without its checks.

    Args:
        image: [H, W, 3].
        alpha, trimap: [H, W], on the image's device.
        out: [H, W], float32, filled with the result; not alpha itself.
    """
    step(0)
    unknown = torch.empty(trimap.shape, dtype=torch.bool, device=image.device)
    now = torch.empty_like(out, dtype=torch.float64) if alpha.dtype == torch.float64 else out
    for rows in strips(len(trimap), lambda _: step(0)):
        foreground, background = known_areas(trimap[rows])
        unknown[rows] = ~(foreground | background)
        now[rows] = alpha[rows]
        now[rows].masked_fill_(background, 0.0).masked_fill_(foreground, 1.0)
    if strength > 0 and bool(unknown.any()):
        problem = Problem(image, alpha, unknown, DATA / strength, LEAST, tolerance)
        _solve_tiles(problem, now, memory_limit, device, part(step, 0, 0.99))
    for rows in strips(len(out), lambda _: step(0.99)):
        out[rows] = now[rows].clamp(0, 1)
    step(1)


def _solve_tiles(problem: Problem, alpha: Tensor, memory_limit: int, device: torch.device, step: Step) -> None:
    """Adds to a matte [H, W] what the problem's solution differs by, tile by tile."""
    kind = torch.float64 if alpha.dtype == torch.float64 and device.type != "mps" else torch.float32
    sizes = Sizes.within(memory_limit, kind, device)
    occupied = occupied_blocks(problem.unknown)
    tiles = rectangles(occupied, sizes.tile, OVERLAP)
    overlap = OVERLAP if len(tiles) > 1 else 0
    # What is asked for is shared by the tiles, of which each is solved so far, and the rounds, which end there.
    asked = problem.tolerance if len(tiles) == 1 else problem.tolerance / 2
    before = math.inf
    for number in range(MAX_ROUNDS):
        changed, pixels = 0.0, 0
        for i, rectangle in enumerate(tiles):
            # The first round takes most of the time; how many follow is not known before.
            begin, end = ((2 - 0.5**number + k * 0.5**number / len(tiles)) - 1 for k in (i, i + 1))
            here = part(step, begin, end) if len(tiles) > 1 else step
            blocks = blocks_in(occupied, rectangle.grown(overlap, *occupied.shape), device)
            by, unknown = _solve_tile(problem, alpha, blocks, kind, sizes, asked, here)
            changed, pixels = changed + by, pixels + unknown
        change = math.sqrt(changed)
        # What the rounds to come will change falls from round to round as it did last: a geometric series.
        fall = min(change / before, MOST) if number else MOST
        if len(tiles) == 1 or change * fall / (1 - fall) <= asked * math.sqrt(pixels):
            return
        before = change
    log.warning("the tiles of the refinement still differ after %d rounds", MAX_ROUNDS)


def _solve_tile(problem: Problem, alpha: Tensor, blocks: Blocks, kind: torch.dtype, sizes: Sizes, tolerance: float,
                step: Step) -> tuple[float, int]:
    """Adds a tile's solution to the matte; (the sum of its squares, unknown pixels). The tile's memory is free when it
    returns."""
    tile = tile_of(problem, alpha, blocks, kind, sizes, part(step, 0, 0.1))
    found = solve(tile, tolerance, problem.delay, part(step, 0.1, 1))
    add_to(alpha, tile, found)
    return float(found.square().sum()), tile.pixels
