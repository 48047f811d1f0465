"""The refinement of mattes: errors by the weight of its data, and time and memory beside the net's own.

    python -m benchmarks.refine accuracy --recipe RECIPE [--size 320] [--count 104] [--data .001 .003 .01] MODEL ...
    python -m benchmarks.refine accuracy --pictures IMAGES TRIMAPS ALPHAS [--data .003] MODEL ...
    python -m benchmarks.refine cost [--megapixels 1 4 12] [--unknown .1] [--photo pictures/portrait.jpg]

Accuracy: pictures, methods and figures are those of `benchmarks.accuracy`, with a row for the net's matte ("off") and
for each weight of the data. The weight is chosen on composites of validation pictures alone. Cost: a photograph and a
disc's edge as the unknown area, so wide that it takes a share of the picture; each case in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from vitmatte import load_model, matte, refine_matte
from vitmatte.pictures.reading import read_image
from vitmatte.refinement.refine import DATA

from .accuracy import Method, add_samples, by_model, by_pymatting, compare, named, report, samples_of, write_json
from .measure import Peak, machine, processor_seconds
from .reach_cost import disc

PICTURES = Path(__file__).parents[1] / "pictures"


def once(method: Method) -> Method:
    """A method that computes each sample's matte one time."""
    kept: dict[str, np.ndarray] = {}

    def run(sample: Any) -> np.ndarray:
        if sample.name not in kept:
            kept[sample.name] = method(sample)
        return kept[sample.name]

    return run


def refined(method: Method, data: float) -> Method:
    """A method's mattes, refined with this weight of the data."""
    def run(sample: Any) -> np.ndarray:
        image = torch.from_numpy(sample.image.astype(np.float32) / 255).unsqueeze(0)
        trimap = torch.from_numpy(sample.trimap.astype(np.float32) / 255)
        alpha = torch.from_numpy(method(sample))
        return refine_matte(image, alpha, trimap, strength=DATA / data)[0].numpy()

    return run


def accuracy(options: argparse.Namespace) -> None:
    """Prints a table."""
    samples = samples_of(options)
    methods: dict[str, Method] = {}
    for name, path in named(options).items():
        net = once(by_model(path))
        methods[f"{name}, off"] = net
        methods |= {f"{name}, {data:g}": refined(net, data) for data in options.data}
    if options.classic:
        methods |= {"closed form": by_pymatting("cf", options.cache), "KNN": by_pymatting("knn", options.cache)}
    found = compare(samples, methods)
    print(f"{len(samples)} pictures\n\n{report(found)}")
    write_json(options, found)


def scene(case: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """A photograph of so many megapixels, square, and a trimap of the share of unknown pixels."""
    side = round(case["megapixels"] ** 0.5 * 1000)
    photo = read_image(case["photo"]).permute(0, 3, 1, 2)
    image = functional.interpolate(photo, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return image.permute(0, 2, 3, 1).contiguous(), disc(side, case["unknown"] * side / (2 * np.pi * 0.35))


def one_case(case: dict[str, Any]) -> None:
    """Prints seconds of net and refinement, and the refinement's peak memory, as JSON."""
    model, (image, trimap) = load_model(), scene(case)
    matte(model, image[:, :64, :64], torch.full((64, 64), 0.5), refine=1)
    found: list[torch.Tensor] = []
    net = processor_seconds(lambda: found.append(matte(model, image, trimap, strategy=case["strategy"], refine=0)))
    with Peak("cpu") as peak:
        spent = processor_seconds(lambda: refine_matte(image, found[0], trimap, memory_limit=case["limit"]))
    print(json.dumps({"net": net, "refinement": spent, "mebi": peak.bytes / 2**20,
                      "unknown": float((trimap == 0.5).float().mean())}))


def in_process(case: dict[str, Any]) -> dict[str, Any]:
    """A case in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.refine", "cost", "--case", json.dumps(case)],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def cost(options: argparse.Namespace) -> None:
    """Prints a table."""
    if options.case:
        one_case(json.loads(options.case))
        return
    print(f"{machine('cpu')}; seconds of processor time")
    print("\n| megapixels | unknown | strategy | memory limit, MiB | net | refinement | ratio | refinement's memory |\n"
          "|---:|---:|---|---:|---:|---:|---:|---:|")
    for megapixels in options.megapixels:
        for limit in options.limits:
            case = {"megapixels": megapixels, "unknown": options.unknown, "photo": str(options.photo),
                    "strategy": options.strategy, "limit": limit * 2**20}
            got = in_process(case)
            print(f"| {megapixels:g} | {got['unknown']:.1%} | {options.strategy} | {limit} | {got['net']:.2f} s | "
                  f"{got['refinement']:.2f} s | {got['refinement'] / got['net']:.2f} | {got['mebi']:.0f} MiB |",
                  flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    errors = commands.add_parser("accuracy")
    errors.set_defaults(run=accuracy)
    add_samples(errors)
    errors.add_argument("--data", type=float, nargs="+", default=[0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.03])
    errors.add_argument("--no-classic", dest="classic", action="store_false", help="without pymatting's methods")
    timed = commands.add_parser("cost")
    timed.set_defaults(run=cost)
    timed.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12])
    timed.add_argument("--unknown", type=float, default=0.1)
    timed.add_argument("--strategy", default="auto")
    timed.add_argument("--limits", type=int, nargs="+", default=[256], metavar="MIB")
    timed.add_argument("--photo", type=Path, default=PICTURES / "portrait.jpg")
    timed.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
