"""What a trimap settles: the known areas, and what a frame lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import TOLERANCE

UNKNOWN = 0.5


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


def known_areas(plane: Tensor) -> tuple[Tensor, Tensor]:
    """Where a mask or trimap in 0..1 is (surely foreground, surely background), both bool and of its shape."""
    return plane >= 1 - TOLERANCE, plane <= TOLERANCE
