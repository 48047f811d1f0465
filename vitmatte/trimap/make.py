"""Trimaps: what is surely foreground (1), surely background (0), and unknown (0.5).

A pixel is unknown when it is soft in the mask, or when it is nearer to the mask's edge than a radius; `distance` says
how that is measured.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..checks import (
    LOAD_IMAGE_HINT,
    TOLERANCE,
    check_choice,
    check_image,
    check_number,
    check_plane,
    is_load_image_mask,
    unequal,
)
from ..plain import plain_results
from ..steps import Step, ignore, of_frame, part
from .components import small_areas
from .distance import within, within_contour
from .known import UNKNOWN, lacking
from .strands import strands_near

logger = logging.getLogger(__name__)

Unit = Literal["pixels", "percent"]
UNITS: tuple[Unit, ...] = ("pixels", "percent")
INNER, OUTER = 10.0, 20.0  # pixels


@plain_results
def make_trimap(
    mask: Tensor,
    *,
    inner: float = INNER,
    outer: float = OUTER,
    unit: Unit = "pixels",
    invert: bool = False,
    low: float = 0.0,
    high: float = 1.0,
    fill_holes: int = 0,
    remove_specks: int = 0,
    image: Tensor | None = None,
    strands: float = 0.0,
    unknown: Tensor | None = None,
    foreground: Tensor | None = None,
    background: Tensor | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """A trimap from a rough mask, a soft one, or a matte to refine.

    Args:
        mask: [B, H, W] or [H, W], floating point or bool, 0 = background to 1 = foreground. Here and below, rounding's
            and resampling's overshoot (less than 1) counts as 0 and 1, and is taken as it is of pictures.
        inner: how far the unknown area reaches from the mask's edge into the foreground; fractions allowed.
        outer: how far it reaches into the background.
        unit: of inner, outer and strands: "pixels", or "percent" of the subject's size in each frame, which is the
            side of a square of the subject's area.
        invert: the mask is the other way round, 1 = background (ComfyUI's LoadImage gives such of pictures with
            transparency).
        low, high: mask values up to `low` are background, from `high` on foreground (an 8-bit step from 0 and 1 is
            still that), and between them unknown; distances then count from pixel centre to pixel centre. With both
            the same, as 0.5 and 0.5, no value is unknown: the mask is taken as a hard shape drawn with smooth edges,
            and distances count from the place between the pixels where it crosses the value, to 1/64 pixel.
        fill_holes: areas of the mask that are not foreground, up to so many pixels each, become foreground.
        remove_specks: areas that are not background, up to so many pixels each, become background.
        image: [B, H, W, 3 or 4], floating point in 0..1, for `strands`: the pictures that belong to the masks, or
            one of either for all of the other.
        strands: so much further the unknown area may reach where fine strands (hair, fur) in the image run on from it
            into the background.
        unknown, foreground, background: [B, H, W] or [H, W] in 0..1, of the mask's size: where at least 0.5, the
            trimap is that, whatever the mask says. Foreground and background overrule unknown.
        on_progress: called with (steps done, steps in all), also within a frame.
        check_interrupt: called as often; what it raises ends the call.

    Returns:
        Shape of the mask, float32: 0, 0.5 (unknown) or 1; with strands and one mask for several pictures, [B, H, W].
        The picture's border is no edge. What a frame lacks (see `lacking`) is logged as a warning and no error, since
        in a video a subject may come and go.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for another shape, type or range, no pixels, values that
            are not finite, radii or areas below 0, low above high, strands without an image, or places marked both
            foreground and background.
    """
    mask = check_plane(mask, "mask")
    inner, outer, strands, low, high = check_options(
        inner=inner, outer=outer, strands=strands, unit=unit, low=low, high=high, fill_holes=fill_holes,
        remove_specks=remove_specks)
    if image is not None or strands > 0:
        mask = _with_image(mask, image, strands)
    marks = [_mark(plane, name, mask) for plane, name in
             ((unknown, "unknown"), (foreground, "foreground"), (background, "background"))]
    if marks[1] is not None and marks[2] is not None and bool((marks[1] & marks[2]).any()):
        raise ValueError("the foreground and background masks overlap: no pixel can be both")
    masks = mask if mask.ndim == 3 else mask.unsqueeze(0)
    found = torch.empty(masks.shape, dtype=torch.float32, device=mask.device)
    for i, values in enumerate(masks.split(1)):
        step = of_frame(i, len(masks), on_progress, check_interrupt)
        step(0)
        values = 1 - values.float() if invert else values.float()
        values = _cleaned(values, low, high, fill_holes, remove_specks, part(step, 0, 0.3))
        picture = None if image is None else image[i % len(image)][None, ..., :3]
        radii = _radii(values, low, high, unit, (inner, outer, strands))
        doubled = doubled_trimap(values, low, high, radii, picture, part(step, 0.3, 0.99))
        torch.mul(doubled[0], 0.5, out=found[i])
        step(1)
    for mark, value in zip(marks, (UNKNOWN, 1.0, 0.0), strict=True):
        if mark is not None:
            found.masked_fill_(mark, value)
    for message in [LOAD_IMAGE_HINT] if is_load_image_mask(mask) else lacking(found):
        logger.warning("trimap: %s", message)
    return found.view(mask.shape)


def check_options(
    *, inner: float, outer: float, strands: float, unit: Unit, low: float, high: float, fill_holes: int,
    remove_specks: int,
) -> tuple[float, float, float, float, float]:
    """inner, outer, strands, low and high as floats; ValueError unless all are as `make_trimap` takes them."""
    inner, outer, strands = (check_number(name, length) for name, length in
                             (("inner", inner), ("outer", outer), ("strands", strands)))
    for name, area in (("fill_holes", fill_holes), ("remove_specks", remove_specks)):
        check_number(name, area)
    check_choice("unit", unit, UNITS)
    low, high = check_number("low", low, "a value in 0..1"), check_number("high", high, "a value in 0..1")
    if not low <= high <= 1:
        raise ValueError(f"low is {low!r} and high {high!r}; expected 0 <= low <= high <= 1")
    return inner, outer, strands, low, high


def doubled_trimap(
    values: Tensor,
    low: float,
    high: float,
    lengths: tuple[float, ...],
    image: Tensor | None = None,
    step: Step = ignore,
) -> Tensor:
    """Twice the trimap of one frame, uint8: `make_trimap` without its checks and messages.

    Args:
        values: [1, H, W], float32 in 0..1.
        low, high, image: see `make_trimap`.
        lengths: inner, outer and strands, in pixels.
        step: called between the parts of the computation.
    """
    inner, outer, strands = lengths
    rest = 0.3 if strands > 0 and image is not None else 1.0  # the share of the work that is not strands
    inwards, outwards = part(step, 0, rest / 2), part(step, rest / 2, rest)
    foreground, background = _sides(values, low, high)
    unknown = ~(foreground | background)
    if low == high:
        unknown |= foreground & within_contour(values, high, inner, inwards)
        unknown |= background & within_contour(values, low, outer, outwards)
    else:
        unknown |= foreground & within(~foreground, inner, inwards)
        unknown |= background & within(~background, outer, outwards)
    if strands > 0 and image is not None:
        room = background & ~unknown & within(~background, outer + strands, part(step, 0.3, 0.4))
        unknown |= strands_near(image.to(values.device), unknown | foreground, room, part(step, 0.4, 1))
    halves = (foreground & ~unknown).view(torch.uint8).mul_(2)
    return halves.add_(unknown.view(torch.uint8))  # several times faster than torch.where on the processor


def _sides(values: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Where a mask is (foreground, background), both bool and of its shape."""
    if low == high:
        return values >= high, values < low
    return values >= min(high, 1 - TOLERANCE), values <= max(low, TOLERANCE)


def _radii(values: Tensor, low: float, high: float, unit: Unit, lengths: tuple[float, ...]) -> tuple[float, ...]:
    """The lengths in pixels."""
    if unit == "pixels":
        return lengths
    size = math.sqrt(int((values >= (low + high) / 2).sum()))
    return tuple(length / 100 * size for length in lengths)


def _cleaned(values: Tensor, low: float, high: float, holes: int, specks: int, step: Step) -> Tensor:
    """values [B, H, W] without small holes, and then without small specks."""
    if holes:
        foreground, _ = _sides(values, low, high)
        values = values.masked_fill(small_areas(~foreground, holes, diagonal=False, step=part(step, 0, 0.5)), 1.0)
    if specks:
        _, background = _sides(values, low, high)
        values = values.masked_fill(small_areas(~background, specks, diagonal=True, step=part(step, 0.5, 1)), 0.0)
    return values


def _mark(plane: Tensor | None, name: str, mask: Tensor) -> Tensor | None:
    """[1 or B, H, W], bool, on the mask's device."""
    if plane is None:
        return None
    plane = check_plane(plane, f"the {name} mask")
    _check_fit(tuple(plane.shape[-2:]), len(plane) if plane.ndim == 3 else 1, f"the {name} mask", mask, plane)
    return (plane if plane.ndim == 3 else plane.unsqueeze(0)).to(mask.device) >= 0.5


def _with_image(mask: Tensor, image: Tensor | None, strands: float) -> Tensor:
    """The mask, or [B, H, W] of it where each of several pictures has strands of its own; ValueError unless the two go
    together."""
    if image is None:
        raise ValueError("strands need the image: give it, or set strands to 0")
    check_image(image)
    frames = len(mask) if mask.ndim == 3 else 1
    _check_fit(tuple(image.shape[1:3]), 1 if frames == 1 else len(image), "the image", mask)
    return mask.expand(len(image), *mask.shape[-2:]) if frames == 1 < len(image) and strands > 0 else mask


def _check_fit(size: tuple[int, ...], count: int, name: str, mask: Tensor, *planes: Tensor) -> None:
    """Raises ValueError unless what has that size and count of frames goes with the mask."""
    height, width = mask.shape[-2:]
    if size != (height, width):
        raise ValueError(unequal(name, size, "the mask", (height, width), mask, *planes))
    frames = len(mask) if mask.ndim == 3 else 1
    if count not in (1, frames):
        raise ValueError(f"{count} frames of {name} and {frames} of the mask: expected as many, or one for all")
