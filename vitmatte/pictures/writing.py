"""Tensors to picture files: whole or not at all, and refused before any work where a format cannot hold them."""

from __future__ import annotations

import logging
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..checks import check_plane
from ..files import whole_file
from .metadata import Metadata

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".bmp")
MATTE_SUFFIXES = (".png", ".tif", ".tiff")
TRIMAP_SUFFIXES = (*MATTE_SUFFIXES, ".bmp")
JPEG_SUFFIXES = (".jpg", ".jpeg")
# The longest side in pixels: of WebP by its format, of JPEG by libjpeg (JPEG_MAX_DIMENSION; the format has 65,535).
MAX_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
MAX_JPEG_EXIF = 65533  # bytes of one segment


def write_matte(path: str | os.PathLike[str], alpha: Tensor) -> None:
    """Writes a matte [H, W] in 0..1 as 16-bit grey PNG or TIFF, whole or not at all.

    Raises:
        ValueError: a format without 16-bit grey.
    """
    from PIL import Image

    check_matte_name(path)
    levels = (check_plane(alpha, "the matte").cpu().double() * 65535).round().numpy().astype(np.uint16)
    save_picture(Image.fromarray(levels), path)


def write_trimap(path: str | os.PathLike[str], trimap: Tensor) -> None:
    """Writes a trimap [H, W] of 0, 0.5 and 1 as 8-bit grey 0, 128 and 255, as everybody does; whole or not at all.

    Raises:
        ValueError: a format that would not keep the values.
    """
    from PIL import Image

    check_trimap_name(path)
    levels = (check_plane(trimap, "the trimap").float().cpu() * 255).add(0.5).floor().numpy().astype(np.uint8)
    save_picture(Image.fromarray(levels), path)


def write_image(
    path: str | os.PathLike[str], image: Tensor, *, profile: bytes | None = None, metadata: Metadata | None = None
) -> None:
    """Writes [H, W, 3 or 4] in 0..1 with 8 bits per channel, whole or not at all.

    Args:
        path: the suffix chooses the format.
        image: the fourth channel is straight alpha.
        profile: the ICC profile of the image's colours, an RGB one; None for sRGB.
        metadata: resolution and EXIF, as far as the format has them (BMP has no EXIF, WebP the resolution in EXIF
            only). EXIF that is too long for a JPEG is left out with a warning.

    Raises:
        ValueError: an unknown suffix, four channels for a format without transparency, or a side that is longer than
            the format can hold.
    """
    from PIL import Image

    check_image_name(path, transparent=image.shape[-1] == 4, size=(image.shape[1], image.shape[0]))
    metadata = metadata or Metadata()
    how: dict[str, Any] = {"icc_profile": profile, "quality": 95}
    if metadata.dpi is not None:
        how["dpi"] = metadata.dpi
    if metadata.exif is not None:
        if Path(path).suffix.lower() in JPEG_SUFFIXES and len(metadata.exif) > MAX_JPEG_EXIF:
            log.warning("%s: EXIF of %d bytes is left out; a JPEG holds %d", path, len(metadata.exif), MAX_JPEG_EXIF)
        else:
            how["exif"] = metadata.exif
    levels = (image.float().cpu() * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    save_picture(Image.fromarray(levels), path, **how)


def save_picture(picture: Image, path: str | os.PathLike[str], **how: Any) -> None:
    """Writes a picture in the format that its name says, whole or not at all.

    Pillow's own writing to a file takes a write that was cut short by a full disk for a whole one.
    """
    from PIL import Image

    content = BytesIO()
    picture.save(content, Image.registered_extensions()[Path(path).suffix.lower()], **how)
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def check_image_name(
    path: str | os.PathLike[str], *, transparent: bool, size: tuple[int, int] | None = None
) -> None:
    """Raises ValueError unless a picture, `transparent` or not, can be written to a file of that name.

    Args:
        size: (width, height), where it is known.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of picture; expected a name that ends in {', '.join(SUFFIXES)}")
    if transparent and suffix in OPAQUE_SUFFIXES:
        raise ValueError(f"{path}: {suffix} has no transparency; write a .png, or give a background")
    if size is not None and has_max_side(path) and max(size) > MAX_SIDE[suffix]:
        raise ValueError(f"{path}: the picture is {size[0]}x{size[1]}, and {suffix} holds sides of up to "
                         f"{MAX_SIDE[suffix]} pixels; write a .png or .tif")


def has_max_side(path: str | os.PathLike[str]) -> bool:
    """Whether the format of that name has a longest side which photographs may exceed."""
    return Path(path).suffix.lower() in MAX_SIDE


def check_matte_name(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless the format of that name has 16-bit grey."""
    if Path(path).suffix.lower() not in MATTE_SUFFIXES:
        raise ValueError(f"{path}: a matte needs 16 bits; expected a name that ends in .png or .tif")


def check_trimap_name(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless the format of that name keeps grey values exactly."""
    if Path(path).suffix.lower() not in TRIMAP_SUFFIXES:
        raise ValueError(f"{path}: a trimap needs exact values; expected a name that ends in .png, .tif or .bmp")
