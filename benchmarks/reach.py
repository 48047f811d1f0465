"""Attention within a reach: its accuracy against exact and grid, and its time and memory by the picture's size.

    python -m benchmarks.reach accuracy --recipe RECIPE [--size 384 512] [--count 24] [--scenes 1448 2896]
    python -m benchmarks.reach accuracy --pictures IMAGES TRIMAPS ALPHAS
    python -m benchmarks.reach cost [--net bundled S] [--megapixels 1 4 12] [--band 60]

Accuracy: composites of the recipe's validation pictures; with --scenes also pictures of those sides, on which several
cut-outs lie at their own size on one photograph; or folders of pictures, trimaps and true mattes with the same names.
Without refinement. Cost: see `reach_cost`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image

from vitmatte import MattingModel, load_model, matte
from vitmatte.evaluation.metrics import Errors, errors
from vitmatte.training.data.composites import Compositor, Sample, over
from vitmatte.training.data.pictures import find_backgrounds, find_foregrounds
from vitmatte.training.recipe import Recipe, read_recipe
from vitmatte.training.validation import AS_IS, SEED, validation_set
from vitmatte.trimap.make import make_trimap
from vitmatte.weights.download import locate

from .accuracy import pictures
from .reach_cost import add_cost, without_reach

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


def settings(model: MattingModel, reaches: Sequence[int], margins: Sequence[int]) -> dict[str, Setting]:
    """What is compared: exact, grid, local as it comes, with each reach without a margin, and with each margin and the
    first reach. Of a net with an `attention_reach`, grid is local."""
    named: dict[str, Setting] = {"exact": {"strategy": "exact"}}
    if _has_reach(model):
        named["local, grid"] = {"strategy": "local"}
    else:
        named |= {"grid": {"strategy": "grid"}, "local": {"strategy": "local"}}
    for reach in reaches:
        named[f"local {reach}"] = {"strategy": "local", "reach": reach, "margin": 10**4}
    for margin in margins:
        named[f"local {reaches[0]}, margin {margin}"] = {"strategy": "local", "reach": reaches[0], "margin": margin}
    return named


def _has_reach(model: MattingModel) -> bool:
    transformer = model.net.architecture.transformer
    return transformer is not None and transformer.attention_reach is not None


def table(rows: dict[str, list[Errors]]) -> str:
    """Mean and median of SAD, MSE x1e-3, Grad and Conn."""
    lines = ["| | SAD | MSE x1e-3 | Grad | Conn | median SAD | median MSE x1e-3 | median Grad | median Conn |",
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, found in rows.items():
        values = np.array([[e.sad, e.mse * 1000, e.grad, e.conn] for e in found])
        numbers = [*values.mean(axis=0), *np.median(values, axis=0)]
        lines.append(f"| {name} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |")
    return "\n".join(lines)


def sample_sets(options: argparse.Namespace) -> dict[str, list[Sample]]:
    """What is judged, by name."""
    if options.pictures:
        return {f"pictures with {options.pictures[1].name}": pictures(*options.pictures)}
    recipe = read_recipe(options.recipe)
    sets = {f"composites of {size}": composites(recipe, size, options.count) for size in options.size}
    return sets | {f"scenes of {side}": scenes(recipe, side, options.scene_count) for side in options.scenes}


def accuracy(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    to_all = without_reach(locate(options.model)) if options.all and _has_reach(model) else None
    for name, samples in sample_sets(options).items():
        share = np.mean([(s.trimap == 128).mean() for s in samples])
        print(f"\n{len(samples)} {name}, {share:.0%} unknown; {options.model}\n")
        rows = {"all": judged(to_all, samples, {"strategy": "exact"})} if to_all else {}
        for how, setting in settings(model, options.reach, options.margin).items():
            rows[how] = judged(model, samples, setting)
        print(table(rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    judge = commands.add_parser("accuracy")
    judge.set_defaults(run=accuracy)
    source = judge.add_mutually_exclusive_group(required=True)
    source.add_argument("--recipe", type=Path)
    source.add_argument("--pictures", type=Path, nargs=3, metavar=("IMAGES", "TRIMAPS", "ALPHAS"))
    judge.add_argument("--model", default="vitmatte-tiny")
    judge.add_argument("--size", type=int, nargs="*", default=[320])
    judge.add_argument("--count", type=int, default=72)
    judge.add_argument("--scenes", type=int, nargs="*", default=[])
    judge.add_argument("--scene-count", type=int, default=6)
    judge.add_argument("--reach", type=int, nargs="*", default=[15, 8, 12, 24])
    judge.add_argument("--margin", type=int, nargs="*", default=[0, 8, 15])
    judge.add_argument("--all", action="store_true",
                       help="attention to all, with stretched tables, of a net with an attention_reach too")
    add_cost(commands)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
