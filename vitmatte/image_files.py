"""Picture files to tensors and back. Colours come with 8 bits (Pillow has no more), masks and mattes with up to 16."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .files import whole_file
from .planes import alpha_of, check_depth, mask_of, trimap_of, wide_grey
from .stored import WIDE_MODES, Stored, check_frames, stored_as

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".bmp")
# What is read, by Pillow's names and by the content. Others are not even tried: EPS, for one, would run Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
log = logging.getLogger(__name__)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The picture, upright (EXIF orientation applied); ValueError that names the file if it is none."""
    with _decoded(path) as (picture, _):
        yield picture


@contextmanager
def _decoded(path: str | os.PathLike[str], what: str = "picture") -> Iterator[tuple[Image, Stored]]:
    """The picture, upright, and how it is stored; an error, here or while it is used, names the file and `what` it
    should be. Warnings of Pillow's are logged with the file's name."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"no picture {path}")
    Image.init()
    with warnings.catch_warnings(record=True) as said:
        try:
            # Opened here and not by Pillow, which maps the file of a name into memory, and then takes the width of an
            # uncompressed TIFF that lies on its side for the height.
            with Path(path).open("rb") as content, Image.open(content, formats=_formats()) as file:
                check_frames(file)
                stored = stored_as(file)
                file.load()
                # Pillow turns a TIFF when it loads it; before 10.1, exif_transpose would turn it once more.
                yield file if file.format == "TIFF" else ImageOps.exif_transpose(file), stored
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is not a picture in a format that is read here ({', '.join(FORMATS)})") from error
        except Exception as error:  # Pillow's readers fail with whatever a damaged file makes them stumble over
            told = str(error) or type(error).__name__
            raise ValueError(f"{path} cannot be read as a {what}: {told:.300}") from error
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in said or ()):
                log.warning("%s: %s", path, text)


def _formats() -> list[str]:
    """Those of `FORMATS` that the Pillow at hand knows."""
    from PIL import Image

    return [name for name in FORMATS if name in Image.OPEN]


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder that `is_picture`, in order."""
    return sorted(path for path in folder.iterdir() if is_picture(path))


def is_picture(path: Path) -> bool:
    """Whether this is a file whose name ends as pictures' do; hidden ones, such as a system's own or what a process
    that was killed was writing, are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W, 3], float32 in 0..1, upright; grey, palette and CMYK become RGB, a fourth channel is left out.

    Raises:
        FileNotFoundError, ValueError: not there, not a picture, several pictures, or values of another scale.
    """
    with _decoded(path) as (picture, stored):
        return torch.from_numpy(_colours(picture, stored)).unsqueeze(0)


def read_mask(path: str | os.PathLike[str]) -> Tensor:
    """A mask or a matte: [1, H, W], float32 in 0..1, 1 = white or opaque.

    A cut-out counts by its alpha channel; a picture without one, or with one that is opaque throughout (up to 1/255),
    by its brightness.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that tell different masks,
            colours without white, or values that are labels or of another scale.
    """
    with _decoded(path, "mask") as (picture, stored):
        return _plane(mask_of(picture, stored))


def read_trimap(path: str | os.PathLike[str]) -> Tensor:
    """A trimap: [1, H, W], float32, 0 = background, 1 = foreground, and what is between them unknown.

    Its brightness counts; what is transparent is background.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that contradict each other,
            colours, or values that are labels or of another scale.
    """
    with _decoded(path, "trimap") as (picture, stored):
        return _plane(trimap_of(picture, stored))


def read_cutout(path: str | os.PathLike[str]) -> Tensor:
    """A cut-out: [1, H, W, 4], float32 in 0..1, upright, whose fourth channel is straight alpha; [1, H, W, 3] where
    the file has no transparency. Raises as `read_mask`."""
    with _decoded(path, "cut-out") as (picture, stored):
        colours, alpha = _colours(picture, stored), alpha_of(picture, stored)
        return torch.from_numpy(colours if alpha is None else np.dstack([colours, alpha])).unsqueeze(0)


def _colours(picture: Image, stored: Stored) -> np.ndarray:
    """[H, W, 3], float32 in 0..1."""
    if picture.mode in (*WIDE_MODES, "F"):
        pixels = np.repeat(wide_grey(picture, stored)[0][..., None], 3, axis=-1)
    else:
        if picture.mode.endswith("a"):  # premultiplied
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
        if "transparency" in picture.info:
            picture = picture.convert("RGBA")
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    if picture.mode != "F":
        check_depth(float(pixels.max()), stored)
    return pixels


def _plane(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).unsqueeze(0)


def read_profile(path: str | os.PathLike[str]) -> bytes | None:
    """The picture's ICC colour profile, to be written with what is made of it."""
    with _opened(path) as picture:
        profile = picture.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile else None


def write_matte(path: str | os.PathLike[str], alpha: Tensor) -> None:
    """Writes a matte [H, W] in 0..1 as 16-bit grey PNG or TIFF, whole or not at all.

    Raises:
        ValueError: a format without 16-bit grey.
    """
    from PIL import Image

    if Path(path).suffix.lower() not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{path}: a matte needs 16 bits; expected a name that ends in .png or .tif")
    levels = (alpha.cpu().double() * 65535).round().numpy().astype(np.uint16)
    save_picture(Image.fromarray(levels), path)


def write_trimap(path: str | os.PathLike[str], trimap: Tensor) -> None:
    """Writes a trimap [H, W] of 0, 0.5 and 1 as 8-bit grey 0, 128 and 255, as everybody does; whole or not at all.

    Raises:
        ValueError: a format that would not keep the values.
    """
    from PIL import Image

    if Path(path).suffix.lower() not in (".png", ".tif", ".tiff", ".bmp"):
        raise ValueError(f"{path}: a trimap needs exact values; expected a name that ends in .png, .tif or .bmp")
    levels = (trimap.cpu() * 255).add(0.5).floor().numpy().astype(np.uint8)
    save_picture(Image.fromarray(levels), path)


def write_image(path: str | os.PathLike[str], image: Tensor, *, profile: bytes | None = None) -> None:
    """Writes [H, W, 3 or 4] in 0..1 with 8 bits per channel, whole or not at all.

    Args:
        path: the suffix chooses the format.
        image: the fourth channel is straight alpha.
        profile: ICC colour profile.

    Raises:
        ValueError: an unknown suffix, or four channels for a format without transparency.
    """
    from PIL import Image

    check_name(path, transparent=image.shape[-1] == 4)
    levels = (image.float().cpu() * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    save_picture(Image.fromarray(levels), path, icc_profile=profile, quality=95)


def save_picture(picture: Image, path: str | os.PathLike[str], **how: Any) -> None:
    """Writes a picture in the format that its name says, whole or not at all.

    Pillow's own writing to a file takes a write that was cut short by a full disk for a whole one.
    """
    from PIL import Image

    content = BytesIO()
    picture.save(content, Image.registered_extensions()[Path(path).suffix.lower()], **how)
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def check_name(path: str | os.PathLike[str], *, transparent: bool) -> None:
    """Raises ValueError unless a picture, `transparent` or not, can be written to a file of that name."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of picture; expected a name that ends in {', '.join(SUFFIXES)}")
    if transparent and suffix in OPAQUE_SUFFIXES:
        raise ValueError(f"{path}: {suffix} has no transparency; write a .png, or give a background")
