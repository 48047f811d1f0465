"""What ViTMatteVideo's widgets and optional inputs mean to the library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..vitmatte import make_trimap
from ..vitmatte.checks import check_choice
from ..vitmatte.compositing.blend import FITS, SCREENS, composite
from ..vitmatte.compositing.blend import colour as as_colour
from ..vitmatte.trimap.make import check_options
from ..vitmatte.video.backdrop import Look, MovingBackground
from ..vitmatte.video.carry import Carry
from ..vitmatte.video.masks import Masks, check_first
from ..vitmatte.video.read import Clip
from ..vitmatte.video.steady import Steady
from ..vitmatte.video.write import Kind, Target
from .clips import clip_of
from .folders import new_output
from .motion import motion_of
from .trimap import UNITS

FORMATS = {"ProRes 4444 (.mov)": ".mov", "VP9 (.webm)": ".webm", "FFV1 16-bit (.mkv)": ".mkv", "H.264 (.mp4)": ".mp4"}
RESULTS: dict[str, tuple[tuple[Kind, int], ...]] = {  # kinds and channels
    "cut-out": (("cutout", 4),), "on background": (("cutout", 3),), "matte": (("matte", 1),),
    "fill and matte": (("fill", 3), ("matte", 1)),
}


@dataclass(frozen=True)
class VideoOptions:
    """See the node's tooltips; the defaults are the widgets'."""

    inner: float = 10.0
    outer: float = 20.0
    unit: str = "pixels"
    invert: bool = False
    low: float = 0.0
    high: float = 1.0
    fill_holes: int = 0
    remove_specks: int = 0
    strands: float = 0.0
    carry: bool = False
    steady: float = 0.5
    result: str = "cut-out"
    format: str = "ProRes 4444 (.mov)"
    colour: str = "#00b140"
    fit: Any = "cover"
    despill: Any = "none"
    strategy: Any = "auto"
    filename_prefix: str = "video/ViTMatte"
    background: torch.Tensor | None = None
    background_video: Any = None
    optical_flow: Any = None

    def check(self) -> None:
        """Raises ValueError before any work for values that would be refused later."""
        for name, value, known in (("unit", self.unit, UNITS), ("result", self.result, RESULTS),
                                   ("format", self.format, FORMATS), ("fit", self.fit, FITS),
                                   ("despill", self.despill, SCREENS)):
            check_choice(name, value, known)
        check_options(inner=self.inner, outer=self.outer, strands=self.strands, unit=UNITS[self.unit], low=self.low,
                      high=self.high, fill_holes=self.fill_holes, remove_specks=self.remove_specks)
        Steady(self.steady)
        as_colour(self.colour)
        if self.background is not None and self.background_video is not None:
            raise ValueError("background and background_video are both connected; connect one of them")

    def targets(self, clip: Clip) -> tuple[list[Target], str]:
        """(the files to write, their folder within ComfyUI's output folder)."""
        suffix = FORMATS[self.format]
        path, subfolder = new_output(self.filename_prefix, suffix, clip.size)
        found = []
        for number, (kind, channels) in enumerate(RESULTS[self.result]):
            name = path if not number else path.with_name(f"{path.stem}{kind}{suffix}")
            found.append(Target(Path(name), kind, channels))
            found[-1].check(clip)
        return found, subfolder

    def trimap(self, mask: torch.Tensor, image: torch.Tensor, name: str, index: int) -> torch.Tensor:
        """The trimap [H, W] of a mask [H, W]."""
        return make_trimap(
            mask, inner=self.inner, outer=self.outer, unit=UNITS[self.unit], invert=self.invert, low=self.low,
            high=self.high, fill_holes=self.fill_holes, remove_specks=self.remove_specks, strands=self.strands,
            image=image[None] if self.strands > 0 else None)

    def look(self, clip: Clip) -> Look:
        """How cut-outs and fills look."""
        if self.result != "on background":
            return Look(despill=self.despill)
        fill = as_colour(self.colour)
        behind: Any = fill
        if self.background is not None:
            behind = self.background
            if behind.shape[-1] == 4:  # over the colour, as the result has no alpha
                behind = composite(behind[..., :3], behind[..., 3], fill.to(behind))
        elif self.background_video is not None:
            behind = MovingBackground(clip_of(self.background_video))
        return Look(despill=self.despill, background=behind, fit=self.fit, fill=fill)

    def steadier(self) -> Steady | None:
        """What makes mattes hold still, if anything."""
        if not self.steady:
            return None
        return Steady(self.steady, motion=None if self.optical_flow is None else motion_of(self.optical_flow))

    def carrier(self, masks: Masks, clip: Clip) -> Carry | None:
        """What carries masks on, if anything."""
        if not self.carry:
            return None
        check_first(masks, clip)
        return Carry()
