"""Time per megapixel on the CPU: the bundled model, another one, vitmatte-small's size, and pymatting's KNN matting.

    python -m benchmarks.model_speed [NAME=PATH ...]

Small has random weights, which take as long as trained ones. Each method runs in turn, several times over, and the
shortest time counts; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from vitmatte import MattingModel, VitMatteConfig, VitMatteForImageMatting, load_model, make_trimap, matte
from vitmatte.inference.preprocessing import Preprocessing

from .measure import seconds

SIDE, ROUNDS = 1024, 2


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture with a blurred disc, and a trimap whose unknown ring covers about a fifth of it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    alpha = np.clip((0.3 * SIDE - np.hypot(x - SIDE / 2, y - SIDE / 2)) / 20 + 0.5, 0, 1)
    noise = rng.random((SIDE, SIDE, 3), dtype=np.float32)
    image = alpha[..., None] * (0.3 * noise + 0.6) + (1 - alpha[..., None]) * 0.4 * noise
    return torch.from_numpy(image)[None], make_trimap(torch.from_numpy(alpha), inner=45, outer=45)[None]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("others", nargs="*", metavar="NAME=PATH")
    options = parser.parse_args()
    image, trimap = scene()
    models = {"vitmatte-tiny": load_model("vitmatte-tiny")}
    models |= {name: load_model(path) for name, path in (other.split("=", 1) for other in options.others)}
    small = VitMatteForImageMatting(VitMatteConfig(), folded=True).eval()
    models["vitmatte-small (random weights)"] = MattingModel(small, Preprocessing())
    methods: dict[str, Callable[[], object]] = {
        name: (lambda m=model: matte(m, image, trimap, refine=0)) for name, model in models.items()}

    def knn() -> object:
        import pymatting

        return pymatting.estimate_alpha_knn(image[0].double().numpy(), trimap[0].double().numpy())

    methods["KNN (pymatting)"] = knn
    best = dict.fromkeys(methods, float("inf"))
    for _ in range(ROUNDS):
        for name, method in methods.items():
            best[name] = min(best[name], seconds(method, "cpu"))
    megapixels, first = SIDE * SIDE / 1e6, next(iter(best.values()))
    unknown = float(((trimap > 0) & (trimap < 1)).float().mean())
    print(f"{SIDE}x{SIDE}, {unknown:.0%} unknown, {torch.get_num_threads()} threads, best of {ROUNDS}")
    print("| method | s per megapixel | times vitmatte-tiny |\n|---|---:|---:|")
    for name, least in best.items():
        print(f"| {name} | {least / megapixels:.2f} | {least / first:.1f} |")


if __name__ == "__main__":
    main()
