"""Picture files to tensors, and (by way of `picture_writing`) back. Colours come with 8 bits (Pillow has no more),
masks and mattes with up to 16."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .colour_profiles import grey_to_rgb, profile_in, to_rgb
from .picture_metadata import Metadata, metadata_of, upright_size
from .picture_writing import SUFFIXES as SUFFIXES
from .picture_writing import save_picture as save_picture
from .picture_writing import write_image as write_image
from .picture_writing import write_matte as write_matte
from .picture_writing import write_trimap as write_trimap

if TYPE_CHECKING:
    from PIL.Image import Image

# What is read, by Pillow's names and by the content. Others are not even tried: EPS, for one, would run Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names for 16-bit grey


@dataclass(frozen=True)
class Photograph:
    """image: [1, H, W, 3] as `read_image` gives it. profile: the ICC profile of its colours, None for sRGB.
    metadata: what of the file is kept with what is made of it."""

    image: Tensor
    profile: bytes | None
    metadata: Metadata


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The picture, upright (EXIF orientation applied); ValueError that names the file if it is none."""
    from PIL import ImageOps

    with _stored(path) as file:
        file.load()
        yield ImageOps.exif_transpose(file)


@contextmanager
def _stored(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The picture as it is stored, not decoded yet; ValueError that names the file if it is none."""
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"no picture {path}")
    Image.init()
    try:
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
            yield file
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not a picture in a format that is read here ({', '.join(FORMATS)})") from error
    except Exception as error:  # Pillow's readers fail with whatever a damaged file makes them stumble over
        told = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as a picture: {told:.300}") from error


def _grey(picture: Image) -> np.ndarray:
    """A one-channel picture as float32 in 0..1; ValueError for values of another scale."""
    if picture.mode != "F" and picture.mode not in WIDE_MODES:
        return np.asarray(picture.convert("L"), np.float32) / 255
    values, white = np.asarray(picture), 1 if picture.mode == "F" else 65535
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not 0 <= low <= high <= white:
        raise ValueError(f"its values reach from {low:g} to {high:g}; expected 0 to {white}, as black and white")
    return values.astype(np.float32) / white


@lru_cache(maxsize=1)
def suffixes() -> tuple[str, ...]:
    """How the names of files end that hold one of `FORMATS`, in small letters: what is found in folders."""
    from PIL import Image

    Image.init()
    opened = {*Image.OPEN, "MPO"} & {*FORMATS}  # MPO is opened as JPEG
    return tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in opened))


def pictures_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """The files of a folder whose names end as pictures' do, in order; hidden ones, such as a system's own or what a
    process that was killed was writing, are none.

    Args:
        deep: those of its folders too, at any depth, but not of hidden ones.
    """
    paths = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in paths if path.suffix.lower() in suffixes() and not _is_hidden(path, folder)
                  and path.is_file())


def left_out_of(folder: Path) -> list[str]:
    """The names of what `pictures_in` leaves out of a folder besides hidden files, in order; folders end in "/"."""
    found = set(pictures_in(folder))
    return [path.name + "/" * path.is_dir() for path in sorted(folder.iterdir())
            if path not in found and not _is_hidden(path, folder)]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) of the upright picture, without decoding it. Raises as `read_image`."""
    with _stored(path) as file:
        return upright_size(file)


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W, 3], float32 in 0..1, upright; grey, palette, CMYK and Lab become RGB (by way of their ICC profile, in
    sRGB), a fourth channel is left out.

    Raises:
        FileNotFoundError, ValueError: not there, or not a picture.
    """
    return read_photograph(path).image


def read_photograph(path: str | os.PathLike[str]) -> Photograph:
    """A picture with what is needed to write what is made of it; raises as `read_image`."""
    from PIL import ImageOps

    with _stored(path) as file:
        metadata = metadata_of(file, str(path))
        file.load()
        picture = ImageOps.exif_transpose(file)
        if picture.mode in (*WIDE_MODES, "F"):
            pixels, profile = grey_to_rgb(_grey(picture), profile_in(picture), str(path))
        else:
            rgb, profile = to_rgb(picture, str(path))
            pixels = np.asarray(rgb, np.float32) / 255
    return Photograph(torch.from_numpy(pixels).unsqueeze(0), profile, metadata)


def read_mask(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W], float32 in 0..1, 1 = white or opaque.

    A cut-out counts by its alpha channel; a picture without one, or with one that is opaque throughout, by its
    brightness. Raises as `read_image`.
    """
    with _opened(path) as picture:
        if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
            alpha = np.asarray(picture.convert("RGBA").getchannel("A"), np.float32) / 255
            grey = alpha if alpha.min() < 1 else _grey(picture.convert("RGB"))
        else:
            grey = _grey(picture)
    return torch.from_numpy(np.ascontiguousarray(grey)).unsqueeze(0)


def read_profile(path: str | os.PathLike[str]) -> bytes | None:
    """The ICC profile of the colours that `read_image` gives, None for sRGB; raises as that."""
    return read_photograph(path).profile
