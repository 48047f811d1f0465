"""Sizes that inference is cut into, timed in turn: what the constants of `execution`, `memory` and `enlarge` rest on.

`python -m benchmarks.parts`: pieces of the transformer, tiles of the decoder, frames together, taps before or after.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch

from vitmatte import VitMatteConfig
from vitmatte.inference.context import Context
from vitmatte.inference.upsample import convolved, joined

from .measure import machine, seconds
from .nets import random_net

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
    for name, taken in times.items():
        print(f"{title} | {name} | {statistics.median(taken) * 1e3:.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(machine("cpu"))
    net = random_net(VitMatteConfig())

    def reader(pixels: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda rows, columns: pixels[..., slice(*rows), slice(*columns)]

    def transformer(pixels: torch.Tensor, piece: int) -> torch.Tensor:
        grid = pixels.shape[-2] // 16, pixels.shape[-1] // 16
        return net.backbone.infer(reader(pixels), len(pixels), grid, Context(band_bytes=piece))

    large = torch.randn(1, 4, 768, 768)
    in_turn("transformer, 768²", {
        f"pieces of {size} MB": lambda size=size: transformer(large, size * 2**20)
        for size in (1, 4, 8, 16, 64)}, rounds)

    features = torch.randn(1, 48, 48, 384).permute(0, 3, 1, 2)

    def decoder(side: int) -> None:
        run = Context()
        for top in range(0, 768, side):
            for left in range(0, 768, side):
                tile = net.decoder.shape.tile((top, min(768, top + side)), (left, min(768, left + side)), 768, 768)
                net.decoder.infer(features, reader(large), tile, run)

    in_turn("decoder, 768²", {f"tiles of {side}": lambda side=side: decoder(side)
                              for side in (64, 96, 128, 192, 256, 384, 768)}, rounds)

    for side in (64, 128, 256, 512):
        eight = torch.randn(8, 4, side, side)
        in_turn(f"transformer, 8 frames of {side}²", {
            "together": lambda eight=eight: transformer(eight, 8 * 2**20),
            "one by one": lambda eight=eight: [transformer(x[None], 8 * 2**20) for x in eight]}, rounds)

    for places, inputs, details, outputs in ((18, 384, 192, 256), (34, 256, 96, 128), (66, 128, 48, 64),
                                             (130, 64, 4, 32), (34, 96, 64, 64)):
        conv = torch.nn.Conv2d(details + inputs, outputs, 3, padding=1)
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
        x = torch.randn(1, places, places, inputs).permute(0, 3, 1, 2)
        detail = torch.randn(1, 2 * places, 2 * places, details).permute(0, 3, 1, 2)
        run = Context()
        given = conv, x, detail, run
        in_turn(f"fusion of {inputs} channels", {
            "taps first": lambda g=given: convolved(g[2], g[1], g[0], g[3]),
            "enlarged first": lambda g=given: g[0](joined(g[2], g[1], g[3]))}, 5 * rounds)


if __name__ == "__main__":
    main()
