"""Picture files to tensors. Colours come with 8 bits (Pillow has no more), masks and mattes with up to 16."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .listing import list_folder
from .metadata import Metadata, metadata_of, upright_size
from .planes import alpha_of, check_depth, mask_of, trimap_of, wide_grey
from .profiles import grey_to_rgb, profile_in, to_rgb
from .stored import WIDE_MODES, Stored, check_frames, stored_as

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# What is read, by Pillow's names and by the content. Others are not even tried: EPS, for one, would run Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photograph:
    """image: [1, H, W, 3] as `read_image` gives it. profile: the ICC profile of its colours, None for sRGB.
    metadata: what of the file is kept with what is made of it."""

    image: Tensor
    profile: bytes | None
    metadata: Metadata


@contextmanager
def _opened(path: str | os.PathLike[str], what: str = "picture") -> Iterator[ImageFile]:
    """The picture's file, not decoded yet; an error, here or while it is used, names the file and `what` it should be.

    Warnings of Pillow's are logged with the file's name.
    """
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"no picture {path}")
    Image.init()
    with warnings.catch_warnings(record=True) as said:
        try:
            # Opened here and not by Pillow, which maps the file of a name into memory, and then takes the width of an
            # uncompressed TIFF that lies on its side for the height.
            with Path(path).open("rb") as content, Image.open(content, formats=_formats()) as file:
                yield file
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is not a picture in a format that is read here ({', '.join(FORMATS)})") from error
        except Exception as error:  # Pillow's readers fail with whatever a damaged file makes them stumble over
            told = str(error) or type(error).__name__
            raise ValueError(f"{path} cannot be read as a {what}: {told:.300}") from error
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in said or ()):
                log.warning("%s: %s", path, text)


def _decoded(file: ImageFile) -> tuple[Image, Stored]:
    """The picture of an opened file, upright (EXIF orientation applied), and how it is stored."""
    stored = _how_stored(file)
    return _upright(file), stored


def _how_stored(file: ImageFile) -> Stored:
    """How the file stores its one picture; to be asked before anything else, since Pillow forgets it in decoding."""
    check_frames(file)
    return stored_as(file)


def _upright(file: ImageFile) -> Image:
    from PIL import ImageOps

    file.load()
    # Pillow turns a TIFF when it loads it; before 10.1, exif_transpose would turn it once more.
    return file if file.format == "TIFF" else ImageOps.exif_transpose(file)


def _formats() -> list[str]:
    """Those of `FORMATS` that the Pillow at hand knows."""
    from PIL import Image

    return [name for name in FORMATS if name in Image.OPEN]


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
    return [folder / name for name in list_folder(folder, suffixes(), deep=deep).pictures]


def left_out_of(folder: Path) -> list[str]:
    """The names of what `pictures_in` leaves out of a folder besides hidden files, in order; folders end in "/"."""
    return list_folder(folder, suffixes()).others


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) of the upright picture, without decoding it. Raises as `read_image`."""
    with _opened(path) as file:
        return upright_size(file)


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W, 3], float32 in 0..1, upright; grey, palette, CMYK and Lab become RGB (by way of their ICC profile, in
    sRGB), a fourth channel is left out.

    Raises:
        FileNotFoundError, ValueError: not there, not a picture, several pictures, or values of another scale.
    """
    return read_photograph(path).image


def read_photograph(path: str | os.PathLike[str]) -> Photograph:
    """A picture with what is needed to write what is made of it; raises as `read_image`."""
    with _opened(path) as file:
        stored = _how_stored(file)
        metadata = metadata_of(file, str(path))  # before Pillow turns a TIFF
        colours, profile = _colours(_upright(file), stored, str(path))
    return Photograph(torch.from_numpy(colours).unsqueeze(0), profile, metadata)


def read_mask(path: str | os.PathLike[str]) -> Tensor:
    """A mask or a matte: [1, H, W], float32 in 0..1, 1 = white or opaque.

    A cut-out counts by its alpha channel; a picture without one, or with one that is opaque throughout (up to 1/255),
    by its brightness.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that tell different masks,
            colours without white, or values that are labels or of another scale.
    """
    with _opened(path, "mask") as file:
        return _plane(mask_of(*_decoded(file)))


def read_trimap(path: str | os.PathLike[str]) -> Tensor:
    """A trimap: [1, H, W], float32, 0 = background, 1 = foreground, and what is between them unknown.

    Its brightness counts; what is transparent is background.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that contradict each other,
            colours, or values that are labels or of another scale.
    """
    with _opened(path, "trimap") as file:
        return _plane(trimap_of(*_decoded(file)))


def read_cutout(path: str | os.PathLike[str]) -> Tensor:
    """A cut-out: [1, H, W, 4], float32 in 0..1, upright, whose fourth channel is straight alpha; [1, H, W, 3] where
    the file has no transparency. Raises as `read_mask`."""
    with _opened(path, "cut-out") as file:
        picture, stored = _decoded(file)
        (colours, _), alpha = _colours(picture, stored, str(path)), alpha_of(picture, stored)
        return torch.from_numpy(colours if alpha is None else np.dstack([colours, alpha])).unsqueeze(0)


def _colours(picture: Image, stored: Stored, name: str) -> tuple[np.ndarray, bytes | None]:
    """(colours [H, W, 3], float32 in 0..1; the ICC profile they have, None for sRGB)."""
    if picture.mode in (*WIDE_MODES, "F"):
        grey = wide_grey(picture, stored)[0]
        pixels, profile = grey_to_rgb(grey, profile_in(picture), name)
        brightest = float(grey.max())
    else:
        if picture.mode.endswith("a"):  # premultiplied
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
        if "transparency" in picture.info:
            picture = picture.convert("RGBA")
        rgb, profile = to_rgb(picture, name)
        pixels = np.asarray(rgb, np.float32) / 255
        brightest = float(pixels.max())
    if picture.mode != "F":
        check_depth(brightest, stored)
    return pixels, profile


def _plane(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).unsqueeze(0)
