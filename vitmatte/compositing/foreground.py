"""Foreground colours: what the subject's own colour is where a picture shows it mixed with the background.

Multi-level estimation after T. Germer, T. Uelwer, S. Conrad, S. Harmeling, "Fast Multi-Level Foreground Estimation",
ICPR 2020, arXiv 2006.14970. Wanted are smooth colours F and B that explain the picture, I = alpha F + (1 - alpha) B:
each pixel i with its four neighbours j minimises

    |alpha F_i + (1 - alpha) B_i - I_i|^2 + sum_j w_ij (|F_i - F_j|^2 + |B_i - B_j|^2),
    w_ij = SMOOTHNESS + EDGE_WEIGHT |alpha_i - alpha_j|.

With S = sum_j w_ij and the weighted means F', B' of the neighbours' colours, the minimum for fixed neighbours is

    F_i = F' + alpha r,  B_i = B' + (1 - alpha) r,
    r = (I_i - alpha F' - (1 - alpha) B') / (S + alpha^2 + (1 - alpha)^2).

It is applied a few times on each level of a pyramid, from one pixel up, each level beginning with the colours of the
coarser one. What differs from the paper: even rows are updated at once, then odd rows, where the paper goes pixel by
pixel (no loop over pixels, and the result does not depend on the device); and above `COARSE` pixels only blocks
through which the matte's edge runs are updated, because elsewhere one of the colours is the picture's own and the
other cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

import torch
from torch import Tensor

from ..checks import check_picture
from ..plain import plain_results
from ..steps import Step, ignore, of_frame, part, strips
from .relaxation import neighbour_weights, odd_and_even, update

COARSE = 32  # levels up to this many pixels a side get more updates, everywhere
COARSE_UPDATES = 10
UPDATES = 3


@overload
def estimate_foreground(
    image: Tensor,
    alpha: Tensor,
    *,
    return_background: Literal[False] = False,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor: ...
@overload
def estimate_foreground(
    image: Tensor,
    alpha: Tensor,
    *,
    return_background: Literal[True],
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]: ...


@plain_results
def estimate_foreground(
    image: Tensor,
    alpha: Tensor,
    *,
    return_background: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The subject's colours, free of the background's.

    Args:
        image: [B, H, W, 3 or 4] floating point in 0..1 (rounding's and resampling's overshoot, less than 1, is taken as
            it is); a fourth channel is ignored.
        alpha: [B, H, W] or [H, W] in 0..1 (overshoot counts as 0 and 1) or bool, of the same size; one may serve all
            images, or one image all mattes.
        return_background: give the background's colours as well.
        on_progress: called with (steps done, steps in all), also within a frame.
        check_interrupt: called as often; what it raises ends the call.

    Returns:
        The foreground [B, H, W, 3], float32 in 0..1, on the image's device; exactly the picture (overshoot included)
        where alpha is 1, and where alpha is 0 the subject's nearby colours, ever smoother with the distance. With
        `return_background` also the background, likewise, exactly the picture where alpha is 0.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    alpha = check_picture(image, alpha, "alpha")
    frames = max(image.shape[0], alpha.shape[0])
    foreground = torch.empty(frames, *image.shape[1:3], 3, dtype=torch.float32, device=image.device)
    background = torch.empty_like(foreground) if return_background else None
    for i in range(frames):
        step = of_frame(i, frames, on_progress, check_interrupt)
        estimate_frame(image[i % image.shape[0], ..., :3], alpha[i % alpha.shape[0]], foreground[i],
                       None if background is None else background[i], step)
    return foreground if background is None else (foreground, background)


def estimate_frame(
    image: Tensor, alpha: Tensor, foreground: Tensor, background: Tensor | None = None, step: Step = ignore
) -> None:
    """`estimate_foreground` of one frame, without its checks.

    Args:
        image: [H, W, 3].
        alpha: [H, W].
        foreground, background: [H, W, 3], float32: filled with the colours.
        step: called between the parts of the computation.
    """
    step(0)
    colours = torch.empty(3, *alpha.shape, dtype=torch.float32, device=image.device)
    for rows in strips(len(image), part(step, 0, 0.05)):
        colours[:, rows] = image[rows].permute(2, 0, 1)
    found = _estimate(colours, alpha.to(image.device, torch.float32), part(step, 0.05, 0.9))
    for rows in strips(len(image), part(step, 0.9, 1)):
        foreground[rows] = found[:3, rows].permute(1, 2, 0)
        if background is not None:
            background[rows] = found[3:, rows].permute(1, 2, 0)


def _estimate(image: Tensor, alpha: Tensor, step: Step) -> Tensor:
    """[6, H, W]: foreground and background colours of image [3, H, W] by alpha [H, W]."""
    levels = [(image, alpha)]
    while max(alpha.shape) > 1:
        image, alpha = image[:, ::2, ::2].contiguous(), alpha[::2, ::2].contiguous()
        levels.append((image, alpha))
        step(0)
    colours = torch.cat([_mean(*levels[0], step, alpha_is=1), _mean(*levels[0], step, alpha_is=0)]).view(6, 1, 1)
    for level in range(len(levels) - 2, -1, -1):  # one pixel has no neighbours
        image, alpha = levels[level]
        # A level takes four times as long as the one before it; the last three quarters of the work are the last one's.
        here = part(step, 0.25 ** (level + 1), 0.25 ** level)
        coarse = max(alpha.shape) <= COARSE
        weights = neighbour_weights(alpha)
        here(0.05)
        framed = _enlarged(colours, alpha.shape[0], alpha.shape[1], part(here, 0.05, 0.15))
        colours = framed[:, 1:-1, 1:-1]
        _settle(colours, image, alpha, part(here, 0.15, 0.25))
        halves = odd_and_even(image, alpha, weights, coarse, part(here, 0.25, 0.45))
        updates, done = COARSE_UPDATES if coarse else UPDATES, 0
        for _ in range(updates):
            for strips_of_half in halves:
                for strip in strips_of_half:
                    update(framed, strip)
                    done += 1
                    here(0.45 + 0.5 * done / (updates * sum(map(len, halves))))
    _settle(colours, *levels[0], part(step, 0.95, 1))
    return colours


def _mean(image: Tensor, alpha: Tensor, step: Step, *, alpha_is: int) -> Tensor:
    """[3] mean colour where alpha is near 0 or 1, or else weighted by it."""
    share = alpha if alpha_is else 1 - alpha
    sure = (share > 0.9).to(share.dtype)
    weight = sure if bool(sure.any()) else share + 1e-6
    sums = []
    for plane in image:
        step(0)
        sums.append((plane * weight).sum())
    return torch.stack(sums) / weight.sum()


def _enlarged(colours: Tensor, height: int, width: int, step: Step) -> Tensor:
    """[C, h, w] to [C, height + 2, width + 2]: each pixel four times, the inverse of `[::2, ::2]`; a frame of zeros."""
    framed = colours.new_empty(colours.shape[0], height + 2, width + 2)
    for edge in (framed[:, 0], framed[:, -1], framed[..., 0], framed[..., -1]):
        edge.zero_()
    for i, (plane, target) in enumerate(zip(colours, framed, strict=True)):  # fresh memory costs more than the copying
        wide = plane.repeat_interleave(2, dim=1)[:, :width]
        for first in (1, 2):
            rows = target[first:-1:2, 1:-1]
            rows.copy_(wide[:len(rows)])
        step((i + 1) / len(framed))
    return framed


def _settle(colours: Tensor, image: Tensor, alpha: Tensor, step: Step) -> None:
    """Sets what is known: the foreground where alpha is 1, the background where it is 0."""
    for rows in strips(len(alpha), step):
        share, given = alpha[rows], image[:, rows]
        for known, kept in ((share == 1, colours[:3, rows]), (share == 0, colours[3:, rows])):
            torch.where(known, given, kept, out=kept)
