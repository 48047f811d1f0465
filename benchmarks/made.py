"""The made clips with trimaps and the bundled net's mattes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vitmatte import load_model, make_trimap, matte

from .clips import SCENES, Clip, make_clip

SIZE = (360, 480)  # height and width of clips
INNER, OUTER = 8, 12  # pixels, of such clips


@dataclass(frozen=True)
class Case:
    """A clip, its trimaps and the net's mattes, [T, H, W]."""

    name: str
    clip: Clip
    trimaps: Tensor
    mattes: Tensor


def cases(data: Path, cache: Path | None, frames: int, size: tuple[int, int], only: list[str]) -> Iterator[Case]:
    """All clips, or those of some names, with the bundled net's mattes; kept in a folder, since they take minutes."""
    model = load_model("vitmatte-tiny")
    for scene in SCENES:
        if only and scene.name not in only:
            continue
        apart = "" if size == SIZE else f"-{size[1]}x{size[0]}"
        kept = cache / f"{scene.name}-{frames}{apart}.pt" if cache else None
        if kept and kept.is_file():
            values = torch.load(kept, weights_only=True)
            yield Case(scene.name, Clip(*values[:4]), *values[4:])
            continue
        clip = make_clip(scene, data, frames=frames, size=size)
        scale = size[0] / SIZE[0]
        trimaps = make_trimap(clip.masks, inner=INNER * scale, outer=OUTER * scale)
        mattes = matte(model, clip.images, trimaps, refine=0)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save([clip.images, clip.alpha, clip.masks, clip.motion, trimaps, mattes], kept)
        yield Case(scene.name, clip, trimaps, mattes)
