"""Masks for some frames only: the last matte, moved by motion, makes the next frame's trimap.

    carry = Carry()
    carry.start(image, alpha, trimap)         # a frame that has a mask, and the matte made with it
    for image in rest:
        carried = carry.trimap(image)         # raises LostError where motion cannot be trusted any more
        carry.go_on(matte(model, image[None], carried.trimap)[0])

The unknown band lies around the moved matte's edge, as wide inwards and outwards as the band was on the frame that had
a mask, and wherever the moved matte is soft. It is wider where forward and backward motion disagree, by as much as they
do. So the net finds the edge again in every frame, and errors of the motion do not add up; what does is what leaves the
band, and so the share of the band that motion cannot be trusted in is told, and too much of it ends the carrying.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_number
from ..trimap.distance import within, within_contour
from ..trimap.known import UNKNOWN, known_areas
from .flow import Levels, at, flow_between, levels_of, sample
from .frames import check_frame
from .trust import agreement, is_cut, move, settled

MOST_LOST = 0.35
LEAST_BAND = 4.0  # pixels
SOFT = (0.05, 0.95)  # mattes between these are soft
AROUND_SOFT = 3.0  # pixels of unknown around what is soft
WIDENED = ((1.0, 4.0), (4.0, 12.0), (12.0, 24.0))  # motion there and back differs by more pixels: so many more unknown
BAND_SHARE = 0.98  # of the band's pixels on a side lie within its reach


class LostError(RuntimeError):
    """Raised where motion cannot be trusted: the frame needs a mask of its own. lost: share of the band, 0..1."""

    def __init__(self, lost: float, message: str) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True)
class Carried:
    """A frame's trimap [H, W], float32: 0, 0.5 (unknown) or 1; lost: share of its band in which the motion cannot be
    trusted, 0..1."""

    trimap: Tensor
    lost: float


@dataclass(frozen=True)
class _Known:
    """The last frame with a matte: picture [1, 3, H, W], matte [H, W], unknown area [H, W]."""

    picture: Tensor
    levels: Levels
    alpha: Tensor
    unknown: Tensor


class Carry:
    """Trimaps for frames without a mask; see the module.

    Args:
        most_lost: share of the unknown band, 0..1, in which motion may be untrustworthy; above it carrying ends.

    Raises:
        ValueError: for a share outside 0..1.
    """

    def __init__(self, *, most_lost: float = MOST_LOST) -> None:
        self.most_lost = check_number("most_lost", most_lost, "a share in 0..1")
        if self.most_lost > 1:
            raise ValueError(f"most_lost is {most_lost!r}; expected a share in 0..1")
        self._last: _Known | None = None
        self._next: tuple[Tensor, Levels, Tensor] | None = None
        self._reach = LEAST_BAND, LEAST_BAND

    @torch.no_grad()
    def start(self, image: Tensor, alpha: Tensor, trimap: Tensor) -> None:
        """Takes a frame that had its own mask.

        Args:
            image: [H, W, 3 or 4] in 0..1; a fourth channel is ignored.
            alpha: [H, W] in 0..1, the matte made with the trimap.
            trimap: [H, W] in 0..1; the width of its unknown band is kept from here on.

        Raises:
            TypeError: for what is no dense tensor. ValueError: for other shapes, types, ranges or sizes.
        """
        image, (alpha, trimap) = check_frame(image, {"alpha": alpha, "trimap": trimap})
        foreground, background = known_areas(trimap)
        unknown = ~(foreground | background)
        self._last = _Known(image.permute(2, 0, 1).unsqueeze(0).contiguous(), levels_of(image), alpha, unknown)
        self._reach = _reach(alpha, unknown)
        self._next = None

    @torch.no_grad()
    def trimap(self, image: Tensor) -> Carried:
        """The trimap of the next frame.

        Raises:
            LostError: motion cannot be trusted in more than `most_lost` of the band, or a scene cut lies before the
                frame. RuntimeError: without `start` before, or without `go_on` after the frame before.
            TypeError, ValueError: for an image that is not as `start` takes it, or of another size.
        """
        last = self._last
        if last is None:
            raise RuntimeError("there is no matte to carry on: call start with a frame that has a mask first"
                               if self._next is None else
                               "the frame before has no matte yet: hand it over with go_on first")
        image, _ = check_frame(image, {}, tuple(last.alpha.shape))
        levels = levels_of(image)
        if is_cut(last.levels, levels):
            raise LostError(1.0, "a scene cut lies before this frame, and nothing can be carried across it: give a "
                                 "mask for this frame")
        picture = image.permute(2, 0, 1).unsqueeze(0).contiguous()
        alpha, trimap, lost = _carried(last, picture, levels, self._reach)
        if lost > self.most_lost:
            raise LostError(lost, f"motion cannot be trusted in {lost:.0%} of the unknown band, more than "
                                  f"the {self.most_lost:.0%} allowed: give a mask for this frame, or one shortly before")
        self._next, self._last = (picture, levels, trimap == UNKNOWN), None
        return Carried(trimap, lost)

    @torch.no_grad()
    def go_on(self, alpha: Tensor) -> None:
        """Takes the matte [H, W] in 0..1 of the frame that `trimap` was last called for.

        Raises:
            RuntimeError: `trimap` was not called before. TypeError, ValueError: for what is no such matte.
        """
        if self._next is None:
            raise RuntimeError("no frame waits for its matte: call trimap with the frame first")
        picture, levels, unknown = self._next
        image = picture[0].permute(1, 2, 0)
        _, (alpha,) = check_frame(image, {"alpha": alpha})
        self._last, self._next = _Known(picture, levels, alpha, unknown), None


def _carried(
    last: _Known, picture: Tensor, levels: Levels, reach: tuple[float, float]
) -> tuple[Tensor, Tensor, float]:
    """The moved matte [H, W], the trimap [H, W] made of it, and the share of its band that is lost."""
    height, width = last.alpha.shape
    on = flow_between(last.levels, levels, area=last.unknown, weight=last.alpha)
    rows, columns = last.unknown.nonzero(as_tuple=True)
    dx, dy = on.at(columns.float(), rows.float())
    area = torch.zeros_like(last.unknown)
    area[(rows + dy).round().long().clamp_(0, height - 1), (columns + dx).round().long().clamp_(0, width - 1)] = True
    back = flow_between(levels, last.levels, area=area, second_weight=last.alpha)
    motion = back.dense()
    y, x = (torch.arange(side, device=area.device, dtype=torch.float32) for side in (height, width))
    moved = at(last.alpha, x[None, :] + motion[..., 0], y[:, None] + motion[..., 1]).clamp_(0, 1)
    unknown = _band(moved, reach)
    rows, columns = unknown.nonzero(as_tuple=True)
    x, y = columns.float(), rows.float()
    there = move(x, y, back, on)
    colours = sample(last.picture, there.x, there.y)
    same = agreement(colours, picture[0][:, rows, columns], moved[rows, columns])
    lost = float((settled(there.trust * same) == 0).float().mean()) if len(x) else 0.0
    off = there.off
    for more, pixels in WIDENED:
        marked = torch.zeros_like(unknown)
        marked[rows, columns] = off > more
        if bool(marked.any()):
            unknown = unknown | within(marked[None], pixels)[0]
    trimap = (moved >= 0.5).float().masked_fill_(unknown, UNKNOWN)
    return moved, trimap, lost


def _band(moved: Tensor, reach: tuple[float, float]) -> Tensor:
    """[H, W], bool: around the edge of a matte, and around what is soft near it."""
    inside, planes = moved >= 0.5, moved[None]
    near = within_contour(planes, 0.5, reach[0])[0] & inside | within_contour(planes, 0.5, reach[1])[0] & ~inside
    soft = (moved > SOFT[0]) & (moved < SOFT[1]) & within_contour(planes, 0.5, 1.5 * max(reach))[0]
    return near | within(soft[None], AROUND_SOFT)[0]


def _reach(alpha: Tensor, unknown: Tensor) -> tuple[float, float]:
    """How far the unknown band reaches from the matte's edge, inwards and outwards, in pixels."""
    from scipy.ndimage import distance_transform_edt

    inside, found = alpha >= 0.5, []
    for side in (inside, ~inside):
        distance = torch.from_numpy(distance_transform_edt(side.cpu().numpy()))[(unknown & side).cpu()]
        far = torch.sort(distance).values[int(BAND_SHARE * (len(distance) - 1))] if len(distance) else 0.0
        found.append(max(float(far), LEAST_BAND))
    return found[0], found[1]
