"""Tensors to picture files: whole or not at all, and refused before any work where a format cannot hold them."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import TOLERANCE, check_plane
from ..files import whole_file
from .deep import sixteen_bits, write_png16
from .exr import write_exr
from .formats import EXR_SUFFIX, TIFF_SUFFIXES, Bits, Form
from .metadata import Metadata
from .profiles import converted, same_space
from .tiff import tell_tags, write_tiff

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr")
OPAQUE_SUFFIXES = (".jpg", ".jpeg", ".bmp")
MATTE_SUFFIXES = (".png", ".tif", ".tiff", ".exr")
TRIMAP_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
JPEG_SUFFIXES = (".jpg", ".jpeg")
# The longest side in pixels: of WebP by its format, of JPEG by libjpeg (JPEG_MAX_DIMENSION; the format has 65,535).
MAX_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
MAX_JPEG_EXIF = 65533  # bytes of one segment


def write_matte(
    path: str | os.PathLike[str],
    alpha: Tensor,
    *,
    bits: Bits | None = None,
    compression: str | None = None,
    metadata: Metadata | None = None,
) -> None:
    """Writes a matte [H, W] in 0..1 as 16-bit grey PNG or TIFF, or as OpenEXR (channel Y), whole or not at all.

    Args:
        bits: of OpenEXR: "half", the default, or "float"; 16 of the others.
        compression: see `write_image`.
        metadata: whose shape of pixels an OpenEXR gets; nothing else is told of a matte.

    Raises:
        ValueError: a format without 16-bit grey, or an option that it does not have. RuntimeError: OpenEXR without
            OpenImageIO or PyAV.
    """
    from PIL import Image

    check_matte_name(path, Form(bits, None, compression))
    plane = check_plane(alpha, "the matte")
    if Path(path).suffix.lower() == EXR_SUFFIX:
        write_exr(path, plane, half=bits != "float", compression=compression or "zip", metadata=metadata)
    else:
        save_picture(Image.fromarray(sixteen_bits(plane)), path, Form(compression=compression))


def write_trimap(path: str | os.PathLike[str], trimap: Tensor, *, compression: str | None = None) -> None:
    """Writes a trimap [H, W] of 0, 0.5 and 1 as 8-bit grey 0, 128 and 255, as everybody does; whole or not at all.

    Args:
        compression: of PNG and TIFF, see `write_image`.

    Raises:
        ValueError: a format that would not keep the values, or an option that it does not have.
    """
    from PIL import Image

    check_trimap_name(path, Form(compression=compression))
    levels = (check_plane(trimap, "the trimap").float().cpu() * 255).add(0.5).floor().numpy().astype(np.uint8)
    save_picture(Image.fromarray(levels), path, Form(compression=compression))


def write_image(
    path: str | os.PathLike[str],
    image: Tensor,
    *,
    profile: bytes | None = None,
    metadata: Metadata | None = None,
    bits: Bits | None = None,
    premultiplied: bool | None = None,
    compression: str | None = None,
) -> None:
    """Writes [H, W, 3 or 4], code values in 0..1, whole or not at all.

    Args:
        path: the suffix chooses the format.
        image: the fourth channel is straight alpha.
        profile: the ICC profile of the image's colours, an RGB one; None for sRGB. OpenEXR has none: the colours are
            brought to sRGB, and to its light.
        metadata: resolution and EXIF, as far as the format has them (BMP and OpenEXR have no EXIF, WebP the resolution
            in EXIF only). EXIF that is too long for a JPEG is left out with a warning.
        bits: of a channel. PNG and TIFF: 8, the default, or 16. OpenEXR: "half", the default, or "float", whose values
            are light, beyond 0..1 too. What other formats have no place for is written as their nearest value, with a
            warning.
        premultiplied: whether colours are multiplied by alpha. OpenEXR is premultiplied without a word, in light; TIFF
            is straight without one, else premultiplied in code values, and its tag says which; others are straight.
        compression: PNG: fast (the default), none, or zlib's level 0 to 9; TIFF: none (the default), lzw,
            deflate; WebP: lossy (the default), lossless; OpenEXR: zip (the default), none, rle, zips, piz, and dwaa and
            dwab, which lose something.

    Raises:
        ValueError: an unknown suffix, four channels for a format without transparency, an option that the format does
            not have, or a side that is longer than it can hold. RuntimeError: a package that the format needs is not
            there.
    """
    from PIL import Image

    suffix, form, transparent = Path(path).suffix.lower(), Form(bits, premultiplied, compression), image.shape[-1] == 4
    check_image_name(path, transparent=transparent, size=(image.shape[1], image.shape[0]), form=form)
    metadata = metadata or Metadata()
    if suffix == EXR_SUFFIX:
        write_exr(path, _in_srgb(path, image, profile), half=bits != "float", premultiplied=premultiplied is not False,
                  compression=compression or "zip", metadata=metadata)
        return
    _tell_lost(path, image[..., :3], metadata)
    if suffix == ".png" and bits == 16:
        write_png16(path, image, profile=profile, metadata=metadata, compression=compression)
        return
    if premultiplied:
        image = image.clone()
        image[..., :3] *= image[..., 3:]
    if form.by_openimageio(suffix):
        levels = sixteen_bits(image) if bits == 16 else _eight_bits(image)
        write_tiff(path, levels, premultiplied=bool(premultiplied), profile=profile, metadata=metadata,
                   compression=compression)
        return
    how: dict[str, Any] = {"icc_profile": profile}
    if suffix in TIFF_SUFFIXES and compression not in (None, "none"):  # Pillow's way to them drops EXIF
        with whole_file(path) as temporary:
            save_picture(Image.fromarray(_eight_bits(image)), temporary, form, **how)
            tell_tags(temporary, metadata, str(path))
        return
    if suffix in (*JPEG_SUFFIXES, ".webp"):
        how["quality"] = 95
    if metadata.dpi is not None:
        how["dpi"] = metadata.dpi
    if metadata.exif is not None:
        if suffix in JPEG_SUFFIXES and len(metadata.exif) > MAX_JPEG_EXIF:
            log.warning("%s: EXIF of %d bytes is left out; a JPEG holds %d", path, len(metadata.exif), MAX_JPEG_EXIF)
        else:
            how["exif"] = metadata.exif
    save_picture(Image.fromarray(_eight_bits(image)), path, form, **how)


def _eight_bits(image: Tensor) -> np.ndarray:
    return (image.float().cpu() * 255).round().clamp(0, 255).numpy().astype(np.uint8)


def _in_srgb(path: str | os.PathLike[str], image: Tensor, profile: bytes | None) -> Tensor:
    """The picture with colours in sRGB; where they come from another space, by 8 bits, which is said."""
    if same_space(profile, None):
        return image
    log.warning("%s: OpenEXR has no ICC profile; the colours are brought to sRGB, by 8 bits and clipped to its gamut",
                path)
    return torch.cat([converted(image[..., :3], profile, None), image[..., 3:]], dim=-1)


def _tell_lost(path: str | os.PathLike[str], colours: Tensor, metadata: Metadata) -> None:
    low, high = (float(value) for value in torch.aminmax(colours.detach()))
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        share = float(((colours < -TOLERANCE) | (colours > 1 + TOLERANCE)).any(-1).float().mean())
        log.warning("%s: %.1f %% of the pixels are darker than black or brighter than white (%g to %g) and are "
                    "clipped; write .exr to keep them", path, 100 * share, low, high)
    if metadata.pixel_aspect != 1:
        log.warning("%s: the pixels are not square (%g), which only .exr tells", path, metadata.pixel_aspect)
    if metadata.primaries is not None:
        log.warning("%s: the light has primaries of its own, which only .exr tells; read as sRGB its colours are wrong",
                    path)


def save_picture(picture: Image, path: str | os.PathLike[str], form: Form | None = None, **how: Any) -> None:
    """Writes a picture in the format that its name says, whole or not at all.

    Pillow's own writing to a file takes a write that was cut short by a full disk for a whole one.
    """
    from PIL import Image

    content, suffix = BytesIO(), Path(path).suffix.lower()
    how |= (form or Form()).pillow(suffix)
    picture.save(content, Image.registered_extensions()[suffix], **how)
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def check_image_name(
    path: str | os.PathLike[str],
    *,
    transparent: bool,
    size: tuple[int, int] | None = None,
    form: Form | None = None,
) -> None:
    """Raises unless a picture, `transparent` or not, can be written to a file of that name.

    Args:
        size: (width, height), where it is known.
        form: how it is to be written.

    Raises:
        ValueError, RuntimeError: as `write_image`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of picture; expected a name that ends in {', '.join(SUFFIXES)}")
    if transparent and suffix in OPAQUE_SUFFIXES:
        raise ValueError(f"{path}: {suffix} has no transparency; write a .png, or give a background")
    (form or Form()).check(path, transparent=transparent)
    if size is not None and has_max_side(path) and max(size) > MAX_SIDE[suffix]:
        raise ValueError(f"{path}: the picture is {size[0]}x{size[1]}, and {suffix} holds sides of up to "
                         f"{MAX_SIDE[suffix]} pixels; write a .png or .tif")


def has_max_side(path: str | os.PathLike[str]) -> bool:
    """Whether the format of that name has a longest side which photographs may exceed."""
    return Path(path).suffix.lower() in MAX_SIDE


def check_matte_name(path: str | os.PathLike[str], form: Form | None = None) -> None:
    """Raises ValueError unless the format of that name has grey of 16 bits, and the options of the form; RuntimeError
    for OpenEXR without a package that writes it."""
    suffix = Path(path).suffix.lower()
    if suffix not in MATTE_SUFFIXES:
        raise ValueError(f"{path}: a matte needs 16 bits; expected a name that ends in .png, .tif or .exr")
    form = form or Form()
    if form.bits == 8:
        raise ValueError(f"{path}: bits is 8; a matte has 16, or half or float in .exr")
    replace(form, bits=None if suffix != EXR_SUFFIX and form.bits == 16 else form.bits).check(path, transparent=False)


def check_trimap_name(path: str | os.PathLike[str], form: Form | None = None) -> None:
    """Raises ValueError unless the format of that name keeps grey values exactly, and has the options of the form."""
    if Path(path).suffix.lower() not in TRIMAP_SUFFIXES:
        raise ValueError(f"{path}: a trimap needs exact values; expected a name that ends in .png, .tif or .bmp")
    (form or Form()).check(path, transparent=False)
