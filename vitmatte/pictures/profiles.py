"""Colours and the ICC profile that says what they mean: made to agree when a picture is read, and brought from one
RGB space to another. Where there is no profile the colours are sRGB, as everywhere."""

from __future__ import annotations

import logging
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

GREY_MODES = ("1", "L", "LA", "La")
# What a profile calls its colour space, and the modes of the pixels that it may describe. A profile of RGB describes
# grey pixels too, as many programs write them: all three channels are the grey.
MODES = {
    "RGB": ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "YCbCr", *GREY_MODES),
    "GRAY": GREY_MODES,
    "CMYK": ("CMYK",),
    "Lab": ("LAB",),
}
SPACES = ("mntr", "scnr", "prtr", "spac")  # classes of profiles that describe a space: screen, scanner, printer, space
BLACK_POINT = 0x2000  # cmsFLAGS_BLACKPOINTCOMPENSATION: black stays black, as photo editors do it
LATTICE = 9  # colours per channel by which two spaces are compared
SAME = 2  # steps of 8 bits by which two spaces may differ and be the same; makers of sRGB profiles round differently


def profile_in(picture: Image) -> bytes | None:
    """The ICC profile that stands in a picture's file, as it is there."""
    profile = picture.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile else None


def to_rgb(picture: Image, name: str) -> tuple[Image, bytes | None]:
    """A picture of 8 bits in RGB, and the profile that its colours now have.

    RGB pixels keep their profile. Grey, CMYK and Lab ones become sRGB by way of theirs, and so does RGB whose profile
    only leads out of its space, as a scanner's. A profile that cannot be read, or is of another kind of pixels than
    the file's, is left out with a warning: no program could use it.

    Args:
        picture: of any mode but 16-bit grey and float, for which see `grey_to_rgb`.
        name: for the warning.

    Returns:
        The RGB picture, and a readable RGB profile or None for sRGB.
    """
    profile = profile_in(picture)
    if picture.mode == "LAB":  # the same for all profiles: CIE L*a*b*
        return picture.convert("RGB"), None
    if profile is None or not _describes(profile, picture.mode, name):
        return picture.convert("RGB"), None
    if picture.mode != "CMYK" and _space(profile) == "RGB":
        rgb = picture.convert("RGB")
        return (rgb, profile) if _leads_back(profile) else (_transform(profile, None, "RGB")(rgb), None)
    plain = picture if picture.mode == "CMYK" else picture.convert("L")
    return _transform(profile, None, plain.mode)(plain), None


def grey_to_rgb(grey: np.ndarray, profile: bytes | None, name: str) -> tuple[np.ndarray, bytes | None]:
    """The same for grey [H, W] in 0..1 of more than 8 bits: [H, W, 3], and the profile its colours now have."""
    if profile is not None and _describes(profile, "L", name):
        if _space(profile) == "RGB" and _leads_back(profile):
            return np.repeat(grey[..., None], 3, axis=-1), profile
        from PIL import Image

        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        curve, _ = to_rgb(_tagged(ramp, profile), name)
        levels = np.asarray(curve, np.float32)[0] / 255
        channels = [np.interp(grey, np.linspace(0, 1, 256), levels[:, i]) for i in range(3)]
        return np.stack(channels, axis=-1).astype(np.float32), None
    return np.repeat(grey[..., None], 3, axis=-1), None


def kept_by_rgb(profile: bytes | None, name: str) -> tuple[bytes | None, bool]:
    """(the profile that RGB pixels of more than 8 bits keep, None for sRGB; whether they must be brought to sRGB first,
    which only 8 bits can be)."""
    if profile is None or not _describes(profile, "RGB", name):
        return None, False
    back = _space(profile) == "RGB" and _leads_back(profile)
    return (profile, False) if back else (None, True)


def converted(colours: Tensor, source: bytes | None, target: bytes | None) -> Tensor:
    """RGB colours from one space to another, by 8 bits; relative colorimetric, with black point compensation.

    Args:
        colours: [..., 3] in 0..1.
        source, target: profiles that `to_rgb` gave; None for sRGB.

    Returns:
        colours themselves where both spaces are the same, else others of the same shape, clipped to the target's gamut.
    """
    if same_space(source, target):
        return colours
    from PIL import Image

    flat = colours.reshape(1, -1, 3) if colours.ndim < 3 else colours.reshape(-1, *colours.shape[-2:])
    levels = (flat.float().cpu() * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    found = np.asarray(_transform(source, target, "RGB")(Image.fromarray(levels)), np.float32) / 255
    return torch.from_numpy(found).reshape(colours.shape).to(colours)


@lru_cache(maxsize=16)
def same_space(one: bytes | None, other: bytes | None) -> bool:
    """Whether two profiles mean the same colours by the same numbers, to a step or two of 8 bits."""
    if one == other:
        return True
    from PIL import Image

    side = np.linspace(0, 255, LATTICE).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(LATTICE, -1, 3)
    found = np.asarray(_transform(one, other, "RGB")(Image.fromarray(lattice)), np.int16)
    return int(abs(found - lattice).max()) <= SAME


def _tagged(picture: Image, profile: bytes) -> Image:
    picture.info["icc_profile"] = profile
    return picture


def _opened(profile: bytes | None) -> Any:
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB") if profile is None else ImageCms.ImageCmsProfile(BytesIO(profile)).profile


def _space(profile: bytes) -> str:
    return str(_opened(profile).xcolor_space).strip()


def _transform(source: bytes | None, target: bytes | None, mode: str) -> Any:
    """A function of pictures of a mode, in the one space, to RGB in the other."""
    from PIL import ImageCms

    flags: Any = BLACK_POINT  # Pillow 10 has no name for it
    how = ImageCms.buildTransform(_opened(source), _opened(target), mode, "RGB",
                                  ImageCms.Intent.RELATIVE_COLORIMETRIC, flags)
    return lambda picture: ImageCms.applyTransform(picture, how)


@lru_cache(maxsize=16)
def _leads_back(profile: bytes) -> bool:
    """Whether colours can be brought into a profile's space."""
    from PIL.ImageCms import PyCMSError

    try:
        _transform(None, profile, "RGB")
    except PyCMSError:
        return False
    return True


def _describes(profile: bytes, mode: str, name: str) -> bool:
    """Whether pixels of a mode have the meaning that a profile gives; why not is logged."""
    fault = _fault(profile, mode)
    if fault is not None:
        log.warning("%s: its colour profile %s; it is left out, and the colours are taken for sRGB", name, fault)
    return fault is None


@lru_cache(maxsize=16)
def _fault(profile: bytes, mode: str) -> str | None:
    from PIL.ImageCms import PyCMSError

    try:
        opened = _opened(profile)
        space = str(opened.xcolor_space).strip()
        if str(opened.device_class).strip() not in SPACES or mode not in MODES.get(space, ()):
            return f"is of {space} and its pixels are {mode}"
        plain = "L" if space == "GRAY" else "LAB" if space == "Lab" else space
        _transform(profile, None, plain)
    except (PyCMSError, OSError, ValueError) as error:
        return f"cannot be read ({str(error) or type(error).__name__:.100})"
    return None
