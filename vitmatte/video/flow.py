"""Motion between two frames, without weights: dense Lucas-Kanade on a pyramid, in and around an area alone.

For each pixel x of the first picture I the displacement v minimises, over a window around x,

    sum w |J(x + v) - I(x)|^2,

J being the second picture. With g the gradient of I, a step is

    v <- v - (sum w g g^T + DAMPING)^-1 sum w g (J(x + v) - I),

repeated on each level of a pyramid, from coarse to fine. Source: B. Lucas, T. Kanade, "An Iterative Image Registration
Technique with an Application to Stereo Vision", IJCAI 1981; the gradient stays that of I as in S. Baker, I. Matthews,
"Lucas-Kanade 20 Years On: A Unifying Framework", IJCV 56(3), 2004; the pyramid is J.-Y. Bouguet's (2001).

The weight w is the square of the subject's matte. Where the subject is thin (hair) or blurred, a window shows two
motions at once, its own and the background's; a matte moves with the subject, so its motion is looked for. DVM (arXiv
2104.11208) warns that flow cannot be relied on in such regions: whoever uses it must test it (see `trust`).

Motion over many frames turns and enlarges the subject. Its affine part A(x) = c + L x, fitted to what is known of it,
is then kept apart: a step, found in the first picture's directions, is (I + L) times as above (as in the inverse
compositional form of Baker and Matthews), and only v - A is averaged over neighbours and extended beyond the subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..plain import plain_results
from .field import Flow, sample
from .frames import check_frame, planes_of
from .stencils import gradient, mean_around
from .tiles import CELL, Tiles

LARGE = 320  # pixels of the shorter side: pictures from here on are looked at in half their size at most
COARSEST = 24  # pixels of the shorter side of the coarsest level
WINDOW = 3  # cells of a window
SMOOTH = 3  # cells over which displacements are averaged after a step, by their weight
STEPS = (6, 4, 3, 2)  # from the coarsest level on; the last holds for all others
DAMPING = 2e-5  # squared value a pixel: noise of 1/255 has 1.5e-5
LONGEST = 1.5  # pixels of a level that one step goes at most
FLOOR = 1e-6  # the weight of what is no subject
NEARLY = 4.0  # pixels of the frame that motion which is nearly right may be off
OWN = 1e-3  # the mass of a cell from which on its own displacement counts more than that of those around it
WHOLE = 2  # levels from this one on are computed everywhere; finer ones in and around the area


@dataclass(frozen=True)
class Levels:
    """The pictures of a frame, [1, 3, h, w], from the finest looked at to the coarsest; size: the frame's (H, W)."""

    pictures: list[Tensor]
    size: tuple[int, int]


@plain_results
def levels_of(image: Tensor) -> Levels:
    """The pyramid of a frame.

    Args:
        image: [H, W, 3 or 4], floating point in 0..1; a fourth channel is left out.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for another shape, type or range.
    """
    image, _ = check_frame(image, {})
    return pyramid_of(planes_of(image))


def pyramid_of(picture: Tensor) -> Levels:
    """The pyramid of a frame [1, 3, H, W] that has been checked."""
    from kornia.geometry.transform import pyrdown

    size = int(picture.shape[2]), int(picture.shape[3])
    if min(size) >= LARGE:
        picture = F.avg_pool2d(picture, 2)
    pictures = [picture]
    while min(pictures[-1].shape[-2:]) >= 2 * COARSEST:
        pictures.append(pyrdown(pictures[-1]))
    return Levels(pictures, size)


@plain_results
def flow_between(
    first: Levels, second: Levels, *, area: Tensor | None = None, weight: Tensor | None = None,
    second_weight: Tensor | None = None, start: Flow | None = None,
) -> Flow:
    """Motion from the first frame to the second.

    Args:
        first, second: of frames of one size, from `levels_of`.
        area: [H, W], bool, where it is needed; beyond it motion is known coarsely. None for everywhere.
        weight: [H, W], the matte of the first frame: the subject's motion is looked for.
        second_weight: the same of the second frame, where the first has no matte yet.
        start: motion that is nearly right: it is refined on the finest levels alone, by NEARLY on each at most. It may
            turn and enlarge.

    Raises:
        ValueError: frames, an area, weights or a start of several sizes, or weights that are not finite.
    """
    for name, found_size in (("second", second.size), ("area", None if area is None else tuple(area.shape)),
                             ("weight", None if weight is None else tuple(weight.shape)),
                             ("second_weight", None if second_weight is None else tuple(second_weight.shape)),
                             ("start", None if start is None else start.size)):
        if found_size not in (None, first.size):
            raise ValueError(f"{name} is of size {found_size} and the first frame {first.size} (height, width); "
                             "expected one size for all")
    for name, plane in (("weight", weight), ("second_weight", second_weight)):
        if plane is not None and not bool(plane.sum().isfinite()):
            raise ValueError(f"{name} has values that are not finite (NaN or infinite)")
    device = first.pictures[0].device
    shares = [_reduced(plane, first) for plane in (weight, second_weight)]
    found = start
    last = len(first.pictures) - 1 if start is None else min(WHOLE - 1, len(first.pictures) - 1)
    for level in range(last, -1, -1):
        picture, other = first.pictures[level], second.pictures[level]
        size = int(picture.shape[2]), int(picture.shape[3])
        down, right = first.size[0] / size[0], first.size[1] / size[1]  # the frame's pixels in one of the level
        tiles = Tiles(size, area if level < WHOLE else None, device)
        v = torch.zeros(1, 2, *tiles.cells, dtype=torch.float32, device=device)
        if found is not None:
            x, y = tiles.middles()
            x, y = found.at((x + 0.5) * right - 0.5, (y + 0.5) * down - 0.5)
            v = torch.stack([x / right, y / down]).unsqueeze(0)
        steps = STEPS[min(len(first.pictures) - 1 - level, len(STEPS) - 1)]
        cells = _refined(picture, other, v, shares[0][level], shares[1][level], tiles, steps,
                         None if start is None else NEARLY / down)
        cells = torch.stack([cells[:, 0] * right, cells[:, 1] * down], 1)
        found = Flow(cells, (tiles.padded[0] * down, tiles.padded[1] * right), first.size)
    assert found is not None
    return found


def _reduced(plane: Tensor | None, levels: Levels) -> Sequence[Tensor | None]:
    """A plane [H, W] in the sizes of the levels' pictures, [1, 1, h, w] each; all None without one."""
    if plane is None:
        return [None] * len(levels.pictures)
    found = [plane[None, None].float()]
    if found[0].shape[2:] != levels.pictures[0].shape[2:]:
        found = [F.avg_pool2d(found[0], 2)]
    while len(found) < len(levels.pictures):
        found.append(F.avg_pool2d(found[-1], 2))
    return found


def _refined(
    picture: Tensor, other: Tensor, v: Tensor, weight: Tensor | None, other_weight: Tensor | None, tiles: Tiles,
    steps: int, nearly: float | None,
) -> Tensor:
    """The displacements v, [1, 2, cells down, across] in pixels of a level, after some steps on its tiles.

    Of all steps, each cell keeps the displacement that left the least difference in its window.

    Args:
        picture, other: [1, 3, h, w].
        weight, other_weight: [1, 1, h, w], of the picture and of the other one.
        nearly: pixels of the level: v is right but for so many; where steps lead further away, it stays. None where
            nothing is known of v.
    """
    if not len(tiles):
        return v

    def window(*planes: Tensor) -> Tensor:
        return mean_around(tiles.pooled(torch.stack(planes, 1)), WINDOW)

    def moved(planes: Tensor, by: Tensor) -> Tensor:
        return sample(planes, tiles.x + by[:, 0], tiles.y + by[:, 1]).transpose(0, 1)  # [N, C, T, T]

    framed = tiles.cut(picture, halo=1)
    mine = framed[..., 1:-1, 1:-1]
    share = torch.ones_like(mine[:, :1])
    if weight is not None:
        share = tiles.cut(weight)
    elif other_weight is not None:
        share = moved(other_weight, tiles.dense(v))
    share = share.square().clamp_(min=FLOOR) * tiles.inside
    gx, gy = gradient(framed)
    wx, wy = gx * share, gy * share
    sums = window((wx * gx).sum(1), (wx * gy).sum(1), (wy * gy).sum(1), share[:, 0])
    damping = DAMPING * sums[:, 3] + 1e-12
    a, b, d = sums[:, 0] + damping, sums[:, 1], sums[:, 2] + damping
    scale = 1 / (a * d - b * b)
    mass = tiles.pooled(share) + 1e-9
    spread = mean_around(mass, SMOOTH)
    base, turn = _affine(v, mass) if nearly is not None else (
        torch.zeros_like(v), torch.eye(2, dtype=v.dtype, device=v.device))
    begun, best, least = v, v, torch.full_like(a, float("inf"))
    for step in range(steps + 1):
        rest = moved(other, tiles.dense(v)) - mine
        sums = window((wx * rest).sum(1), (wy * rest).sum(1), (rest * rest).sum(1) * share[:, 0])
        better = sums[:, 2] <= least
        best, least = torch.where(better[:, None], v, best), torch.where(better, sums[:, 2], least)
        if step == steps:
            break
        p, q = sums[:, 0], sums[:, 1]
        way = torch.stack([(d * p - b * q) * scale, (a * q - b * p) * scale], 1).clamp_(-LONGEST, LONGEST)
        if nearly is not None:
            way = torch.einsum("ij,njhw->nihw", turn, way)
        v = base + mean_around((v - way - base) * mass, SMOOTH) / spread
    if nearly is not None:
        best = torch.where((best - begun).norm(dim=1, keepdim=True) <= nearly, best, begun)
    return best if weight is None and other_weight is None else base + _extended(best - base, mass)


def _affine(v: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """The affine motion c + L x nearest to displacements v [1, 2, h, w] of cells, by least squares weighted with mass
    [1, 1, h, w]; L is drawn to 0 as by a point mass spread over one cell.

    Returns:
        The motion at the cells, [1, 2, h, w], and I + L, [2, 2], by which it maps differences of positions.
    """
    down, across = v.shape[-2:]
    y, x = (torch.arange(side, dtype=torch.float32, device=v.device) * CELL for side in (down, across))
    share, values = (mass / mass.sum()).flatten(), v[0].flatten(1)  # [N], [2, N]
    points = torch.stack([x.expand(down, across), y[:, None].expand(down, across)]).flatten(1)
    points = points - (points * share).sum(1, keepdim=True)
    mean = (values * share).sum(1, keepdim=True)
    (a, b), (_, d) = (points * share) @ points.T
    a, d = a + CELL * CELL, d + CELL * CELL
    inverse = torch.stack([torch.stack([d, -b]), torch.stack([-b, a])]) / (a * d - b * b)
    linear = ((values - mean) * share) @ points.T @ inverse
    return (mean + linear @ points).view_as(v), torch.eye(2, dtype=v.dtype, device=v.device) + linear


def _extended(v: Tensor, mass: Tensor) -> Tensor:
    """Displacements [1, 2, h, w] where the mass [1, 1, h, w] is, and beyond it what they go on to.

    Means by mass over ever larger squares fill in for what has little: each cell is (mass v + OWN u) / (mass + OWN), u
    being the same of the squares of twice the side.
    """
    pairs = [(v * mass, mass)]
    while max(pairs[-1][1].shape[-2:]) > 1:
        top, weight = pairs[-1]
        pairs.append((F.avg_pool2d(top, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)))
    top, weight = pairs.pop()
    found = top / weight
    for top, weight in reversed(pairs):
        wider = F.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
        wider = wider[..., :top.shape[2], :top.shape[3]]
        found = (top + OWN * wider) / (weight + OWN)
    return found
