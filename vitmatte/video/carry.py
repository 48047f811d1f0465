"""Masks for some frames only: the trimap of a frame with a mask, moved by motion, serves the frames after it.

    carry = Carry()
    carry.start(image, alpha, trimap)         # a frame that has a mask, and the matte made with it
    for image in rest:
        carried = carry.trimap(image)         # raises LostError where motion cannot be trusted any more
        carry.go_on(matte(model, image[None], carried.trimap)[0])

Each frame is matched with the one before it, and then with the frame that had the mask, so errors of the motion do not
add up while that frame still looks alike; nor do errors of mattes, since it is the mask's own trimap that is moved. The
unknown band is wider where it may no longer hold the edge: where the motion there and back disagree, by as much as they
do, and around pixels of which the matte of the frame before is not what the mask's own matte, moved there, says. There
the motion is wrong, or the subject looks another way, or the net errs: in which share of the band is told, and too much
of it ends the carrying. So does too much of what motion cannot be trusted in, and of the subject what has come in over
the picture's border, which is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..checks import check_number
from ..plain import plain_results
from ..trimap.distance import within
from ..trimap.known import UNKNOWN, known_areas
from .field import Flow, at, sample
from .flow import Levels, flow_between, pyramid_of
from .frames import check_frame, planes_of
from .trust import agreement, is_cut, move, settled

MOST_LOST = 0.35
WIDENED = ((1.0, 4.0), (4.0, 12.0), (12.0, 24.0))  # motion there and back differs by more pixels: so many more unknown
SUBJECT = 0.05  # where the subject has no more share, its motion does not matter
OFF, AROUND = 0.5, 4.0  # a matte differs by more from the mask's, moved: so many pixels around are unknown
DRIFT = 2.0  # colours may differ so many times as much from those of the frame with the mask as from the last ones


class LostError(RuntimeError):
    """Raised where motion cannot be trusted: the frame needs a mask of its own. lost: as in `Carried`."""

    def __init__(self, lost: float, message: str) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True)
class Carried:
    """A frame's trimap [H, W], float32: 0, 0.5 (unknown) or 1; lost, 0..1: the largest of the share of its band in
    which the motion cannot be trusted, that of the subject which was not in the frame with the mask, that of the band
    in which the matte of the frame before is not the mask's own, moved, and that of the band's border which it runs
    into."""

    trimap: Tensor
    lost: float


@dataclass(frozen=True)
class _Anchor:
    """The frame that had a mask: picture [1, 3, H, W], matte and trimap [H, W]."""

    picture: Tensor
    levels: Levels
    alpha: Tensor
    trimap: Tensor


@dataclass(frozen=True)
class _Frame:
    """The frame carried to last. to_anchor: its motion to the anchor; shape: the anchor's matte moved here, [H, W];
    off: [H, W], 1 where the frame's own matte is another one; escaped: see `_escaped`."""

    levels: Levels
    picture: Tensor
    to_anchor: Flow
    shape: Tensor
    trimap: Tensor
    off: Tensor
    escaped: float


class Carry:
    """Trimaps for frames without a mask; see the module.

    Args:
        most_lost: 0..1, how large `lost` of `Carried` may be; above it carrying ends.

    Raises:
        ValueError: for a share outside 0..1.
    """

    def __init__(self, *, most_lost: float = MOST_LOST) -> None:
        self.most_lost = check_number("most_lost", most_lost, "a share in 0..1")
        if self.most_lost > 1:
            raise ValueError(f"most_lost is {most_lost!r}; expected a share in 0..1")
        self._anchor: _Anchor | None = None
        self._last: _Frame | None = None
        self._waits = False

    @plain_results
    def start(self, image: Tensor, alpha: Tensor, trimap: Tensor) -> None:
        """Takes a frame that had its own mask.

        Args:
            image: [H, W, 3 or 4] in 0..1; a fourth channel is ignored.
            alpha: [H, W] in 0..1, the matte made with the trimap.
            trimap: [H, W] in 0..1; it is the one that is carried on.

        Raises:
            TypeError: for what is no dense tensor. ValueError: for other shapes, types, ranges or sizes.
        """
        image, (alpha, trimap) = check_frame(image, {"alpha": alpha, "trimap": trimap})
        foreground, background = known_areas(trimap)
        trimap = torch.full_like(trimap, UNKNOWN).masked_fill_(foreground, 1).masked_fill_(background, 0)
        picture = planes_of(image)
        levels = pyramid_of(picture)
        still = Flow(torch.zeros(1, 2, 1, 1, dtype=torch.float32, device=image.device), (1.0, 1.0), levels.size)
        self._anchor = _Anchor(picture, levels, alpha, trimap)
        self._last = _Frame(levels, picture, still, alpha, trimap, torch.zeros_like(trimap), 0.0)
        self._waits = False

    @plain_results
    def trimap(self, image: Tensor) -> Carried:
        """The trimap of the next frame.

        Raises:
            LostError: more than `most_lost` is lost, or a scene cut lies before the frame. RuntimeError: without
                `start` before, or without `go_on` for the frame before.
            TypeError, ValueError: for an image that is not as `start` takes it, or of another size.
        """
        anchor, last = self._anchor, self._last
        if anchor is None or last is None:
            raise RuntimeError("there is no trimap to carry on: call start with a frame that has a mask first")
        if self._waits:
            raise RuntimeError("the frame before has no matte yet: hand it over with go_on first")
        image, _ = check_frame(image, {}, tuple(anchor.alpha.shape))
        picture = planes_of(image)
        levels = pyramid_of(picture)
        if is_cut(last.levels, levels):
            raise LostError(1.0, "a scene cut lies before this frame, and nothing can be carried across it: give a "
                                 "mask for this frame")
        frame, lost, what = _carried(anchor, last, picture, levels)
        if lost > self.most_lost:
            raise LostError(lost, f"{what}, more than the {self.most_lost:.0%} allowed: give a mask for this frame, or "
                                  "one just before")
        self._last, self._waits = frame, True
        return Carried(frame.trimap.clone(), lost)

    @plain_results
    def go_on(self, alpha: Tensor) -> None:
        """Takes the matte [H, W] in 0..1 of the frame that `trimap` was last called for.

        Raises:
            RuntimeError: `trimap` was not called before. TypeError, ValueError: for what is no such matte.
        """
        frame = self._last
        if frame is None or not self._waits:
            raise RuntimeError("no frame waits for its matte: call trimap with the frame first")
        _, (alpha,) = check_frame(frame.picture[0].permute(1, 2, 0), {"alpha": alpha})
        off = ((alpha - frame.shape).abs() > OFF) & (frame.trimap == UNKNOWN)
        self._last = replace(frame, off=off.float(), escaped=_escaped(alpha, frame.trimap))
        self._waits = False


def _carried(anchor: _Anchor, last: _Frame, picture: Tensor, levels: Levels) -> tuple[_Frame, float, str]:
    """The next frame, the share that is lost, and what it is a share of."""
    height, width = anchor.alpha.shape
    unknown = last.trimap == UNKNOWN
    on = flow_between(last.levels, levels, area=unknown, weight=last.shape)
    rows, columns = unknown.nonzero(as_tuple=True)
    dx, dy = on.at(columns.float(), rows.float())
    area = torch.zeros_like(unknown)
    area[(rows + dy).round().long().clamp_(0, height - 1), (columns + dx).round().long().clamp_(0, width - 1)] = True
    back = flow_between(levels, last.levels, area=area, second_weight=last.shape)
    to_anchor = flow_between(levels, anchor.levels, area=area, second_weight=anchor.alpha,
                             start=back.after(last.to_anchor))
    y, x = (torch.arange(side, device=area.device, dtype=torch.float32) for side in (height, width))
    before, motion = back.dense(), to_anchor.dense()
    off = at(last.off, x[None, :] + before[..., 0], y[:, None] + before[..., 1]) > 0.5
    x, y = x[None, :] + motion[..., 0], y[:, None] + motion[..., 1]
    shape = at(anchor.alpha, x, y).clamp_(0, 1)
    trimap = anchor.trimap[y.round().long().clamp_(0, height - 1), x.round().long().clamp_(0, width - 1)]
    outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    entered = outside & (trimap > 0)
    new = float(entered.sum() / (trimap > 0).sum().clamp(min=1))
    unknown = (trimap == UNKNOWN) | entered
    rows, columns = unknown.nonzero(as_tuple=True)
    share, colours = shape[rows, columns], picture[0][:, rows, columns]
    there = move(columns.float(), rows.float(), back, on)
    matters = share > SUBJECT
    seen = matters & ~entered[rows, columns]  # what has just come in has no motion that could be right or wrong
    trust = there.trust * agreement(colours, sample(last.picture, there.x, there.y), share)
    alike = agreement(colours, sample(anchor.picture, x[rows, columns], y[rows, columns]), share / DRIFT)
    doubted = seen & ((settled(trust) == 0) | (settled(alike) == 0))
    widened = entered.clone()
    if bool(off.any()):
        widened |= within(off[None], AROUND)[0]
    for more, pixels in WIDENED:
        marked = torch.zeros_like(unknown)
        marked[rows, columns] = matters & (there.off > more)
        if bool(marked.any()):
            widened |= within(marked[None], pixels)[0]
    trimap = trimap.masked_fill(widened, UNKNOWN)
    lost, what = max(
        (float(doubted.sum() / seen.sum().clamp(min=1)), "motion cannot be trusted in {:.0%} of the unknown band"),
        (new, "{:.0%} of the subject were not in the frame with the mask"),
        (float(off.sum() / unknown.sum().clamp(min=1)),
         "the matte of the frame before is not the moved one of the mask in {:.0%} of the unknown band"),
        (last.escaped, "the matte of the frame before runs into {:.0%} of its unknown band's border"))
    return _Frame(levels, picture, to_anchor, shape, trimap, torch.zeros_like(shape), 0.0), lost, what.format(lost)


def _escaped(alpha: Tensor, trimap: Tensor) -> float:
    """The share of the band's borders where a matte is not what is known beyond them, but the opposite."""
    unknown = trimap == UNKNOWN
    inner, outer = (unknown & within(trimap[None] == value, 1.5)[0] for value in (1, 0))
    wrong = (inner & (alpha < 0.5)).sum() + (outer & (alpha > 0.5)).sum()
    return float(wrong / (inner.sum() + outer.sum()).clamp(min=1))
