"""Exported nets in onnxruntime beside `matte`: the largest difference, time and memory.

`python -m benchmarks.export` exports each net once and prints a Markdown table; every run is a process of its own, and
the two take turns. Everything is unknown, so that both compute every pixel. One thread each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from vitmatte import export_onnx, load_model, matte

from .__main__ import measure
from .measure import Peak
from .nets import HEADS, net_config, random_net


def one(weights: str, onnx: str, height: int, width: int, by: str, keep: str) -> dict[str, float]:
    """Runs one of the two, and keeps its matte."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, height, width, 3, generator=generator)
    inputs = {"image": image, "trimap": torch.full((1, height, width), 0.5)}
    if by == "matte":
        model = load_model(weights)
        small = {name: x[:, :64, :64] for name, x in inputs.items()}
        matte(model, small["image"], small["trimap"], refine=0)
    else:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

        def run(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {name: x.numpy() for name, x in inputs.items()})[0])

        run({name: x[:, :64, :64].contiguous() for name, x in inputs.items()})
    with Peak("cpu") as peak:
        start = time.perf_counter()
        found = matte(model, image, inputs["trimap"], refine=0) if by == "matte" else run(inputs)
        seconds = time.perf_counter() - start
    torch.save(found, keep)
    return {"seconds": seconds, "peak": peak.bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["tiny", "S"], choices=["tiny", *HEADS])
    parser.add_argument("--sizes", nargs="+", default=["512x512", "720x1280", "1024x1024"], metavar="HxW")
    parser.add_argument("--one", help="JSON of one run; for this script itself")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(**json.loads(options.one))))
        return
    print("| net | picture | largest difference | matte | its peak | onnxruntime | its peak |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in options.models:
            weights = "vitmatte-tiny"
            if name in HEADS:
                weights = str(folder / name)
                random_net(net_config(name)).save_pretrained(weights)
            onnx = folder / f"{name}.onnx"
            export_onnx(load_model(weights), onnx)
            for size in options.sizes:
                height, width = (int(side) for side in size.split("x"))
                found: dict[str, dict[str, Any]] = {}
                for by in ("matte", "onnxruntime"):
                    case = {"weights": weights, "onnx": str(onnx), "height": height, "width": width, "by": by,
                            "keep": str(folder / by)}
                    found[by] = measure("export", "--one", json.dumps(case))
                apart = (torch.load(folder / "matte") - torch.load(folder / "onnxruntime")).abs().max()
                row = [f"{x['seconds']:.1f} s | {x['peak'] / 1e6:.0f} MB" for x in found.values()]
                print(f"| {name} | {size} | {float(apart):.1e} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
