"""Picture files to tensors. Pillow reads them, with 8 bits of colour; what has more is read by `wide`."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..checks import TOLERANCE
from ..plain import outside_inference_mode
from ..srgb import to_srgb
from . import wide
from .formats import EXR_SUFFIX, Bits
from .listing import list_folder
from .metadata import Metadata, metadata_of, upright_size
from .opening import FORMATS, decoded, how_stored, named, opened, upright
from .planes import Layers, alpha_of, check_depth, layers_of, mask_of, trimap_of, wide_grey
from .profiles import grey_to_rgb, profile_in, to_rgb
from .stored import WIDE_MODES, Stored
from .wide import Wide, read_wide

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photograph:
    """A photograph as its file has it.

    Attributes:
        image: [1, H, W, 3], float32, code values in 0..1; those of OpenEXR, whose light is brought to sRGB's transfer,
            may be beyond.
        profile: the ICC profile of its colours, None for sRGB.
        metadata: what of the file is kept with what is made of it.
        bits: of a channel: 8 or 16, whole numbers; "half" or "float" of OpenEXR.
    """

    image: Tensor
    profile: bytes | None
    metadata: Metadata
    bits: Bits = 8

    @property
    def is_light(self) -> bool:
        """Whether its file holds light, which may be beyond 0..1."""
        return self.bits in ("half", "float")

    @property
    def seen(self) -> Tensor:
        """The image with values in 0..1, as a net sees it: what is brighter than white is white."""
        return self.image.clamp(0, 1) if self.is_light else self.image


def _layers(path: str | os.PathLike[str]) -> tuple[Layers, Stored]:
    """Brightness and alpha of a file, upright, and how it is stored."""
    found = read_wide(path)
    if found is not None:
        return found.layers(), Stored(8 if found.is_light else 16)
    with opened(path) as file:
        picture, stored = decoded(file)
        return layers_of(picture, stored), stored


@lru_cache(maxsize=1)
def suffixes() -> tuple[str, ...]:
    """How the names of files end that hold one of `FORMATS` or OpenEXR, in small letters: what is found in folders."""
    from PIL import Image

    Image.init()
    known = {*Image.OPEN, "MPO"} & {*FORMATS}  # MPO is opened as JPEG
    found = {suffix for suffix, name in Image.registered_extensions().items() if name in known}
    return tuple(sorted(found | {EXR_SUFFIX}))


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
    with named(path):
        if (size := wide.read_size(path)) is not None:
            return size
        with opened(path) as file:
            return upright_size(file)


@outside_inference_mode
def read_image(path: str | os.PathLike[str]) -> Tensor:
    """[1, H, W, 3], float32 in 0..1, upright; grey, palette, CMYK and Lab become RGB (by way of their ICC profile, in
    sRGB), a fourth channel is left out. The light of OpenEXR gets sRGB's transfer, and what is beyond 0..1 is clipped,
    with a warning.

    Raises:
        FileNotFoundError, ValueError: not there, not a picture, several pictures, values of another scale, or OpenEXR
            without OpenImageIO.
    """
    photo = read_photograph(path)
    if photo.is_light:
        tell_clipped(path, photo.image)
    return photo.seen


def tell_clipped(name: str | os.PathLike[str], image: Tensor) -> None:
    """Says that a picture's light is clipped, where any of it is beyond 0..1."""
    low, high = (float(value) for value in torch.aminmax(image))
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        log.warning("%s: its light is darker than black or brighter than white, and is clipped", name)


@outside_inference_mode
def read_photograph(path: str | os.PathLike[str]) -> Photograph:
    """A picture with what is needed to write what is made of it; raises as `read_image`."""
    with named(path):
        if (found := read_wide(path)) is not None:
            if found.is_matte:
                raise ValueError("it has one channel that is no colour; expected R, G and B, or Y")
            return Photograph(torch.from_numpy(_code_values(found)).unsqueeze(0), found.profile, found.metadata,
                              found.bits)
        with opened(path) as file:
            stored = how_stored(file)
            metadata = metadata_of(file, str(path))  # before Pillow turns a TIFF
            colours, profile, is_cut = _colours(upright(file), stored, str(path))
            if is_cut:
                wide.tell_cut(str(path), file.format)
        return Photograph(torch.from_numpy(colours).unsqueeze(0), profile, metadata,
                          16 if stored.bits > 8 and not is_cut else 8)


@outside_inference_mode
def read_mask(path: str | os.PathLike[str]) -> Tensor:
    """A mask or a matte: [1, H, W], float32 in 0..1, 1 = white or opaque.

    A cut-out counts by its alpha channel; a picture without one, or with one that is opaque throughout (up to 1/255),
    by its brightness. Of OpenEXR the values count as they are stored.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that tell different masks,
            colours without white, or values that are labels or of another scale.
    """
    with named(path, "mask"):
        return _plane(mask_of(*_layers(path)))


@outside_inference_mode
def read_trimap(path: str | os.PathLike[str]) -> Tensor:
    """A trimap: [1, H, W], float32, 0 = background, 1 = foreground, and what is between them unknown.

    Its brightness counts, of OpenEXR as it is stored; what is transparent is background.

    Raises:
        FileNotFoundError, ValueError: as `read_image`; or brightness and transparency that contradict each other,
            colours, or values that are labels or of another scale.
    """
    with named(path, "trimap"):
        return _plane(trimap_of(*_layers(path)))


@outside_inference_mode
def read_cutout(path: str | os.PathLike[str]) -> Tensor:
    """A cut-out: [1, H, W, 4], float32 in 0..1, upright, whose fourth channel is straight alpha; [1, H, W, 3] where
    the file has no transparency. Premultiplied alpha, as OpenEXR has it, becomes straight, and light beyond 0..1 is
    clipped. Raises as `read_mask`."""
    with named(path, "cut-out"):
        if (found := read_wide(path)) is not None:
            layers = found.layers() if not found.is_light else Layers(
                found.colours[..., 0], None if found.alpha is None else found.alpha.clip(0, 1), False, False, 1)
            colours, alpha = _code_values(found).clip(0, 1), alpha_of(layers, Stored(8 if found.is_light else 16))
        else:
            with opened(path) as file:
                picture, stored = decoded(file)
                colours, alpha = _colours(picture, stored, str(path))[0], alpha_of(layers_of(picture, stored), stored)
        return torch.from_numpy(colours if alpha is None else np.dstack([colours, alpha])).unsqueeze(0)


def _code_values(found: Wide) -> np.ndarray:
    """[H, W, 3]; ValueError where they are of another scale."""
    colours = to_srgb(torch.from_numpy(found.colours)).numpy() if found.is_light else found.colours
    if not found.is_light:
        check_depth(float(colours.max()), Stored(16))
    return np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours


def _colours(picture: Image, stored: Stored, name: str) -> tuple[np.ndarray, bytes | None, bool]:
    """(colours [H, W, 3], float32 in 0..1; the ICC profile they have, None for sRGB; whether they are the upper 8 of
    16 bits)."""
    is_wide = picture.mode in (*WIDE_MODES, "F")
    if is_wide:
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
    return pixels, profile, stored.bits == 16 and not is_wide


def _plane(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).unsqueeze(0)
