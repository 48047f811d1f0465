"""Picture files to tensors and back. Colours come with 8 bits (Pillow has no more), masks and mattes with up to 16."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .checks import check_plane
from .files import whole_file

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".bmp")
# What is read, by Pillow's names and by the content. Others are not even tried: EPS, for one, would run Ghostscript.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names for 16-bit grey


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The picture, upright (EXIF orientation applied); ValueError that names the file if it is none."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"no picture {path}")
    Image.init()
    try:
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
            file.load()
            yield ImageOps.exif_transpose(file)
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


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder whose names end as pictures' do, in order; hidden ones, such as a system's own or what a
    process that was killed was writing, are none."""
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file())


def read_image(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W, 3], float32 in 0..1, upright; grey, palette and CMYK become RGB, a fourth channel is left out.

    Raises:
        FileNotFoundError, ValueError: not there, or not a picture.
    """
    with _opened(path) as picture:
        if picture.mode in (*WIDE_MODES, "F"):
            pixels = np.repeat(_grey(picture)[..., None], 3, axis=-1)
        else:
            pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    return torch.from_numpy(pixels).unsqueeze(0)


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
    levels = (check_plane(alpha, "the matte").cpu().double() * 65535).round().numpy().astype(np.uint16)
    save_picture(Image.fromarray(levels), path)


def write_trimap(path: str | os.PathLike[str], trimap: Tensor) -> None:
    """Writes a trimap [H, W] of 0, 0.5 and 1 as 8-bit grey 0, 128 and 255, as everybody does; whole or not at all.

    Raises:
        ValueError: a format that would not keep the values.
    """
    from PIL import Image

    if Path(path).suffix.lower() not in (".png", ".tif", ".tiff", ".bmp"):
        raise ValueError(f"{path}: a trimap needs exact values; expected a name that ends in .png, .tif or .bmp")
    levels = (check_plane(trimap, "the trimap").float().cpu() * 255).add(0.5).floor().numpy().astype(np.uint8)
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
