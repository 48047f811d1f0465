"""DiffMatte-S against ViTMatte-S: CPU time and peak memory of one matte by the picture's size.

    python -m benchmarks.diffmatte [--sides 1024 2048] [--shares 1 0.15] [--nets ViTMatte-S DiffMatte-S]

Weights are random, which take as long as trained ones. Each case runs in a process of its own, with the trimap of
`benchmarks.case`. The time is the processor's, of all threads together, so that other work on the machine counts
little; the peak is the kernel's, above what was there before.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import torch

from vitmatte import MattingModel, matte
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.config import MattingConfig
from vitmatte.model.diffusion import DiffusionConfig
from vitmatte.model.vitmatte import ViTMatte

from .__main__ import measure
from .case import ring
from .measure import Peak, machine
from .nets import randomise

NETS = {
    "ViTMatte-S": MattingConfig(),
    "DiffMatte-S": MattingConfig(convstream_hidden_sizes=(32, 64, 128), diffusion=DiffusionConfig()),
}


def one_case(case: dict[str, Any]) -> None:
    """Prints CPU seconds, seconds and peak memory of a case as JSON."""
    torch.manual_seed(0)
    net = ViTMatte(NETS[case["net"]]).eval().requires_grad_(False)
    randomise(net)
    net.fold()
    model, side = MattingModel(net, Preprocessing()), case["side"]
    image, trimap = torch.rand(1, side, side, 3), ring(side, case["share"])
    matte(model, image[:, :64, :64], torch.full((1, 64, 64), 0.5))
    with Peak("cpu") as peak:
        start, began = time.perf_counter(), time.process_time()
        matte(model, image, trimap)
        found = {"cpu": time.process_time() - began, "seconds": time.perf_counter() - start}
    sys.stdout.write(json.dumps({**found, "peak_bytes": peak.bytes, "machine": machine("cpu")}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=(1024, 2048))
    parser.add_argument("--shares", nargs="+", type=float, default=(1.0, 0.15))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        one_case(options.case)
        return
    print("| net | picture | unknown | CPU time | peak |\n|---|---|---|---:|---:|", flush=True)
    for side in options.sides:
        for share in options.shares:
            for net in options.nets:
                case = {"net": net, "side": side, "share": share}
                found = measure("diffmatte", "--case", json.dumps(case))
                cells = [found["error"], ""] if "error" in found else [
                    f"{found['cpu']:.0f} s", f"{found['peak_bytes'] / 2**20:.0f} MB"]
                print(f"| {net} | {side}² | {share:.0%} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
