"""What a trimap settles: the known areas, and what a frame lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import TOLERANCE
from ..plain import outside_inference_mode
from ..steps import strips

UNKNOWN = 0.5
BAND = 4  # pixels: a mask's edge is about as wide, an unknown area wider


def lacking(trimap: Tensor) -> list[str]:
    """What trimaps [B, H, W] or [H, W] have none of, a sentence each; an empty list when all is there."""
    frames = trimap if trimap.ndim == 3 else trimap.unsqueeze(0)
    foreground, background = known_areas(frames)
    said = []
    for area, name, result in (
        (~(foreground | background), "unknown area", "the matte will be the trimap; give larger radii or another mask"),
        (foreground, "foreground", "nothing is surely the subject; give a smaller inner radius or another mask"),
        (background, "background", "nothing is surely background; give a smaller outer radius or another mask"),
    ):
        most = area.flatten(1).view(torch.uint8).amax(dim=1)  # faster than any()
        empty = (most == 0).nonzero().flatten().tolist()
        if empty:
            shown = ", ".join(str(i) for i in empty[:8]) + (", ..." if len(empty) > 8 else "")
            where = "" if len(frames) == 1 else f" in {len(empty)} of {len(frames)} frames ({shown})"
            said.append(f"no {name}{where}: {result}")
    return said


def doubts(trimap: Tensor) -> list[str]:
    """Why trimaps [B, H, W] or [H, W] in 0..1 look like rough masks, a sentence; an empty list if they do not.

    What a mask has between 0 and 1, if anything, is its edge: a few pixels wide, or running through all values from 0
    to 1. A trimap has an unknown area, which is wider somewhere and of one value.
    """
    frames = trimap if trimap.ndim == 3 else trimap.unsqueeze(0)
    thin, soft, unknown = True, True, False
    for frame in frames:
        area = unknown_area(frame)
        if not bool(area.any()):
            continue
        unknown = True
        wide = area  # in the end, where a square of BAND pixels a side is unknown throughout
        for _ in range(BAND - 1):
            wide = wide[1:] & wide[:-1]
            wide = wide[:, 1:] & wide[:, :-1]
        thin = thin and not bool(wide.any())
        levels = frame[area].float()
        soft = soft and bool(((levels - levels.median()).abs() < 0.1).float().mean() < 0.5)
    if unknown and not (thin or soft):
        return []
    how = ("it is all 0 and 1" if not unknown else f"its unknown area is narrower than {BAND} pixels everywhere" if thin
           else "its unknown area has all values between 0 and 1")
    return [f"the trimap looks like a rough mask ({how}): make a trimap of it first, with Trimap from Mask"]


@outside_inference_mode
def known_areas(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Where a mask or trimap in 0..1 is (surely foreground, surely background), both bool and of its shape."""
    return plane >= 1 - TOLERANCE, plane <= TOLERANCE


def unknown_area(trimap: Tensor) -> Tensor:
    """Where a trimap [H, W] in 0..1 is neither, bool."""
    found = torch.empty(trimap.shape, dtype=torch.bool, device=trimap.device)
    for rows in strips(len(trimap)):  # what lies between stays in a CPU's cache
        torch.logical_or(*known_areas(trimap[rows]), out=found[rows]).logical_not_()
    return found


def settled(trimap: Tensor) -> Tensor:
    """A trimap or a part of one in 0..1 as float32, with what is sure at exactly 0 and 1."""
    foreground, background = known_areas(trimap)
    return torch.where(background, 0.0, torch.where(foreground, 1.0, trimap.float()))
