"""Time and memory of MEMatte-S against ViTMatte-S, by the picture's side and by how many tokens are routed.

    python -m benchmarks.mematte [--sides 1024 2048 4096] [--routed 0.25 1.0] [--unknown 0.15] [--threads 1]

Random weights, exact inference, float32 on a CPU; a ring of the given share of the picture is unknown. Each case runs
in a process of its own. The time is the process's on all its threads, so that other work on the machine counts little.
The published MEMattes were trained to route a quarter of the tokens in the mean; here the routers compute as they do,
and the given share with the largest margins is routed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitmatte import MattingModel, VitMatteConfig, matte
from vitmatte.inference.matting import prepare
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.routing import Router
from vitmatte.weights.mematte import MAX_ROUTED_TOKENS

from .case import ring
from .measure import MEBI, Peak, machine
from .nets import net_config, random_net

ROOT = Path(__file__).parents[1]


def small(*, routes: bool) -> MattingModel:
    """ViTMatte-S or MEMatte-S."""
    config = net_config("S").to_dict()
    if routes:
        config["backbone_config"]["max_routed_tokens"] = MAX_ROUTED_TOKENS
    net = random_net(VitMatteConfig.from_dict(config))
    net.fold()
    return MattingModel(net, Preprocessing())


def case(side: int, unknown: float, routed: float | None) -> dict[str, Any]:
    """One matte: seconds of the process, seconds by the clock, and bytes."""
    counts: list[float] = []

    def largest(self: Router, margins: Tensor) -> Tensor:
        kept = min(self.limit, max(1, round((routed or 0) * margins[0].numel())))
        counts.append(kept / margins[0].numel())
        return margins >= margins.flatten(1).topk(kept).values[:, -1, None, None]

    Router.routed = largest  # type: ignore[method-assign]
    model = small(routes=routed is not None)
    image, trimap = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0)), ring(side, unknown)
    matte(model, image[:, :64, :64], torch.full((1, 64, 64), 0.5))
    counts.clear()
    with Peak("cpu") as peak:
        start, clock = time.process_time(), time.perf_counter()
        matte(model, image, trimap)
        taken, clock = time.process_time() - start, time.perf_counter() - clock
    plan = prepare(model, image, trimap).plan()
    return {"seconds": taken, "clock": clock, "bytes": peak.bytes, "planned": plan.peak_bytes,
            "routed": max(counts, default=0), "machine": machine("cpu")}


def measured(threads: int, *arguments: Any) -> dict[str, Any]:
    """`case` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.mematte", "--case", json.dumps(arguments), "--threads", str(threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[1024, 2048])
    parser.add_argument("--routed", nargs="+", type=float, default=[0.25, 1.0])
    parser.add_argument("--unknown", type=float, default=0.15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.case:
        print(json.dumps(case(*json.loads(options.case))))
        return
    print("| picture | net | tokens routed | CPU time | of ViTMatte-S | peak | planned |\n"
          "|---|---|---:|---:|---:|---:|---:|")
    about = ""
    for side in options.sides:
        base = 0.0
        for routed in (None, *options.routed):
            found = measured(options.threads, side, options.unknown, routed)
            base, about = base or found["seconds"], found["machine"]
            name = "ViTMatte-S" if routed is None else "MEMatte-S"
            share = "all" if routed is None else f"{found['routed']:.0%}"
            print(f"| {side}² | {name} | {share} | {found['seconds']:.1f} s | {found['seconds'] / base:.0%} "
                  f"| {found['bytes'] / MEBI:.0f} MB | {found['planned'] / MEBI:.0f} MB |", flush=True)
    print(f"\n{about}; {options.unknown:.0%} unknown")


if __name__ == "__main__":
    main()
