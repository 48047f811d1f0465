"""Time and memory of attention within a reach, beside exact and transformers; run by `python -m benchmarks.reach cost`.

A disc whose edge is unknown, a band of constant width, so that the unknown area grows with the side. Each run is a
process of its own; times are processor seconds, which other work on the machine changes little; memory is the peak
above the loaded net. `all` is attention to all, with tables stretched to the picture, as exact of a net that learned
without a reach has it; transformers computes it of any net.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from vitmatte import MattingModel, load_model, matte
from vitmatte.inference.preprocessing import DIVISOR, Preprocessing
from vitmatte.inference.scope import Strategy
from vitmatte.weights.config_file import CONFIG_NAME
from vitmatte.weights.released import BUNDLED_FOLDER

from .measure import MEBI, Peak, machine

WAYS = ("local", "exact", "all", "transformers")
GIGA = 10**9

Call = Callable[[torch.Tensor, torch.Tensor], Any]  # image [1, H, W, 3] and trimap [H, W] to a matte


def disc(side: int, band: float) -> torch.Tensor:
    """A trimap [side, side]: a disc in the middle, its edge unknown over so many pixels."""
    place = torch.arange(side) - side / 2
    distance = (place[:, None] ** 2 + place[None, :] ** 2).sqrt() - 0.35 * side
    return torch.where(distance.abs() <= band / 2, 0.5, (distance < 0).float())


def without_reach(folder: Path) -> MattingModel:
    """The model of a folder as if it had learned without an `attention_reach`."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        values = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        values["backbone_config"].pop("attention_reach", None)
        (Path(copy) / CONFIG_NAME).write_text(json.dumps(values), encoding="utf-8")
        return load_model(copy)


def ours(net: str, how: Strategy | Literal["all"]) -> Call:
    """`matte` without refinement."""
    strategy: Strategy = "exact" if how == "all" else how
    if net == "bundled":
        model = without_reach(BUNDLED_FOLDER) if how == "all" else load_model()
    else:
        from .nets import net_config, random_net

        random = random_net(net_config(net)).requires_grad_(False)
        random.fold()
        model = MattingModel(random, Preprocessing())
    return lambda image, trimap: matte(model, image, trimap, refine=0, strategy=strategy)


def theirs(net: str) -> Call:
    """transformers' net, as it comes, with its processor's arithmetic."""
    from transformers import VitMatteForImageMatting

    if net == "bundled":
        model = VitMatteForImageMatting.from_pretrained(BUNDLED_FOLDER, dtype=torch.float32).eval()
    else:
        from .nets import net_config, random_net

        with tempfile.TemporaryDirectory() as folder:
            random_net(net_config(net)).save_pretrained(folder)
            model = VitMatteForImageMatting.from_pretrained(folder).eval()

    @torch.no_grad()
    def call(image: torch.Tensor, trimap: torch.Tensor) -> torch.Tensor:
        pixels = torch.cat([(image - 0.5) / 0.5, trimap[None, :, :, None]], dim=-1).permute(0, 3, 1, 2)
        padded = F.pad(pixels, (0, -pixels.shape[3] % DIVISOR, 0, -pixels.shape[2] % DIVISOR))
        return model(padded).alphas[:, 0, :image.shape[1], :image.shape[2]]

    return call


def one_case(case: dict[str, Any]) -> None:
    """Prints what a case took as JSON; `failed` where it needs more memory than the limit."""
    call = theirs(case["net"]) if case["how"] == "transformers" else ours(case["net"], case["how"])
    side = round(case["megapixels"] ** 0.5 * 1000)
    image, trimap = torch.rand(1, side, side, 3), disc(side, case["band"])
    call(image[:, :64, :64], torch.full((64, 64), 0.5))
    found = {"unknown": float((trimap == 0.5).float().mean()), "machine": machine("cpu")}
    resource.setrlimit(resource.RLIMIT_DATA, (round(case["limit_gb"] * GIGA),) * 2)
    with Peak("cpu") as peak:
        start = time.process_time()
        try:
            call(image, trimap)
        except (RuntimeError, MemoryError) as error:
            if "memory" not in str(error):
                raise
            found["failed"] = True
        spent = time.process_time() - start
    print(json.dumps({**found, "seconds": spent, "mb": peak.bytes / MEBI}))


def measured(case: dict[str, Any], runs: int) -> dict[str, Any]:
    """Medians of runs, each in a process of its own."""
    found = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-m", "benchmarks.reach", "case", json.dumps(case)], check=True,
                              capture_output=True, text=True)
        found.append(json.loads(done.stdout))
        if found[-1].get("failed"):
            break
    return {**found[-1], **{key: float(np.median([x[key] for x in found])) for key in ("seconds", "mb")}}


def cost(options: argparse.Namespace) -> None:
    """Runs all cases, the small ones first."""
    print("| net | megapixels | unknown | how | processor seconds | MB |\n|---|---:|---:|---|---:|---:|")
    up_to = {"local": float("inf"), "exact": options.exact_up_to, "all": options.exact_up_to,
             "transformers": options.transformers_up_to}
    for megapixels in sorted(options.megapixels):
        for net in options.net:
            for how in options.how:
                if megapixels > up_to[how]:
                    continue
                case = {"net": net, "megapixels": megapixels, "band": options.band, "how": how,
                        "limit_gb": options.limit_gb}
                found = measured(case, options.runs)
                taken = f"{found['seconds']:.2f} | {found['mb']:.0f}"
                if found.get("failed"):
                    taken = f"out of memory | over {options.limit_gb:g} GB"
                print(f"| {net} | {megapixels:g} | {found['unknown']:.1%} | {how} | {taken} |", flush=True)
    print(found["machine"])


def add_cost(commands: Any) -> None:
    """The commands `cost`, and `case`, which `cost` starts."""
    spend = commands.add_parser("cost")
    spend.set_defaults(run=cost)
    spend.add_argument("--net", nargs="+", default=["bundled"], help="bundled, S or B (random weights)")
    spend.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12])
    spend.add_argument("--band", type=float, default=60, help="width of the unknown band, in pixels")
    spend.add_argument("--how", nargs="+", choices=WAYS, default=list(WAYS))
    spend.add_argument("--exact-up-to", type=float, default=12, help="megapixels")
    spend.add_argument("--transformers-up-to", type=float, default=4, help="megapixels")
    spend.add_argument("--limit-gb", type=float, default=9, help="memory of a process, in 10^9 bytes")
    spend.add_argument("--runs", type=int, default=3)
    case = commands.add_parser("case")
    case.set_defaults(run=lambda options: one_case(json.loads(options.case)))
    case.add_argument("case")
