"""What the pixels of a mask, a matte or a trimap stand for: a plane [H, W] in 0..1, or a refusal that says why.

A mask or a matte is the alpha channel of a cut-out; of a picture without transparency it is the brightness. A trimap
is its brightness, on black where it is transparent. What could be read in two ways, and values that belong to another
scale (labels 0, 1, 2, or 0..255 in 16 bits), are refused. `reading` opens the files and names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..checks import TOLERANCE
from .stored import WIDE_MODES, Stored

if TYPE_CHECKING:
    from PIL.Image import Image

FAINT = 1 / 16  # a plane without anything brighter is of another scale: labels, 0..255 or 12 bits in 16
DIM, LABELS = 1 / 4, 8  # nor is one whose few levels all lie below a quarter
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue in brightness (ITU-R BT.601), as Pillow has them
COLOURED = 32  # 8-bit levels between a pixel's channels; lossy formats leave greys within a few


@dataclass(frozen=True)
class Layers:
    """brightness, alpha: [H, W], float32 in 0..1; no alpha where there is no transparency. coloured: something visible
    in it is not grey. keyed: transparent are all pixels of some values, not of an alpha channel. white: the file's."""

    brightness: np.ndarray
    alpha: np.ndarray | None
    coloured: bool
    keyed: bool
    white: float

    @property
    def opaque(self) -> bool:
        return self.alpha is None or bool(self.alpha.min() >= 1 - TOLERANCE)


def mask_of(layers: Layers, stored: Stored) -> np.ndarray:
    """A mask or matte: float32, 1 = white or opaque. Raises ValueError for what is ambiguous or of another scale."""
    if layers.alpha is None or layers.opaque:
        if layers.coloured and layers.brightness.max() < 1 - TOLERANCE:
            raise ValueError("it has colours and nothing white, as maps of labels have; expected white on black: "
                             "paint the subject white")
        return _on_its_scale(layers.brightness, layers.white, stored)
    shown = layers.brightness[layers.alpha >= 0.5]
    if not layers.coloured and shown.size:
        black, white = (shown <= TOLERANCE).mean(), (shown >= 1 - TOLERANCE).mean()
        if (layers.keyed and white < 1) or (min(black, white) >= 0.01 and black + white >= 0.95):
            raise ValueError("its brightness and its transparency tell different masks; save it without transparency "
                             "for the one, or its alpha channel as a grey picture for the other")
    return _alpha_on_its_scale(layers.alpha, layers.white, stored)


def trimap_of(layers: Layers, stored: Stored) -> np.ndarray:
    """A trimap: float32, 0 = background to 1 = foreground. Raises ValueError for what is ambiguous or of another
    scale."""
    if layers.coloured:
        raise ValueError("it has colours; expected a trimap of black (background), grey (unknown) and white "
                         "(foreground)")
    plane = layers.brightness
    if layers.alpha is not None and not layers.opaque:
        hidden = layers.alpha == 0
        if (plane[hidden] > TOLERANCE).any() or plane.max() <= TOLERANCE:
            raise ValueError("its brightness and its transparency contradict each other; expected transparency where "
                             "it is black, for background, or none: save it without transparency")
        painted = ((plane <= TOLERANCE) & ~hidden).any()
        plane = plane * layers.alpha
        if painted and hidden.any() and not ((plane > TOLERANCE) & (plane < 1 - TOLERANCE)).any():
            raise ValueError("it has black, white and transparent pixels and no grey: whether what is transparent is "
                             "unknown or background cannot be told; paint what is unknown grey")
    plane = _on_its_scale(plane, layers.white, stored)
    if plane.max() < 1 - TOLERANCE:
        levels = np.unique(plane)
        some = levels[levels > TOLERANCE]
        if len(levels) <= 4 and some.size and some.max() - some.min() > 1 / 8:
            told = ", ".join(f"{level * layers.white:g}" for level in levels)
            raise ValueError(f"its values are {told}, of which none is white; expected 0 (background), about "
                             f"{layers.white / 2:.0f} (unknown) and {layers.white:g} (foreground)")
    return plane


def alpha_of(layers: Layers, stored: Stored) -> np.ndarray | None:
    """The alpha channel, float32, opaque or not; None where there is no transparency."""
    alpha = layers.alpha
    return None if alpha is None else _alpha_on_its_scale(alpha, layers.white, stored)


def wide_grey(picture: Image, stored: Stored) -> tuple[np.ndarray, float]:
    """A picture of a mode of more than 8 bits (`WIDE_MODES` and F) as float32 in 0..1, and what stands for white.

    Raises:
        ValueError: values of another scale.
    """
    values = np.asarray(picture)
    white = 1 if picture.mode == "F" else 2**15 - 1 if stored.signed and stored.bits == 16 else 2**16 - 1
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not 0 <= low <= high <= white:
        raise ValueError(f"its values reach from {low:g} to {high:g}; expected 0 to {white}, as black and white")
    grey = values.astype(np.float32) / white
    return (1 - grey if stored.inverted else grey), white


def check_depth(high: float, stored: Stored) -> None:
    """Raises ValueError for a photograph of more than 8 bits whose greatest value (`high`, of 1) is in the lowest
    sixteenth of them, as of one of 8 or 12 bits that was not scaled."""
    if stored.bits > 8 and high < FAINT:
        raise ValueError("all its values are below 4096, as of a picture of 8 or 12 bits, where 65535 is white; scale "
                         "it, or save it with 8 bits")


def layers_of(picture: Image, stored: Stored) -> Layers:
    """Brightness and alpha of a picture that Pillow decoded. Raises ValueError for values of another scale."""
    key = picture.info.get("transparency")
    if picture.mode in (*WIDE_MODES, "F"):
        grey, white = wide_grey(picture, stored)
        alpha = None if key is None else (np.asarray(picture) != key).astype(np.float32)
        return Layers(grey, alpha, coloured=False, keyed=key is not None, white=white)
    if picture.mode in ("L", "1") and key is None:
        return Layers(_scaled(picture.convert("L")), None, coloured=False, keyed=False, white=255)
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    alpha = None
    if key is not None or picture.mode in ("LA", "PA", "RGBA"):
        picture = picture.convert("RGBA")
        alpha = _scaled(picture.getchannel("A"))
    colours = picture.convert("RGB")
    channels = np.asarray(colours)
    keyed = key is not None and alpha is not None and not ((alpha > 0) & (alpha < 1)).any()
    return Layers(_scaled(colours.convert("L")), alpha, is_coloured(channels, alpha), keyed, white=255)


def is_coloured(channels: np.ndarray, alpha: np.ndarray | None) -> bool:
    """Whether something visible in a picture [H, W, C], with 255 for white, is not grey."""
    spread = channels.max(axis=-1) - channels.min(axis=-1)
    visible = spread if alpha is None else spread[alpha > TOLERANCE]
    return bool((visible > COLOURED).any())


def _scaled(picture: Image) -> np.ndarray:
    return np.asarray(picture, np.float32) / 255


def _on_its_scale(plane: np.ndarray, white: float, stored: Stored) -> np.ndarray:
    """A plane of brightness; ValueError where its values are labels or of another scale, and would be nearly black."""
    high = float(plane.max())
    if 0 < high < DIM and len(np.unique(plane)) <= LABELS:
        raise ValueError(_other_scale(plane, white))
    return _not_faint(plane, white, cut=stored.bits == 16 and white == 255)


def _alpha_on_its_scale(alpha: np.ndarray, white: float, stored: Stored) -> np.ndarray:
    """An alpha channel, which may be of one level throughout, as of glass; ValueError for another scale."""
    return _not_faint(alpha, white, cut=stored.bits == 16 and white == 255)


def _not_faint(plane: np.ndarray, white: float, *, cut: bool) -> np.ndarray:
    """cut: Pillow left the upper 8 of 16 bits."""
    high = float(plane.max())
    if cut and high < FAINT:
        raise ValueError(f"all its values are below {4096 if high else 256} of 65535; expected 65535 for white: scale "
                         "it, or save it with 8 bits")
    if 0 < high < FAINT:
        raise ValueError(_other_scale(plane, white))
    return plane


def _other_scale(plane: np.ndarray, white: float) -> str:
    low, high = float(plane.min()) * white, float(plane.max()) * white
    return (f"its values reach from {low:g} to {high:g}, as labels or another scale have; expected 0 for black and "
            f"{white:g} for white: scale it, so that {high:g} or what stands for white becomes {white:g}")
