"""Mattes that hold still: those of neighbouring frames, moved by motion, are blended inside the unknown area.

Each frame's matte a_t is taken together with what came before, a running mean m of count n that moves along with the
subject, and with the mattes of the frames ahead:

    m_t = (a_t + s c n m_(t-1)) / (1 + s c n),   n_t = 1 + s c n,
    result = (n_t m_t + sum_k s^k c_k a_(t+k)) / (n_t + sum_k s^k c_k),

with s the strength, c how far the motion of this pixel is trusted (see `trust`), m and a at the place the pixel has in
those frames. Where no motion is trusted the result is a_t to the bit, as it is where the trimap is known; nothing is
taken from beyond a cut.

A wrong matte misleads twice. Where it takes background for subject, the motion found is the background's: so the
unknown area has a smaller say in the motion than what is known (`UNSURE`). And its colours change, as the background
moves on behind the subject: so colours must agree only as far as both mattes see the subject there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_number, check_tensor
from ..plain import plain_results
from ..trimap.known import unknown_area
from .field import Flow, at, sample
from .flow import Levels, flow_between, pyramid_of
from .frames import check_frame, planes_of
from .trust import Moved, agreement, is_cut, move, settled

Motion = Callable[[Tensor, Tensor], Tensor]

AHEAD = 2  # frames
UNSURE = 0.5  # what the matte counts in the motion where the trimap is unknown


@dataclass(frozen=True)
class SteadyFrame:
    """A frame's matte.

    Args:
        alpha: [H, W], float32 in 0..1.
        blended: share of the unknown area that neighbouring frames had a part in, 0..1.
        cut: whether a scene cut lies before the frame.
    """

    alpha: Tensor
    blended: float
    cut: bool


@dataclass(frozen=True)
class _Frame:
    """A frame that is still needed. back: motion to the frame before it, on: motion from there; None after a cut."""

    image: Tensor  # [1, 3, H, W]
    alpha: Tensor  # [H, W]
    unknown: Tensor  # [H, W], bool
    levels: Levels
    cut: bool
    back: Flow | None
    on: Flow | None


@dataclass(frozen=True)
class _Past:
    """The running mean of a frame [H, W] and its count [H, W]."""

    frame: _Frame
    mean: Tensor
    count: Tensor


class Steady:
    """Mattes of a clip's frames made steady, one after the other, with memory for `ahead` + 2 frames.

    Args:
        strength: 0..1; 0 leaves every matte as it is, to the bit.
        ahead: how many frames are waited for: so many mattes come late.
        motion: gives the motion [H, W, 2] in pixels (x, y) from one picture [H, W, 3] to another, in place of the
            built-in `flow_between`: that of a model, for instance.

    Raises:
        ValueError: for a strength outside 0..1, ahead below 0 or no whole number, or a motion that is no function.
    """

    def __init__(self, strength: float, *, ahead: int = AHEAD, motion: Motion | None = None) -> None:
        self.strength = check_number("strength", strength, "a number from 0 (off) to 1")
        if self.strength > 1:
            raise ValueError(f"strength is {strength!r}; expected a number from 0 (off) to 1")
        if not isinstance(ahead, int) or isinstance(ahead, bool) or ahead < 0:
            raise ValueError(f"ahead is {ahead!r}; expected a whole number of frames, 0 or more")
        if motion is not None and not callable(motion):
            raise ValueError(f"motion is {motion!r}; expected a function of two pictures, or nothing")
        self.ahead, self.motion = ahead, motion
        self._waiting: list[_Frame] = []
        self._last: _Frame | None = None
        self._past: _Past | None = None
        self._size: tuple[int, int] | None = None

    @plain_results
    def push(self, image: Tensor, alpha: Tensor, trimap: Tensor) -> list[SteadyFrame]:
        """Takes the next frame, and gives those that are done.

        Args:
            image: [H, W, 3 or 4], floating point in 0..1; a fourth channel is ignored.
            alpha: [H, W] in 0..1, the frame's own matte.
            trimap: [H, W] in 0..1; only where it is unknown mattes change.

        Returns:
            Frames in the order in which they were pushed; none while the frames ahead are waited for.

        Raises:
            TypeError: for what is no dense tensor. ValueError: for other shapes, types or ranges, sizes that differ
                from each other or from the frames before.
        """
        image, (alpha, trimap) = check_frame(image, {"alpha": alpha, "trimap": trimap}, self._size)
        self._size = int(alpha.shape[0]), int(alpha.shape[1])
        if self.strength == 0:
            return [SteadyFrame(alpha, 0.0, False)]
        self._last = self._frame(image, alpha, trimap)
        self._waiting.append(self._last)
        return [self._next()] if len(self._waiting) > self.ahead else []

    @plain_results
    def finish(self) -> list[SteadyFrame]:
        """The frames that were held back. A frame pushed after that begins another clip."""
        rest = [self._next() for _ in range(len(self._waiting))]
        self._last = self._past = self._size = None
        return rest

    def _frame(self, image: Tensor, alpha: Tensor, trimap: Tensor) -> _Frame:
        unknown = unknown_area(trimap)
        planes, last = planes_of(image), self._last
        levels = pyramid_of(planes)
        cut = last is not None and is_cut(last.levels, levels)
        if last is None or cut:
            return _Frame(planes, alpha, unknown, levels, cut, None, None)
        if self.motion is not None:
            before = last.image[0].permute(1, 2, 0)
            back, on = (self._given(*pair) for pair in ((image, before), (before, image)))
        else:
            back = flow_between(levels, last.levels, area=unknown, weight=_subject(alpha, unknown))
            on = flow_between(last.levels, levels, area=last.unknown, weight=_subject(last.alpha, last.unknown))
        return _Frame(planes, alpha, unknown, levels, cut, back, on)

    def _given(self, first: Tensor, second: Tensor) -> Flow:
        assert self.motion is not None
        size = int(first.shape[0]), int(first.shape[1])
        motion = self.motion(first, second)
        check_tensor(motion, "what motion gives")
        if tuple(motion.shape) != (*size, 2):
            raise ValueError(f"motion gives shape {list(motion.shape)}; expected {[*size, 2]}, [height, width, 2]: one "
                             "displacement (x, y) in pixels for each pixel of the first picture")
        if not bool(motion.isfinite().all()):
            raise ValueError("motion gives values that are not finite (NaN or infinite); expected displacements in "
                             "pixels, of 0 where none is known")
        return Flow.of(motion.to(first.device, torch.float32, copy=True))

    def _next(self) -> SteadyFrame:
        frame = self._waiting.pop(0)
        rows, columns = frame.unknown.nonzero(as_tuple=True)
        own, colours = frame.alpha[rows, columns], frame.image[0][:, rows, columns]
        x, y = columns.float(), rows.float()
        mean, count = own, torch.ones_like(own)
        if self._past is not None and frame.back is not None and frame.on is not None:
            before = self._past
            moved = move(x, y, frame.back, frame.on)
            value = at(before.mean, moved.x, moved.y).clamp_(0, 1)
            trust = _trusted(moved.trust, before.frame, moved, colours, own, value)
            count = 1 + self.strength * trust * at(before.count, moved.x, moved.y)
            mean = own + (value - own) * (1 - 1 / count)
        total, weight = mean * count, count
        way, share = torch.ones_like(own), 1.0
        for ahead in self._waiting:
            if ahead.on is None or ahead.back is None:
                break
            moved = move(x, y, ahead.on, ahead.back)
            way, share, x, y = way * moved.trust, share * self.strength, moved.x, moved.y
            value = at(ahead.alpha, x, y).clamp_(0, 1)
            part = share * _trusted(way, ahead, moved, colours, own, value)
            total, weight = total + part * value, weight + part
        blended = weight > 1
        result = frame.alpha.clone()
        result[rows, columns] = torch.where(blended, (total / weight).clamp_(0, 1), own)
        means, counts = frame.alpha.clone(), torch.ones_like(frame.alpha)
        means[rows, columns], counts[rows, columns] = mean, count
        self._past = _Past(frame, means, counts)
        return SteadyFrame(result, float(blended.float().mean()) if len(own) else 0.0, frame.cut)


def _subject(alpha: Tensor, unknown: Tensor) -> Tensor:
    """[H, W]: how much of each pixel is surely the subject."""
    return torch.where(unknown, alpha * UNSURE, alpha)


def _trusted(way: Tensor, other: _Frame, moved: Moved, colours: Tensor, own: Tensor, value: Tensor) -> Tensor:
    """[N]: how far the mattes `value` of points moved into another frame are trusted."""
    there = sample(other.image, moved.x, moved.y)
    return settled(way * agreement(colours, there, torch.minimum(own, value)))
