"""Accuracy in the unknown area: models against each other, a constant 0.5, and pymatting's closed-form and KNN matting.

    python -m benchmarks.accuracy --recipe vitmatte/training/recipes/tiny.json MODEL ...
    python -m benchmarks.accuracy --pictures IMAGES TRIMAPS ALPHAS MODEL ...

The first takes the composites of the recipe's validation pictures, the second folders of pictures, trimaps and true
mattes with the same names. All methods get the same pictures and trimaps, and known pixels are put into every matte.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from vitmatte import load_model, matte
from vitmatte.evaluation.metrics import Errors, errors
from vitmatte.evaluation.report import NAMES, summarise
from vitmatte.pictures import writing
from vitmatte.training.data.composites import Sample
from vitmatte.training.recipe import read_recipe
from vitmatte.training.validation import strip, validation_set

LEAST = 50  # pixels

Method = Callable[[Sample], np.ndarray]


def composites(recipe: Path, size: int, count: int) -> list[Sample]:
    """The recipe's validation composites, in this size and number, less those where the trimap knows no foreground or
    no background: closed-form and KNN matting have no answer there."""
    made = validation_set(dataclasses.replace(read_recipe(recipe), validation_size=size, validation_count=count))
    return [s for s in made if min((s.trimap == 0).sum(), (s.trimap == 255).sum()) >= LEAST]


def pictures(images: Path, trimaps: Path, alphas: Path) -> list[Sample]:
    """Samples from three folders; names are those of the mattes."""
    found = []
    for path in sorted(alphas.iterdir()):
        planes = []
        for folder in (trimaps, alphas):
            file = next(f for f in folder.iterdir() if f.stem == path.stem)
            planes.append(np.asarray(Image.open(file).convert("L")))
        image = next(f for f in images.iterdir() if f.stem == path.stem)
        trimap = np.where(planes[0] < 2, 0, np.where(planes[0] > 253, 255, 128)).astype(np.uint8)
        found.append(Sample(np.asarray(Image.open(image).convert("RGB")), planes[1], trimap, path.stem))
    return found


def settled(sample: Sample, alpha: np.ndarray | float) -> np.ndarray:
    """A matte with what the trimap knows put in."""
    return np.where(sample.trimap == 128, alpha, sample.trimap / 255)


def by_model(name: str, refine: float = 0) -> Method:
    """A ViTMatte's mattes, as they are or refined."""
    model = load_model(name)

    def run(sample: Sample) -> np.ndarray:
        image = torch.from_numpy(sample.image.astype(np.float32) / 255).unsqueeze(0)
        trimap = torch.from_numpy(sample.trimap.astype(np.float32) / 255).unsqueeze(0)
        return matte(model, image, trimap, refine=refine)[0].numpy()

    return run


def constant(sample: Sample) -> np.ndarray:
    """0.5 wherever it is unknown."""
    return settled(sample, 0.5)


def by_pymatting(name: str, cache: Path | None) -> Method:
    """estimate_alpha_cf or estimate_alpha_knn, kept as files under `cache`, because they are slow."""
    def run(sample: Sample) -> np.ndarray:
        import pymatting

        kept = cache / f"{name}-{sample.name}.npy" if cache else None
        if kept and kept.is_file():
            return np.load(kept).astype(np.float64)
        trimap = constant(sample)
        alpha = np.clip(getattr(pymatting, f"estimate_alpha_{name}")(sample.image / 255, trimap), 0, 1)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, alpha.astype(np.float32))
        return alpha

    return run


def compare(samples: list[Sample], methods: dict[str, Method]) -> dict[str, dict[str, Errors]]:
    """method -> sample -> errors."""
    found: dict[str, dict[str, Errors]] = {name: {} for name in methods}
    for sample in tqdm(samples, unit="picture"):
        area = sample.trimap == 128
        for name, method in methods.items():
            alpha = np.clip(settled(sample, method(sample)), 0, 1).astype(np.float64)
            found[name][sample.name] = errors(alpha, sample.alpha / 255, area)
    return found


def report(found: dict[str, dict[str, Errors]], only: str = "") -> str:
    """A table in Markdown: means, medians, and for each method on how many pictures its MSE is the least."""
    rows = {m: {k: e for k, e in by.items() if only in k} for m, by in found.items()}
    names = list(next(iter(rows.values())))
    wins = dict.fromkeys(rows, 0)
    for name in names:
        wins[min(rows, key=lambda m: rows[m][name].mse)] += 1
    lines = ["| method | SAD | MSE x1e-3 | Grad | Conn | median SAD | median MSE x1e-3 | median Grad | median Conn | "
             "best MSE |", "|---|" + "---:|" * 9]
    for method, by in rows.items():
        values = [getattr(e, n) * (1000 if n == "mse" else 1)
                  for e in summarise(list(by.values())).values() for n in NAMES]
        lines.append(f"| {method} | " + " | ".join(f"{v:.2f}" for v in values) + f" | {wins[method]} of {len(names)} |")
    return "\n".join(lines)


def sheet(path: Path, samples: list[Sample], methods: dict[str, Method]) -> None:
    """Picture, trimap, true matte, then each method's, one picture a row."""
    rows = []
    for sample in samples:
        rows.append(strip(sample, [settled(sample, method(sample)) for method in methods.values()]))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    writing.write_image(path, torch.from_numpy(np.concatenate(rows).astype(np.float32) / 255))


def add_samples(parser: argparse.ArgumentParser) -> None:
    """Adds what `samples_of`, `named` and `write_json` read."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="NAME=PATH, or a name or path as load_model takes")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--recipe", type=Path)
    source.add_argument("--pictures", type=Path, nargs=3, metavar=("IMAGES", "TRIMAPS", "ALPHAS"))
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--count", type=int, default=104)
    parser.add_argument("--cache", type=Path, help="folder to keep pymatting's mattes in")
    parser.add_argument("--json", type=Path)


def samples_of(options: argparse.Namespace) -> list[Sample]:
    """The composites of the recipe, or the pictures."""
    made = options.recipe is not None
    return composites(options.recipe, options.size, options.count) if made else pictures(*options.pictures)


def named(options: argparse.Namespace) -> dict[str, str]:
    """The models' names or paths, by what they are called in tables."""
    return dict(model.split("=", 1) if "=" in model else (model, model) for model in options.models)


def write_json(options: argparse.Namespace, found: dict[str, dict[str, Errors]]) -> None:
    """Writes all errors, by method and picture, where a file is given."""
    if options.json:
        plain = {method: {name: vars(e) for name, e in by.items()} for method, by in found.items()}
        options.json.write_text(json.dumps(plain, indent=1))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_samples(parser)
    parser.add_argument("--sheet", type=Path, help="a contact sheet of the samples named by --only, in order")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    options = parser.parse_args()
    samples = samples_of(options)
    methods = {f"{name}{kind}": by_model(path, refine)
               for name, path in named(options).items() for kind, refine in (("", 0), (", refined", 1))}
    if options.sheet:
        chosen = [s for n in options.only for s in samples if s.name == n]
        sheet(options.sheet, chosen, {**methods, "knn": by_pymatting("knn", options.cache)})
        return
    methods |= {"closed form": by_pymatting("cf", options.cache), "KNN": by_pymatting("knn", options.cache),
                "constant 0.5": constant}
    found = compare(samples, methods)
    print(report(found))
    write_json(options, found)


if __name__ == "__main__":
    main()
