"""What a clip's results look like: the subject on nothing, or before a colour, a picture, or another clip."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from ..compositing.blend import Fit, Screen
from ..compositing.cutout import cut_out, replace_background
from ..pictures.profiles import converted
from .read import Clip, ClipFrame
from .write import Kind

log = logging.getLogger(__name__)


class MovingBackground:
    """The frames of another clip, by time; it begins again where it ends, and says so.

    Args:
        clip: of any size and rate.
        profile: the ICC profile that its colours are brought to; None for sRGB.
    """

    def __init__(self, clip: Clip, profile: bytes | None = None) -> None:
        self._clip, self._profile = clip, profile
        self._begin, self._end = Fraction(0), Fraction(0)  # of the round that is shown; its end as far as is known
        self._frames: Iterator[ClipFrame] = iter(())
        self._shown: ClipFrame | None = None
        self._next: ClipFrame | None = None
        self._again = False

    def at(self, time: Fraction) -> Tensor:
        """The picture [1, h, w, 3] that is shown at a time, which is not before the one asked for last."""
        while self._shown is None or (self._next is not None and self._next.time <= time - self._begin) or (
                self._next is None and self._end <= time - self._begin):
            self._advance()
        return converted(self._shown.image, self._clip.profile, self._profile).unsqueeze(0)

    def _advance(self) -> None:
        if self._next is None:
            if self._shown is not None:
                if not self._again:
                    log.warning("%s ends before the clip does; it begins again", self._clip.name)
                self._again, self._begin = True, self._begin + self._end
            self._frames = self._clip.frames()
            self._next = next(self._frames)
        self._shown = self._next
        self._end = self._shown.time + self._shown.duration
        self._next = next(self._frames, None)


@dataclass(frozen=True)
class Look:
    """How results look; estimate, despill, fit, fill and linear as for `replace_background`.

    Args:
        background: a colour [3], a picture [1, h, w, 3], some pictures that follow each other [B, h, w, 3] (the last
            one stays), or a clip; None for transparency.
    """

    estimate: bool = True
    despill: Screen = "none"
    background: Tensor | MovingBackground | None = None
    fit: Fit = "cover"
    fill: Tensor | None = None
    linear: bool = False

    def results(self, frame: ClipFrame, index: int, alpha: Tensor, wanted: Collection[Kind]) -> dict[Kind, Tensor]:
        """The results of a frame that are wanted: "cutout" [H, W, 4], or [H, W, 3] on a background; "fill" [H, W, 3];
        "matte" [H, W]."""
        found: dict[Kind, Tensor] = {"matte": alpha}
        if "cutout" not in wanted and "fill" not in wanted:
            return found
        cut = cut_out(frame.image[None], alpha, estimate=self.estimate, despill=self.despill)
        found["fill"] = cut[0, ..., :3]
        if self.background is None:
            found["cutout"] = cut[0]
        elif "cutout" in wanted:
            behind = self._behind(frame, index)
            found["cutout"] = replace_background(cut, alpha, behind.to(cut.device), fit=self.fit, fill=self.fill,
                                                 linear=self.linear, estimate=False)[0]
        return found

    def _behind(self, frame: ClipFrame, index: int) -> Tensor:
        if isinstance(self.background, MovingBackground):
            return self.background.at(frame.time)
        assert self.background is not None
        if self.background.ndim == 1:
            return self.background
        last = min(index, len(self.background) - 1)
        return self.background[last:last + 1]
