"""Packages for what Pillow does not read or write. None is needed for the rest, and each is imported when it is used.

**OpenImageIO** (extra `vitmatte[formats]`) reads and writes OpenEXR and pictures with 16 bits a channel. It is the
Academy Software Foundation's library, on which Blender's and Arnold's picture files rest, comes as one wheel of 10 MB
for Python 3.9 and later on all systems, and reads what other programs make of these formats: every compression of
OpenEXR, tiles, windows, layers; TIFFs of either byte order, in planes, with predictors and extra channels. FFmpeg (by
PyAV) reads fewer of them and does not tell windows and layers; OpenEXR's own package and tifffile do one format each,
and tifffile needs a third package for LZW.

**PyAV** reads and writes video files, and writes OpenEXR where there is no OpenImageIO: ComfyUI brings it, elsewhere it
is the extra `vitmatte[video]`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

LACKING = ("video files are read and written with PyAV, which is not installed: pip install \"vitmatte[video]\", or "
           "pip install av. Folders of pictures need none")
INSTALL = "pip install \"vitmatte[formats]\", or pip install OpenImageIO"


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


@lru_cache(maxsize=1)
def openimageio() -> Any | None:
    """The module `OpenImageIO`; None where it cannot be imported."""
    try:
        import OpenImageIO
    except ImportError:
        return None
    return OpenImageIO


def needed_openimageio(what: str) -> Any:
    """The module `OpenImageIO`; RuntimeError that says how to get it where it cannot be imported.

    Args:
        what: what is read or written with it, in the plural, for the message.
    """
    found = openimageio()
    if found is None:
        raise RuntimeError(f"{what} are read and written with OpenImageIO, which is not installed: {INSTALL}")
    return found
