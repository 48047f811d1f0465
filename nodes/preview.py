"""What ComfyUI shows under a node: previews, and what the user should know."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from PIL import Image

from ..vitmatte.steps import strips
from .folders import previews_folder

MOST = 16  # frames; each is written as a PNG, which takes longer than looking at it
PLAYED = (".webm", ".mp4")  # how the names of files end that browsers play
SIDE = 512  # pixels, of previews of a frame while the others are computed
WARNINGS = "vitmatte_warnings"  # the key that web/warnings.js looks for


def shown(
    batch: torch.Tensor, check_interrupt: Callable[[], None], warnings: Sequence[str] = ()
) -> dict[str, Sequence[Any]]:
    """What a node gives as `ui`: the first frames of a batch, at full size, and sentences to be read on the node.

    ComfyUI's own previews take seconds for a large picture, during which Cancel is not heard.

    Args:
        batch: masks [B, H, W] or [H, W], or pictures [B, H, W, 3 or 4], in 0..1.
        check_interrupt: called while they are written; what it raises ends that, and the frame's file is removed.
        warnings: what the user should know of the node's inputs or result.
    """
    frames = (batch.unsqueeze(0) if batch.ndim == 2 else batch)[:MOST]
    folder, name = previews_folder(), f"ViTMatte_{uuid.uuid4().hex[:12]}"
    images = []
    for i, frame in enumerate(frames):
        file = f"{name}_{i:05}_.png"
        _write_png(frame, os.path.join(folder, file), check_interrupt)
        images.append({"filename": file, "subfolder": "", "type": "temp"})
    return {"images": images, "animated": (False,), WARNINGS: list(warnings)}


def shown_video(
    files: Sequence[dict[str, str]], frames: Sequence[torch.Tensor], check_interrupt: Callable[[], None],
    warnings: Sequence[str],
) -> dict[str, Sequence[Any]]:
    """The same for video files that were written: the first of them where browsers play such, else some frames.

    Args:
        files: filename, subfolder and type of each.
        frames: pictures of one size, for those that no browser plays.
    """
    if files[0]["filename"].endswith(PLAYED):
        return {"images": list(files[:1]), "animated": (True,), WARNINGS: list(warnings)}
    return shown(torch.stack(list(frames)), check_interrupt, warnings)


def _write_png(frame: torch.Tensor, path: str, check_interrupt: Callable[[], None]) -> None:
    levels = torch.empty(frame.shape, dtype=torch.uint8)
    for rows in strips(len(frame), lambda _: check_interrupt()):
        levels[rows] = frame[rows].float().clamp(0, 1).mul_(255).round_().to("cpu", torch.uint8)
    picture = Image.fromarray(levels.numpy())
    try:
        with open(path, "wb") as file:
            picture.save(_Watched(file.write, check_interrupt), "PNG", compress_level=1)  # type: ignore[arg-type]
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise


class _Watched:
    """A file that Pillow writes to, some tens of thousands of bytes at a time."""

    def __init__(self, write: Callable[[bytes], int], check_interrupt: Callable[[], None]) -> None:
        self._write, self._check_interrupt = write, check_interrupt

    def write(self, data: bytes) -> int:
        """Writes, unless the user has pressed cancel."""
        self._check_interrupt()
        return self._write(data)

    def flush(self) -> None:
        """Nothing: the file below is closed when all is written."""


def thumbnail(alpha: torch.Tensor) -> tuple[str, Image.Image, int]:
    """A matte [H, W] as ComfyUI shows what is still being computed: (file format, picture, largest side)."""
    step = max(1, max(alpha.shape) // SIDE)
    levels = (alpha[::step, ::step].float() * 255).round().to("cpu", torch.uint8)
    return "JPEG", Image.fromarray(levels.numpy()), SIDE
