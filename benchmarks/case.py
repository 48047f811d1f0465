"""One case in a process of its own: `python -m benchmarks.case WEIGHTS LIBRARY JSON`, which prints a JSON line.

The input: noise, and a trimap whose unknown area is everything or a ring of the given share, as around a subject.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vitmatte.inference.context import PRECISIONS

from .measure import Peak, machine, product_rate, seconds


def ring(side: int, share: float) -> torch.Tensor:
    """A trimap [1, side, side]: a disc in the middle is foreground, its edge unknown, of that share of the area."""
    if share >= 1:
        return torch.full((1, side, side), 0.5)
    place = torch.linspace(-1, 1, side)
    distance = ((place[:, None] ** 2 + place[None, :] ** 2).sqrt() - 0.6).abs()
    width = distance.flatten().kthvalue(round(share * side * side)).values
    inside = (place[:, None] ** 2 + place[None, :] ** 2).sqrt() < 0.6
    return torch.where(distance <= width, 0.5, inside.float())[None]


def ours(weights: Path, case: dict[str, Any], image: torch.Tensor, trimap: torch.Tensor) -> Callable[[], torch.Tensor]:
    from vitmatte import load_model, matte

    dtype = PRECISIONS[case["precision"]]
    model = load_model(weights, device=case["device"], dtype=dtype, normalization="hub")
    limit = case.get("memory_limit")

    def run(image: torch.Tensor = image, trimap: torch.Tensor = trimap) -> torch.Tensor:
        return matte(model, image, trimap, memory_limit=limit, strategy=case.get("strategy", "exact"), refine=0)

    run(image[:, :64, :64], torch.full((1, 64, 64), 0.5))
    return run


def transformers(
    weights: Path, case: dict[str, Any], image: torch.Tensor, trimap: torch.Tensor
) -> Callable[[], torch.Tensor]:
    from transformers import VitMatteForImageMatting

    dtype = PRECISIONS[case["precision"]]
    net = VitMatteForImageMatting.from_pretrained(weights, dtype=dtype).eval().to(case["device"])

    def run(image: torch.Tensor = image, trimap: torch.Tensor = trimap) -> torch.Tensor:
        # Its own image processor's arithmetic, without its loss of 8 bits: sides here are multiples of 32.
        pixels = torch.cat([(image - 0.5) / 0.5, trimap.unsqueeze(-1)], dim=-1).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return net(pixels.to(case["device"], dtype)).alphas[:, 0].float()

    run(image[:, :64, :64], torch.full((1, 64, 64), 0.5))
    return run


def main() -> None:
    weights, library, case = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    torch.manual_seed(0)
    image, trimap = torch.rand(1, case["side"], case["side"], 3), ring(case["side"], case["share"])
    rate = product_rate(case["device"], PRECISIONS[case["precision"]])
    run = {"ours": ours, "transformers": transformers}[library](weights, case, image, trimap)
    alpha: list[torch.Tensor] = []
    with Peak(case["device"]) as peak:
        taken = seconds(lambda: alpha.append(run()), case["device"])
    if taken < 5:  # short ones again, now that the memory is known
        taken = min(taken, *(seconds(run, case["device"]) for _ in range(3)))
    if case.get("keep"):
        torch.save(alpha[0], case["keep"])
    print(json.dumps({"seconds": taken, "peak_bytes": peak.bytes, "product_rate": rate,
                      "machine": machine(case["device"])}))


if __name__ == "__main__":
    main()
