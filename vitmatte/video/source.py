"""Names of clips to what reads them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ..pictures.reading import suffixes
from .file import VideoFile
from .read import RATE, Clip
from .sequence import Sequence, is_pattern


def open_clip(
    path: Path, *, frames: tuple[int, int] | None = None, rate: Fraction | None = None, first_number: int | None = None
) -> Clip:
    """A clip of a video file, of a folder of pictures, or of the pictures of a pattern such as shot.####.png.

    Args:
        frames: numbers of the first and last frame wanted, both included; None for all.
        rate: frames per second of pictures (24 without); a file has its own.
        first_number: of a file's very first frame (1 without); pictures have theirs.

    Raises:
        FileNotFoundError, ValueError: nothing there, one picture, something that is no video, or a rate or number
            that the clip has of its own. RuntimeError: a file, and no PyAV.
    """
    if path.is_dir() or is_pattern(path):
        if first_number is not None:
            raise ValueError(f"{path}: the numbers of pictures are those in their names; --first-number is for video "
                             "files")
        return Sequence(path, frames=frames, rate=RATE if rate is None else rate)
    if not path.exists():
        raise FileNotFoundError(f"no clip {path}; expected a video, a folder of pictures, or a pattern such as "
                                "shot.####.png")
    if path.suffix.lower() in suffixes() and path.suffix.lower() not in (".gif", ".webp", ".avif"):
        raise ValueError(f"{path} is one picture; expected a video, a folder of pictures, or a pattern such as "
                         "shot.####.png (for one picture: vitmatte cutout)")
    if rate is not None:
        raise ValueError(f"{path}: a video has its own rate; --rate is for pictures")
    return VideoFile(path, frames=frames, first_number=1 if first_number is None else first_number)
