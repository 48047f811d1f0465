"""OpenEXR as it is read: light of half or float, in the display window, colours divided by alpha."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .pixels import opened, pixels_of

log = logging.getLogger(__name__)

REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # primaries and white of sRGB, OpenEXR's default
SAME_PRIMARIES = 0.001


@dataclass(frozen=True)
class Light:
    """What an OpenEXR file holds; see `wide.Wide`.

    Attributes:
        colours: [H, W, 1 or 3] float32, light, not premultiplied.
        alpha: [H, W] float32, or None.
        bits: "float" where one of the channels is.
        primaries: x and y of red, green, blue and white; None for those of sRGB.
        aspect: width of a pixel by its height.
        is_matte: its one channel has the name of no colour: alpha, or whatever a program calls a matte.
    """

    colours: np.ndarray
    alpha: np.ndarray | None
    bits: Literal["half", "float"]
    primaries: tuple[float, ...] | None
    aspect: float
    is_matte: bool


def read_light(path: Path) -> Light:
    """The picture of an OpenEXR file, of any compression, in scan lines or tiles.

    Its channels are R, G, B or Y, and A, alone or as those of the one layer that has them. What the data window leaves
    free of the display window is black and transparent; what is beyond it is left out, with a warning.

    Raises:
        ValueError: several parts, deep pixels, layers of which none can be told to be meant, whole numbers, or values
            that are not finite.
    """
    source = opened(path)
    try:
        spec = source.spec()
        if source.seek_subimage(1, 0):
            raise ValueError("it has several parts, of which one is wanted; save that one alone")
        source.geterror()  # that there was none
        source.seek_subimage(0, 0)
        if spec.deep:
            raise ValueError("it has deep pixels, with many samples each; flatten it first")
        colours, alpha = _channels(spec.channelnames, str(path))
        kinds = [str(kind) for kind in spec.channelformats] or [str(spec.format)] * len(spec.channelnames)
        wanted = colours if alpha is None else [*colours, alpha]
        whole = [spec.channelnames[i] for i in wanted if kinds[i] not in ("half", "float")]
        if whole:
            raise ValueError(f"{', '.join(whole)} are whole numbers, as of object ids; expected half or float")
        pixels = _windowed(np.dstack([pixels_of(source, "float", first=i, count=1) for i in wanted]), spec, str(path))
    finally:
        source.close()
    if not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).any(-1).sum())
        raise ValueError(f"{count} of its pixels are not finite (NaN or infinite); clamp them first")
    light, share = pixels[..., :len(colours)], None
    if alpha is not None:
        share = np.ascontiguousarray(pixels[..., -1])
        light = _divided(light, share)
    kind: Literal["half", "float"] = "float" if any(kinds[i] == "float" for i in wanted) else "half"
    aspect = spec.getattribute("PixelAspectRatio")
    last = spec.channelnames[colours[0]].rpartition(".")[2].upper()
    return Light(np.ascontiguousarray(light), share, kind, _primaries(spec), float(aspect or 1), last not in ("R", "Y"))


def _channels(names: tuple[str, ...], name: str) -> tuple[list[int], int | None]:
    """The places of the colours, one or three, and of alpha."""
    layers: dict[str, dict[str, int]] = {}
    for place, channel in enumerate(names):
        layer, _, last = channel.rpartition(".")
        layers.setdefault(layer, {})[last.upper()] = place
    having = {layer: found for layer, found in layers.items() if {"R", "G", "B"} <= found.keys()}
    having = having or {layer: found for layer, found in layers.items() if "Y" in found and "RY" not in found}
    if not having and len(names) == 1:  # a matte
        return [0], None
    if "" not in having and len(having) != 1:
        raise ValueError(f"its channels are {', '.join(names)}; expected R, G and B, or Y, of one layer"
                         f"{': save the one that is meant alone' if having else ''}")
    layer = "" if "" in having else next(iter(having))
    if layer:
        log.info("%s: its layer %s is read", name, layer)
    found = having[layer]
    return [found[c] for c in ("RGB" if "R" in found else "Y")], found.get("A")


def _windowed(pixels: np.ndarray, spec: Any, name: str) -> np.ndarray:
    """The data window's pixels, in the display window."""
    top, left = spec.y - spec.full_y, spec.x - spec.full_x
    if (top, left, *pixels.shape[:2]) == (0, 0, spec.full_height, spec.full_width):
        return pixels
    whole = np.zeros((spec.full_height, spec.full_width, pixels.shape[-1]), np.float32)
    height, width = pixels.shape[:2]
    to = slice(max(0, top), max(0, top + height)), slice(max(0, left), max(0, left + width))
    part = pixels[max(0, -top):max(0, spec.full_height - top), max(0, -left):max(0, spec.full_width - left)]
    whole[to][:part.shape[0], :part.shape[1]] = part
    if part.size < pixels.size:
        log.warning("%s: its data window, %dx%d, reaches beyond the display window, %dx%d; what is outside is left out",
                    name, width, height, spec.full_width, spec.full_height)
    return whole


def _divided(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Light by alpha, with which OpenEXR's is multiplied; where nothing covers, it is as it is."""
    share = alpha[..., None]
    return np.divide(light, share, out=light.copy(), where=(share > 0) & (share < 1))


def _primaries(spec: Any) -> tuple[float, ...] | None:
    given = spec.getattribute("chromaticities")
    if given is None or max(abs(a - b) for a, b in zip(given, REC709, strict=True)) < SAME_PRIMARIES:
        return None
    return tuple(float(value) for value in given)
