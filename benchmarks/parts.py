"""Sizes that inference is cut into, timed in turn: what constants of `context`, `planning`, `plan` and `upsample` in
`vitmatte.inference` rest on.

`python -m benchmarks.parts [--side 768] [--frames 64 128 256 512] [--rounds 3]`: bands of the transformer, tiles of the
decoder, frames together, taps before or after enlarging.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from vitmatte import VitMatteConfig
from vitmatte.inference.bands import transformer_features
from vitmatte.inference.context import CPU_BAND, Context, Region
from vitmatte.inference.decode import decoded_tile, decoder_shape
from vitmatte.inference.tiles import DecoderShape
from vitmatte.inference.upsample import convolved, joined
from vitmatte.model.decoder import DetailCapture
from vitmatte.model.vitdet import VitDet
from vitmatte.padding import Span

from .measure import MEBI, machine, seconds
from .nets import random_net

PATCH = 16  # pixels

Calls = dict[str, Callable[[], Any]]


def in_turn(title: str, calls: Calls, rounds: int) -> None:
    """Prints the median time of each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, call in calls.items():
                taken = seconds(call, "cpu")
                if turn:
                    times[name].append(taken)
    for name, found in times.items():
        print(f"{title} | {name} | {statistics.median(found) * 1e3:.1f} ms", flush=True)


def reader(maps: torch.Tensor) -> Region:
    """Reads rectangles of maps [..., H, W]."""
    def read(rows: Span, columns: Span) -> torch.Tensor:
        return maps[..., slice(*rows), slice(*columns)]

    return read


def transformer(net: VitDet, pixels: torch.Tensor, band: int) -> torch.Tensor:
    """Features of pictures [B, 4, H, W], in bands of so many MB."""
    grid = pixels.shape[-2] // PATCH, pixels.shape[-1] // PATCH
    return transformer_features(net, reader(pixels), len(pixels), grid, Context(band_bytes=band * MEBI))


def one_by_one(net: VitDet, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The same, one picture after the other."""
    return [transformer(net, picture[None], CPU_BAND // MEBI) for picture in pixels]


def decoder(net: DetailCapture, shape: DecoderShape, features: torch.Tensor, pixels: torch.Tensor, side: int) -> None:
    """The matte of a picture [1, 4, S, S] in tiles of side x side."""
    whole, context = pixels.shape[-1], Context()
    for top in range(0, whole, side):
        for left in range(0, whole, side):
            tile = shape.tile((top, min(whole, top + side)), (left, min(whole, left + side)), whole, whole)
            decoded_tile(net, reader(features), reader(pixels), tile, context)


def enlarged_first(detail: torch.Tensor, x: torch.Tensor, conv: torch.nn.Conv2d, context: Context) -> torch.Tensor:
    """What `convolved` gives, with x enlarged and joined to the details before the convolution."""
    return conv(joined(detail, x, context))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--side", type=int, default=768, help="of the picture, a multiple of 32 pixels")
    parser.add_argument("--frames", type=int, nargs="+", default=(64, 128, 256, 512), help="sides of small pictures")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    side, rounds = options.side, options.rounds
    print(machine("cpu"))
    net = random_net(VitMatteConfig())
    net.fold()
    backbone, capture = net.backbone, net.decoder
    assert isinstance(backbone, VitDet) and isinstance(capture, DetailCapture)

    large = torch.randn(1, 4, side, side)
    in_turn(f"transformer, {side}²", {f"bands of {band} MB": partial(transformer, backbone, large, band)
                                      for band in (1, 4, 8, 16, 64)}, rounds)

    features = torch.randn(1, side // PATCH, side // PATCH, net.architecture.hidden_size).permute(0, 3, 1, 2)
    tiles = [tile for tile in (64, 96, 128, 192, 256, 384) if tile < side]
    shape = decoder_shape(net.architecture)
    in_turn(f"decoder, {side}²", {f"tiles of {tile}": partial(decoder, capture, shape, features, large, tile)
                                  for tile in (*tiles, side)}, rounds)

    for small in options.frames:
        eight = torch.randn(8, 4, small, small)
        in_turn(f"transformer, 8 frames of {small}²", {
            "together": partial(transformer, backbone, eight, CPU_BAND // MEBI),
            "one by one": partial(one_by_one, backbone, eight)}, rounds)

    for places, inputs, details, outputs in ((18, 384, 192, 256), (34, 256, 96, 128), (66, 128, 48, 64),
                                             (130, 64, 4, 32), (34, 96, 64, 64)):
        conv = torch.nn.Conv2d(details + inputs, outputs, 3, padding=1)
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
        x = torch.randn(1, places, places, inputs).permute(0, 3, 1, 2)
        detail = torch.randn(1, 2 * places, 2 * places, details).permute(0, 3, 1, 2)
        given = detail, x, conv, Context()
        in_turn(f"fusion of {inputs} channels", {
            "taps first": partial(convolved, *given), "enlarged first": partial(enlarged_first, *given)}, 5 * rounds)


if __name__ == "__main__":
    main()
