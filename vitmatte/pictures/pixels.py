"""Pixels to and from files by OpenImageIO, as they are stored: nothing is converted, scaled or multiplied by alpha."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np

from .packages import needed_openimageio

TYPES = {"uint8": "uint8", "uint16": "uint16", "float16": "half", "float32": "float"}
NAMES = {1: ("Y",), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}


def write_pixels(path: Path, pixels: np.ndarray, attributes: dict[str, Any]) -> None:
    """Writes [H, W, 1, 3 or 4] to a file in the format of its suffix.

    Args:
        path: may be there already.
        pixels: uint8, uint16, float16 or float32, as they are to be stored.
        attributes: OpenImageIO's, by name; a value alone, or with its type before it.

    Raises:
        OSError: what OpenImageIO says. RuntimeError: it is not installed.
    """
    oiio = needed_openimageio("such pictures")
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, TYPES[pixels.dtype.name])
    spec.channelnames = NAMES[channels]
    for name, value in attributes.items():
        spec.attribute(name, *(value if isinstance(value, tuple) else (value,)))
    output = oiio.ImageOutput.create(str(path))
    if output is None or not output.open(str(path), spec):
        raise OSError(_told(oiio, output, path))
    written = output.write_image(pixels)
    said = output.geterror()
    if not output.close() or not written:
        raise OSError(errno.EIO, _told(oiio, output, path, said))  # it does not say why; mostly a full disk


def opened(path: Path) -> Any:
    """A file that is opened for reading, as OpenImageIO's ImageInput; alpha stays as it is stored.

    Raises:
        ValueError: what OpenImageIO says. RuntimeError: it is not installed.
    """
    oiio = needed_openimageio("such pictures")
    how = oiio.ImageSpec()
    how.attribute("oiio:UnassociatedAlpha", 1)
    found = oiio.ImageInput.open(str(path), how)
    if found is None:
        raise ValueError(oiio.geterror().strip() or "it is damaged, or of an unknown kind")
    return found


def pixels_of(source: Any, kind: str, *, first: int = 0, count: int | None = None) -> np.ndarray:
    """[H, W, count] of an opened file's channels from `first` on, as a type of OpenImageIO's.

    Raises:
        ValueError: what OpenImageIO says of a damaged file.
    """
    end = source.spec().nchannels if count is None else first + count
    found = source.read_image(0, 0, first, end, kind)
    if found is None:
        raise ValueError(source.geterror().strip() or "its pixels cannot be decoded")
    return np.asarray(found)


def _told(oiio: Any, output: Any, path: Path, said: str = "") -> str:
    """What OpenImageIO says, without the name of the temporary file."""
    said = said or (output.geterror() if output is not None else "") or oiio.geterror() or "OpenImageIO could not"
    return str(said).replace(f' "{path}"', "").strip()
