"""Pictures of which Pillow would cut something: colours of 16 bits, and OpenEXR; read by OpenImageIO, as they are.

Which files these are is told by their content. Where OpenImageIO is not installed, PNGs and TIFFs of 16 bits are read
by Pillow with 8, which is said, and OpenEXR is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import OVERSHOOT, TOLERANCE
from . import exr_reading
from .formats import Bits
from .metadata import ORIENTATION, Metadata, metadata_of
from .opening import opened as pillow_opened
from .packages import INSTALL, needed_openimageio, openimageio
from .pixels import opened, pixels_of
from .planes import GREY_WEIGHTS, Layers, is_coloured
from .profiles import grey_to_rgb, kept_by_rgb, profile_in

log = logging.getLogger(__name__)

EXR_HEAD, PNG_HEAD, TIFF_HEADS = b"v/1\x01", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_DEPTH, PNG_COLOUR, COLOURED_PNG = 24, 25, (2, 4, 6)  # places in the file, and RGB, grey with alpha, RGBA
RGB, BLACK_IS_ZERO, REDUCED = 2, 1, 1  # of TIFF 6.0
WHITE = 65535


@dataclass(frozen=True)
class Wide:
    """A picture as its file has it, upright.

    Attributes:
        colours: [H, W, 1 or 3], float32: code values in 0..1, or light, which may be beyond; not premultiplied.
        alpha: [H, W], float32, or None.
        bits: of a channel.
        profile: the ICC profile of its colours, an RGB one; None for sRGB.
        metadata: what is kept with what is made of it.
        is_matte: it has no colours, see `exr_reading.Light`.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    bits: Bits
    profile: bytes | None
    metadata: Metadata
    is_matte: bool = False

    @property
    def is_light(self) -> bool:
        """Whether the values are light and not code values."""
        return self.bits in ("half", "float")

    def layers(self) -> Layers:
        """Its values as those of a mask or trimap, where light counts as it is stored.

        Raises:
            ValueError: values far outside of 0..1, and no alpha that counts instead.
        """
        low, high = float(self.colours.min()), float(self.colours.max())
        is_opaque = self.alpha is None or float(self.alpha.min()) >= 1 - TOLERANCE
        if is_opaque and not -OVERSHOOT < low <= high < 1 + OVERSHOOT:
            raise ValueError(f"its values reach from {low:g} to {high:g}; expected 0 to 1, as black and white")
        colours = self.colours.clip(0, 1)
        grey = colours[..., 0] if colours.shape[-1] == 1 else colours @ np.asarray(GREY_WEIGHTS, np.float32)
        alpha = None if self.alpha is None else self.alpha.clip(0, 1)
        white = 1 if self.is_light else WHITE
        return Layers(grey, alpha, is_coloured(255 * colours, alpha), keyed=False, white=white)


def read_wide(path: str | os.PathLike[str]) -> Wide | None:
    """A picture of 16 bits or of light; None where Pillow reads all that the file has.

    Raises:
        ValueError: a picture that is damaged, or whose meaning cannot be told. RuntimeError: OpenEXR without
            OpenImageIO.
    """
    with Path(path).open("rb") as file:
        head = file.read(32)
    if head.startswith(EXR_HEAD):
        needed_openimageio("OpenEXR files")
        found = exr_reading.read_light(Path(path))
        return Wide(found.colours, found.alpha, found.bits, None, Metadata(None, None, found.primaries, found.aspect),
                    found.is_matte)
    is_png = head.startswith(PNG_HEAD) and head[PNG_DEPTH:PNG_DEPTH + 1] == b"\x10" and head[PNG_COLOUR] in COLOURED_PNG
    if not is_png and not head.startswith(TIFF_HEADS):
        return None
    if openimageio() is None:
        return None
    try:
        source = opened(Path(path))
    except ValueError:
        return None  # what Pillow says then is what was always said
    try:
        return _sixteen_bits(source, path)
    finally:
        source.close()


@lru_cache(maxsize=4096)
def tell_cut(name: str, kind: str | None) -> None:
    """Says that Pillow left the upper 8 of 16 bits of a file of that kind, Pillow's name; once, for who reads it in a
    loop."""
    lacking = kind in ("PNG", "TIFF") and openimageio() is None
    remedy = f"; reading all of them needs OpenImageIO: {INSTALL}" if lacking else ""
    log.warning("%s: its colours have 16 bits, of which 8 are read%s", name, remedy)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """(width, height) of an OpenEXR picture, without decoding it; None for other files. Raises as `read_wide`."""
    with Path(path).open("rb") as file:
        if file.read(len(EXR_HEAD)) != EXR_HEAD:
            return None
    needed_openimageio("OpenEXR files")
    source = opened(Path(path))
    try:
        return source.spec().full_width, source.spec().full_height
    finally:
        source.close()


def _sixteen_bits(source: Any, path: str | os.PathLike[str]) -> Wide | None:
    """The pixels of an opened PNG or TIFF, unless Pillow reads all of them, or brings them to RGB itself."""
    spec = source.spec()
    kind, channels, alpha = str(spec.format), len(spec.channelnames), spec.alpha_channel
    photometric = spec.get_int_attribute("tiff:PhotometricInterpretation", RGB)
    if channels == 1 or kind in ("uint8", "int8"):
        return None
    if photometric not in (RGB, BLACK_IS_ZERO) or (photometric == BLACK_IS_ZERO and alpha != 1):
        return None  # CMYK, Lab, YCbCr
    if kind in ("half", "float", "double"):
        raise ValueError("it is a TIFF with colours of floating point, of which no tag says whether they are light or "
                         "code values; save it as OpenEXR (light), or with 16 bits")
    if kind != "uint16":
        raise ValueError(f"its colours are of type {kind}; expected whole numbers of 8 or 16 bits, 0 or more")
    _check_pages(source)
    given, orientation, metadata, known = _tags(spec, path)
    count = 1 if photometric == BLACK_IS_ZERO or channels == 2 else 3
    profile, must_be_brought = kept_by_rgb(given, str(path)) if count == 3 else (None, False)
    if must_be_brought:
        return None  # Pillow reads 8 of the bits, which is said there
    try:
        pixels = pixels_of(source, kind)
    except ValueError:  # such as a compression that OpenImageIO was built without
        if known:
            return None
        raise
    associated = source.format_name() == "tiff" and not spec.get_int_attribute("oiio:UnassociatedAlpha")
    colours, share = _straight(pixels, count, alpha, associated=associated)
    if count == 1 and given is not None:
        colours, profile = grey_to_rgb(colours[..., 0], given, str(path))
    turn = _turned(orientation)
    return Wide(turn(colours), None if share is None else turn(share), 16, profile, metadata)


def _straight(pixels: np.ndarray, count: int, alpha: int, *, associated: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours of so many channels and alpha, in 0..1; colours that are multiplied by alpha are divided by it."""
    values = pixels.astype(np.float32) / WHITE
    share = values[..., alpha].copy() if alpha >= 0 else None
    colours = np.ascontiguousarray(values[..., :count])
    if share is not None and associated:
        np.divide(colours, share[..., None], out=colours, where=share[..., None] > 0)
        colours = colours.clip(0, 1)
    return colours, share


def _tags(spec: Any, path: str | os.PathLike[str]) -> tuple[bytes | None, int, Metadata, bool]:
    """(ICC profile, orientation, what is kept with what is made of it, whether Pillow knows such a file); what
    OpenImageIO has of them where Pillow does not: TIFFs of grey with alpha, or of more channels."""
    from PIL import UnidentifiedImageError

    try:
        with pillow_opened(path) as picture:
            orientation = int(picture.getexif().get(ORIENTATION, 1))
            return profile_in(picture), orientation, metadata_of(picture, str(path)), True
    except UnidentifiedImageError:
        log.warning("%s: resolution and EXIF of such a TIFF are not read, and are not kept", path)
    profile = spec.getattribute("ICCProfile")
    return (None if profile is None else bytes(np.asarray(profile, np.uint8)),
            int(spec.get_int_attribute("Orientation", 1)), Metadata(), False)


def _turned(orientation: int) -> Callable[[np.ndarray], np.ndarray]:
    """What brings pixels upright (EXIF 3.0, tag 274)."""
    def turn(pixels: np.ndarray) -> np.ndarray:
        if orientation in (5, 6, 7, 8):
            pixels = pixels.swapaxes(0, 1)
        if orientation in (3, 4, 7, 8):
            pixels = pixels[::-1]
        if orientation in (2, 3, 6, 7):
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)

    return turn


def _check_pages(source: Any) -> None:
    """Raises ValueError for several pages that are no smaller copies of the first."""
    page = 1
    while source.seek_subimage(page, 0):
        if not source.spec().get_int_attribute("tiff:subfiletype", 0) & REDUCED:
            raise ValueError("it has several pages, of which one is wanted; save that one alone, or each of them to a "
                             "folder and give the folder")
        page += 1
    source.geterror()  # that there was no further one
    source.seek_subimage(0, 0)
