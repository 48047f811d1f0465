"""One matte in a process of its own: `python peak.py JSON` prints its memory peak and the plan's, in bytes (Linux).

JSON: net "S", "B", "MEMatte-S", "DiffMatte-S" or "tiny"; height, width; share of the area that is unknown, a
horizontal band; limit; dtype; strategy; margin.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from mematte import LIMIT, random_mematte  # noqa: E402
from nets import randomise  # noqa: E402

from vitmatte import (  # noqa: E402
    MattingModel,
    VitMatteConfig,
    VitMatteForImageMatting,
    load_model,
    matte,
)
from vitmatte.inference.matting import prepare  # noqa: E402
from vitmatte.inference.preprocessing import Preprocessing  # noqa: E402
from vitmatte.model.config import MattingConfig  # noqa: E402
from vitmatte.model.diffusion import DiffusionConfig  # noqa: E402
from vitmatte.model.vitmatte import ViTMatte  # noqa: E402


def build(name: str, dtype: torch.dtype) -> MattingModel:
    if name == "tiny":
        return load_model(dtype=dtype)
    if name == "DiffMatte-S":
        net = randomise(ViTMatte(MattingConfig(convstream_hidden_sizes=(32, 64, 128), diffusion=DiffusionConfig())))
        net.fold()
        return MattingModel(net.to(dtype).requires_grad_(False), Preprocessing())
    routes = name.startswith("MEMatte-")
    heads = {"S": 6, "B": 12}[name[-1]]
    backbone = replace(VitMatteConfig().vitdet, hidden_size=64 * heads, num_attention_heads=heads,
                       max_routed_tokens=LIMIT if routes else None)
    config = VitMatteConfig(backbone_config=backbone, hidden_size=64 * heads)
    net = random_mematte(config) if routes else randomise(VitMatteForImageMatting(config))
    net.fold()
    return MattingModel(net.to(dtype).eval().requires_grad_(False), Preprocessing())


def main() -> None:
    case = json.loads(sys.argv[1])
    dtype = getattr(torch, case.get("dtype", "float32"))
    model = build(case["net"], dtype)
    height, width, limit = case["height"], case["width"], case.get("limit")
    image, trimap = torch.rand(1, height, width, 3), torch.zeros(1, height, width)
    trimap[:, :max(1, round(case.get("share", 1.0) * height))] = 0.5
    matte(model, image[:, :64, :64], torch.full((1, 64, 64), 0.5), refine=0)
    ctypes.CDLL(None).malloc_trim(0)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    Path("/proc/self/clear_refs").write_text("5")
    how = {"strategy": case.get("strategy", "exact"), "margin": case.get("margin")}
    matte(model, image, trimap, memory_limit=limit, refine=0, **how)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) - before
    job = prepare(model, image, trimap, **how)
    print(json.dumps({"measured": peak, "planned": job.plan(limit).peak_bytes}))


if __name__ == "__main__":
    main()
