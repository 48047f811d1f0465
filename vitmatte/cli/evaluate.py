"""The command `vitmatte evaluate`: the benchmarks' errors of a folder of mattes, or of a model's."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..evaluation.metrics import Errors
from ..evaluation.report import content, flicker_line, judge, table, unknown_area
from ..files import check_can_write, whole_file
from ..inference.matting import matte
from ..inference.model import device_of, load_model
from ..pictures import reading
from ..pictures.pairing import by_stem, counterparts
from . import model_options
from .flicker import FramesOfClip
from .told import warnings_of

Finder = Callable[[str], np.ndarray]

log = logging.getLogger(__name__)


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
    parser.add_argument("--clip", action="store_true", help="the pictures are a clip's frames, in the order of their "
                        "names: dtSSD too, and with --image DIR, for their motion, MESSDdt")
    parser.add_argument("--image", type=Path, metavar="DIR", help="the pictures, for --model and --clip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    model_options.add_normalization(parser)
    model_options.add_refine(parser)
    model_options.add_device(parser, "cpu")
    model_options.add_models_folder(parser)


def _evaluate(options: argparse.Namespace) -> int:
    if not options.whole and options.trimap is None:
        raise ValueError("which area counts? Give --trimap DIR for the unknown area, or --whole for everything")
    if options.model and (options.image is None or options.trimap is None):
        raise ValueError("--model needs pictures and trimaps: give --image DIR and --trimap DIR")
    if options.image and not (options.model or options.clip):
        raise ValueError("--image is for --model and --clip; with --pred the mattes are there already")
    model_options.check_refine(options)
    if options.refine is not None and not options.model:
        raise ValueError("--refine is for --model; with --pred the mattes are there already")
    if options.json:
        check_can_write(options.json)
    truth = by_stem(options.alpha)
    trimaps = counterparts(options.trimap, truth, "mattes") if options.trimap else {}
    found = _by_model(options, truth, trimaps) if options.model else _from_files(options.pred, truth)
    clip = FramesOfClip(counterparts(options.image, truth, "mattes") if options.image else {}) if options.clip else None
    rows = dict(_rows(truth, found, {} if options.whole else trimaps, clip))
    sys.stdout.write(table(rows))
    flicker = None if clip is None else clip.flicker()
    if flicker is not None:
        sys.stdout.write(flicker_line(flicker))
    if options.json:
        figures = content(rows, "whole" if options.whole else "unknown", flicker)
        with whole_file(options.json) as path:
            path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _rows(
    truth: dict[str, Path], found: Finder, trimaps: dict[str, Path], clip: FramesOfClip | None
) -> Iterator[tuple[str, Errors | None]]:
    for stem, path in tqdm(truth.items(), desc="evaluate", unit="picture", disable=None):
        with warnings_of(path):
            true, alpha = _plane(path), found(stem)
            trimap = reading.read_trimap(trimaps[stem]) if trimaps else None
            try:
                row = judge(alpha, true, trimap)
                if clip is not None:
                    clip.push(stem, alpha, true, None if trimap is None else unknown_area(trimap))
            except ValueError as error:
                raise ValueError(f"{path.name}: {error}") from error
            if row is None:
                log.warning("%s: no unknown area: nothing of it is counted, in mean and median neither", trimaps[stem])
        yield stem, row


def _from_files(folder: Path, truth: dict[str, Path]) -> Finder:
    files = counterparts(folder, truth, "mattes")
    return lambda stem: _plane(files[stem])


def _by_model(options: argparse.Namespace, truth: dict[str, Path], trimaps: dict[str, Path]) -> Finder:
    images = counterparts(options.image, truth, "mattes")
    model = load_model(options.model, device=device_of(options.device), normalization=options.normalization,
                       folder=options.models_folder)

    def found(stem: str) -> np.ndarray:
        image, trimap = reading.read_image(images[stem]), reading.read_trimap(trimaps[stem])
        try:
            return matte(model, image, trimap, refine=options.refine)[0].numpy()
        except ValueError as error:
            raise ValueError(f"{images[stem]} with {trimaps[stem]}: {error}") from error

    return found


def _plane(path: Path) -> np.ndarray:
    return reading.read_mask(path)[0].numpy()
