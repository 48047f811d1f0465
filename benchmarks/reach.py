"""Attention within a reach: its accuracy against exact and grid, and its time and memory by the picture's size.

    python -m benchmarks.reach accuracy --recipe RECIPE [--size 320] [--count 72] [--scenes 1448 2896] [--model MODEL]
    python -m benchmarks.reach cost [--net bundled S] [--megapixels 1 4 12] [--band 60]

Accuracy: composites of the recipe's validation pictures; with --scenes also pictures of those sides, on which several
cut-outs lie at their own size on one photograph. Cost: a disc whose edge is unknown, a band of constant width, so that
the unknown area grows with the side; each case in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image

from vitmatte import MattingModel, load_model, matte
from vitmatte.evaluation.metrics import Errors, errors
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.training.data.composites import Compositor, Sample, over
from vitmatte.training.data.pictures import find_backgrounds, find_foregrounds
from vitmatte.training.recipe import Recipe, read_recipe
from vitmatte.training.validation import AS_IS, SEED, validation_set
from vitmatte.trimap.make import make_trimap

from .measure import Peak, machine, seconds

LEAST = 50  # pixels known on either side, as in benchmarks.accuracy
SPACING = 420  # pixels from one cut-out of a scene to the next
RADII = (8.0, 40.0)  # of a scene's unknown bands, in pixels
SOLID = ("photo_object", "hair_fur_predicted")  # kinds of cut-outs that lie in scenes: others are soft all over

Setting = dict[str, Any]  # keywords of matte


def scene(compositor: Compositor, side: int, rng: Generator) -> Sample:
    """A picture of side x side: cut-outs at their own size on a grid, over one photograph; trimaps of one radius."""
    photo = compositor.backgrounds.draw(rng).levels[0].resize((side, side), Image.Resampling.LANCZOS)
    picture = np.asarray(photo, np.float32) / 255
    layer = np.zeros((side, side, 4), np.float32)
    for top in range(0, side - SPACING // 2, SPACING):
        for left in range(0, side - SPACING // 2, SPACING):
            cut = np.asarray(compositor.foregrounds.draw(rng).levels[0], np.float32) / 255
            y, x = (max(0, min(side - n, at + int(rng.integers(-60, 60)))) for n, at in
                    zip(cut.shape[:2], (top, left), strict=True))
            place = slice(y, y + cut.shape[0]), slice(x, x + cut.shape[1])
            cut = cut[:side - y, :side - x]
            layer[place] = over(cut, layer[place])
    alpha = layer[..., 3]
    image = layer[..., :3] + (1 - alpha[..., None]) * picture
    radius = float(np.exp(rng.uniform(*np.log(RADII))))
    trimap = make_trimap(torch.from_numpy(alpha)[None], inner=radius, outer=radius)[0].numpy()
    levels = np.where(trimap == 0.5, 128, trimap * 255).astype(np.uint8)
    return Sample((image.clip(0, 1) * 255).round().astype(np.uint8), (alpha * 255).round().astype(np.uint8), levels)


def scenes(recipe: Recipe, side: int, count: int) -> list[Sample]:
    """Scenes of the recipe's validation pictures."""
    solid = [source for source in recipe.validation_foregrounds if set(source.where.get("kind", SOLID)) <= set(SOLID)]
    compositor = Compositor(find_foregrounds(solid or recipe.validation_foregrounds),
                            find_backgrounds(recipe.validation_backgrounds), AS_IS)
    return [scene(compositor, side, np.random.default_rng([SEED, side, i])) for i in range(count)]


def composites(recipe: Recipe, size: int, count: int) -> list[Sample]:
    """The recipe's validation composites with something known on either side."""
    made = validation_set(dataclasses.replace(recipe, validation_size=size, validation_count=count))
    return [s for s in made if min((s.trimap == 0).sum(), (s.trimap == 255).sum()) >= LEAST]


def judged(model: MattingModel, samples: Sequence[Sample], setting: Setting) -> list[Errors]:
    """The errors in the unknown area of each sample."""
    found = []
    for sample in samples:
        image = torch.from_numpy(sample.image.astype(np.float32) / 255).unsqueeze(0)
        trimap = torch.from_numpy(np.where(sample.trimap == 128, 0.5, sample.trimap / 255).astype(np.float32))
        alpha = matte(model, image, trimap, refine=0, **setting)[0].numpy()
        found.append(errors(alpha, sample.alpha.astype(np.float32) / 255, sample.trimap == 128))
    return found


def settings(reaches: Sequence[int], margins: Sequence[int]) -> dict[str, Setting]:
    """What is compared: exact, grid, and local with each reach without a margin, and each margin with the first."""
    named: dict[str, Setting] = {"exact": {"strategy": "exact"}, "grid": {"strategy": "grid"}}
    for reach in reaches:
        named[f"local {reach}"] = {"strategy": "local", "reach": reach, "margin": 10**4}
    for margin in margins:
        named[f"local {reaches[0]}, margin {margin}"] = {"strategy": "local", "reach": reaches[0], "margin": margin}
    return named


def table(rows: dict[str, list[Errors]]) -> str:
    """Mean and median of SAD, MSE x1e-3, Grad and Conn."""
    lines = ["| | SAD | MSE x1e-3 | Grad | Conn | median SAD | median MSE x1e-3 | median Grad | median Conn |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, found in rows.items():
        values = np.array([[e.sad, e.mse * 1000, e.grad, e.conn] for e in found])
        numbers = [*values.mean(axis=0), *np.median(values, axis=0)]
        lines.append(f"| {name} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |")
    return "\n".join(lines)


def accuracy(options: argparse.Namespace) -> None:
    recipe, model = read_recipe(options.recipe), load_model(options.model)
    sets = {f"composites of {options.size}": composites(recipe, options.size, options.count)}
    sets |= {f"scenes of {side}": scenes(recipe, side, options.scene_count) for side in options.scenes}
    for name, samples in sets.items():
        share = np.mean([(s.trimap == 128).mean() for s in samples])
        print(f"\n{len(samples)} {name}, {share:.0%} unknown; {options.model}\n")
        print(table({how: judged(model, samples, setting) for how, setting in
                     settings(options.reach, options.margin).items()}), flush=True)


def disc(side: int, band: float) -> torch.Tensor:
    """A trimap [side, side]: a disc in the middle, its edge unknown over so many pixels."""
    place = torch.arange(side) - side / 2
    distance = (place[:, None] ** 2 + place[None, :] ** 2).sqrt() - 0.35 * side
    return torch.where(distance.abs() <= band / 2, 0.5, (distance < 0).float())


def one_case(case: dict[str, Any]) -> None:
    """Prints seconds and peak memory of a case as JSON."""
    if case["net"] == "bundled":
        model = load_model()
    else:
        from .nets import net_config, random_net

        net = random_net(net_config(case["net"])).requires_grad_(False)
        net.fold()
        model = MattingModel(net, Preprocessing())
    side = round(case["megapixels"] ** 0.5 * 1000)
    image, trimap = torch.rand(1, side, side, 3), disc(side, case["band"])
    matte(model, image[:, :64, :64], torch.full((64, 64), 0.5), refine=0)
    with Peak("cpu") as peak:
        spent = seconds(lambda: matte(model, image, trimap, refine=0, **case["how"]), "cpu")
    print(json.dumps({"seconds": spent, "mb": peak.bytes / 2**20, "unknown": float((trimap == 0.5).float().mean()),
                      "machine": machine("cpu")}))


def cost(options: argparse.Namespace) -> None:
    """Runs each case in turn, repeated so that all cases see the same machine."""
    print("| net | megapixels | unknown | how | seconds | MB |\n|---|---:|---:|---|---:|---:|")
    for net in options.net:
        for megapixels in options.megapixels:
            for how in ({"strategy": "exact"}, {"strategy": "local"}):
                if how["strategy"] == "exact" and megapixels > options.exact_up_to:
                    continue
                case = {"net": net, "megapixels": megapixels, "band": options.band, "how": how}
                found = []
                for _ in range(options.runs):
                    done = subprocess.run([sys.executable, "-m", "benchmarks.reach", "case", json.dumps(case)],
                                          check=True, capture_output=True, text=True)
                    found.append(json.loads(done.stdout))
                time, memory = (float(np.median([x[key] for x in found])) for key in ("seconds", "mb"))
                print(f"| {net} | {megapixels:g} | {found[0]['unknown']:.1%} | {how['strategy']} | {time:.2f} | "
                      f"{memory:.0f} |", flush=True)
    print(found[0]["machine"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    judge = commands.add_parser("accuracy")
    judge.set_defaults(run=accuracy)
    judge.add_argument("--recipe", type=Path, required=True)
    judge.add_argument("--model", default="vitmatte-tiny")
    judge.add_argument("--size", type=int, default=320)
    judge.add_argument("--count", type=int, default=72)
    judge.add_argument("--scenes", type=int, nargs="*", default=[])
    judge.add_argument("--scene-count", type=int, default=6)
    judge.add_argument("--reach", type=int, nargs="+", default=[8, 6, 10, 12, 15])
    judge.add_argument("--margin", type=int, nargs="*", default=[4, 8, 16])
    spend = commands.add_parser("cost")
    spend.set_defaults(run=cost)
    spend.add_argument("--net", nargs="+", default=["bundled"], help="bundled, S or B (random weights)")
    spend.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 12])
    spend.add_argument("--band", type=float, default=60, help="width of the unknown band, in pixels")
    spend.add_argument("--exact-up-to", type=float, default=12, help="megapixels")
    spend.add_argument("--runs", type=int, default=1)
    case = commands.add_parser("case")
    case.set_defaults(run=lambda options: one_case(json.loads(options.case)))
    case.add_argument("case")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
