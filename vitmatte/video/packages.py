"""PyAV, which reads and writes video files: ComfyUI brings it, elsewhere it is the extra `vitmatte[video]`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

LACKING = ("video files are read and written with PyAV, which is not installed: pip install \"vitmatte[video]\", or "
           "pip install av. Folders of pictures need none")


@lru_cache(maxsize=1)
def pyav() -> Any:
    """The module `av`; RuntimeError that says how to get it where it cannot be imported."""
    try:
        import av
        import av.error
    except ImportError as error:
        raise RuntimeError(f"{LACKING} ({error})") from error
    return av


def check_encoder(name: str, what: str) -> None:
    """Raises RuntimeError where the PyAV at hand was built without an encoder.

    Args:
        name: FFmpeg's name of the encoder.
        what: the file that it is for, for the message.
    """
    av = pyav()
    try:
        av.codec.Codec(name, "w")
    except (ValueError, LookupError) as error:  # UnknownCodecError is a ValueError
        raise RuntimeError(f"{what}: the PyAV at hand has no encoder {name}; take another format (.mov, .webm, .mkv, "
                           ".mp4, or pictures), or a PyAV from PyPI: pip install av") from error
