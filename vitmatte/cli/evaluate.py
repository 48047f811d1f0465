"""The command `vitmatte evaluate`: the benchmarks' errors of a folder of mattes, or of a model's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .. import image_files
from ..evaluation.metrics import Errors, errors
from ..files import check_can_write, whole_file
from ..inference.matting import NORMALIZATIONS, load_model, matte
from ..pairing import by_stem, counterparts
from ..trimap.known import known_areas
from ..weights import released as models

NAMES = [field.name for field in fields(Errors)]
Finder = Callable[[str], np.ndarray]


def register(commands: Any) -> None:
    """Adds the command to the command line's subparsers."""
    parser = commands.add_parser("evaluate", help="SAD, MSE, Grad and Conn of mattes against the true ones")
    parser.set_defaults(run=_evaluate)
    found = parser.add_mutually_exclusive_group(required=True)
    found.add_argument("--pred", type=Path, metavar="DIR", help="the mattes to judge")
    found.add_argument("--model", metavar="NAME|PATH", help="a model to make them with; needs --image and --trimap")
    parser.add_argument("--alpha", type=Path, metavar="DIR", required=True, help="the true mattes")
    parser.add_argument("--trimap", type=Path, metavar="DIR", help="count the unknown area only")
    parser.add_argument("--whole", action="store_true", help="count the whole picture")
    parser.add_argument("--image", type=Path, metavar="DIR", help="the pictures, for --model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="as_trained", help="for --model")
    parser.add_argument("--device", default="cpu", help="for --model (default: %(default)s)")
    parser.add_argument("--models-folder", type=Path, default=models.default_folder(), help="for --model")


def _evaluate(options: argparse.Namespace) -> int:
    if not options.whole and options.trimap is None:
        raise ValueError("which area counts? Give --trimap DIR for the unknown area, or --whole for everything")
    if options.model and (options.image is None or options.trimap is None):
        raise ValueError("--model needs pictures and trimaps: give --image DIR and --trimap DIR")
    if options.image and not options.model:
        raise ValueError("--image is for --model; with --pred the mattes are there already")
    if options.json:
        check_can_write(options.json)
    truth = by_stem(options.alpha)
    trimaps = counterparts(options.trimap, truth, "mattes") if options.trimap else {}
    found = _by_model(options, truth, trimaps) if options.model else _from_files(options.pred, truth)
    rows = dict(_rows(truth, found, {} if options.whole else trimaps))
    summary = {name: {part: getattr(e, part) for part in NAMES} for name, e in summarise(list(rows.values())).items()}
    sys.stdout.write(table(rows))
    if options.json:
        content = {"area": "whole" if options.whole else "unknown", "pictures": {k: asdict(v) for k, v in rows.items()},
                   **summary}
        with whole_file(options.json) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _rows(truth: dict[str, Path], found: Finder, trimaps: dict[str, Path]) -> Iterator[tuple[str, Errors]]:
    for stem, path in tqdm(truth.items(), desc="evaluate", unit="picture", disable=None):
        true, alpha = _plane(path), found(stem)
        area = None
        if trimaps:
            sure = known_areas(image_files.read_mask(trimaps[stem]))
            area = ~(sure[0] | sure[1])[0].numpy()
        try:
            yield stem, errors(alpha, true, area)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error


def _from_files(folder: Path, truth: dict[str, Path]) -> Finder:
    files = counterparts(folder, truth, "mattes")
    return lambda stem: _plane(files[stem])


def _by_model(options: argparse.Namespace, truth: dict[str, Path], trimaps: dict[str, Path]) -> Finder:
    images = counterparts(options.image, truth, "mattes")
    model = load_model(options.model, device=torch.device(options.device), normalization=options.normalization,
                       folder=options.models_folder)

    def found(stem: str) -> np.ndarray:
        image, trimap = image_files.read_image(images[stem]), image_files.read_mask(trimaps[stem])
        return matte(model, image, trimap)[0].numpy()

    return found


def _plane(path: Path) -> np.ndarray:
    return image_files.read_mask(path)[0].numpy()


def summarise(rows: list[Errors]) -> dict[str, Errors]:
    """Mean and median over pictures."""
    values = np.array([[getattr(row, name) for name in NAMES] for row in rows])
    found = {"mean": values.mean(axis=0), "median": np.median(values, axis=0)}
    return {how: Errors(*(float(x) for x in row)) for how, row in found.items()}


def table(rows: dict[str, Errors]) -> str:
    """A table for people: a line per picture, then mean and median."""
    width = max(len(name) for name in (*rows, "picture", "median"))
    lines = [f"{'picture':{width}}  {'SAD':>9}  {'MSE':>9}  {'Grad':>9}  {'Conn':>9}"]
    for name, row in (*rows.items(), *summarise(list(rows.values())).items()):
        lines.append(f"{name:{width}}  {row.sad:9.3f}  {row.mse:9.5f}  {row.grad:9.3f}  {row.conn:9.3f}")
    return "\n".join(lines) + "\n"
