"""Time per megapixel on the CPU: the bundled model with and without its refinement, other models, vitmatte-small's
size, and pymatting's KNN matting.

    python -m benchmarks.model_speed [--side 1024] [--unknown .2] [--rounds 3] [--no-classic] [NAME=PATH ...]

Small has random weights, which take as long as trained ones. Each method runs in turn, several times over, after a
round that does not count. Times are of the processor, in all threads, so that other work on the machine adds little;
medians are shown, and the ratios to the first are what to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from vitmatte import MattingModel, VitMatteConfig, VitMatteForImageMatting, load_model, make_trimap, matte
from vitmatte.inference.preprocessing import Preprocessing

from .measure import machine, processor_seconds


def scene(side: int, unknown: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture with a blurred disc, and a trimap whose unknown ring covers a share of it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    alpha = np.clip((0.3 * side - np.hypot(x - side / 2, y - side / 2)) / 20 + 0.5, 0, 1)
    noise = rng.random((side, side, 3), dtype=np.float32)
    image = alpha[..., None] * (0.3 * noise + 0.6) + (1 - alpha[..., None]) * 0.4 * noise
    radius = unknown * side / (4 * np.pi * 0.3)
    return torch.from_numpy(image)[None], make_trimap(torch.from_numpy(alpha), inner=radius, outer=radius)[None]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("others", nargs="*", metavar="NAME=PATH")
    parser.add_argument("--side", type=int, default=1024, help="pixels")
    parser.add_argument("--unknown", type=float, default=0.2, help="share of the picture")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-classic", dest="classic", action="store_false", help="without KNN matting")
    options = parser.parse_args()
    image, trimap = scene(options.side, options.unknown)
    methods: dict[str, Callable[[], object]] = {}
    for name, path in (other.split("=", 1) for other in [*options.others, "vitmatte-tiny=vitmatte-tiny"]):
        model = load_model(path)
        methods[f"{name}, refine 0"] = partial(matte, model, image, trimap, refine=0)
        if model.net.architecture.refine:
            methods[name] = partial(matte, model, image, trimap)
    net = VitMatteForImageMatting(VitMatteConfig()).eval()
    net.fold()
    methods["vitmatte-small (random weights)"] = partial(matte, MattingModel(net, Preprocessing()), image, trimap)

    def knn() -> object:
        import pymatting

        return pymatting.estimate_alpha_knn(image[0].double().numpy(), trimap[0].double().numpy())

    if options.classic:
        methods["KNN (pymatting)"] = knn
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(options.rounds + 1):
        for name, method in methods.items():
            spent = processor_seconds(method)
            if number:
                times[name].append(spent)
    megapixels, first = options.side**2 / 1e6, float(np.median(next(iter(times.values()))))
    unknown = float(((trimap > 0) & (trimap < 1)).float().mean())
    print(f"{options.side}x{options.side}, {unknown:.0%} unknown; {machine('cpu')}; medians of {options.rounds}")
    print("| method | processor seconds per megapixel | ratio |\n|---|---:|---:|")
    for name, found in times.items():
        print(f"| {name} | {np.median(found) / megapixels:.2f} | {np.median(found) / first:.2f} |")


if __name__ == "__main__":
    main()
