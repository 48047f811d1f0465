"""The command `vitmatte evaluate`: the benchmarks' errors of mattes in folders or videos, or of a model's."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..evaluation.metrics import Errors
from ..evaluation.report import content, flicker_line, judge, table, unknown_area
from ..files import check_can_write, whole_file
from ..inference.matting import matte
from ..inference.model import device_of, load_model
from . import model_options
from .flicker import FramesOfClip
from .judged import Given, Judged, Net, of_clip, of_folders

log = logging.getLogger(__name__)


def register(commands: Any) -> None:
    """Adds the command to the command line's subparsers."""
    parser = commands.add_parser("evaluate", help="SAD, MSE, Grad and Conn of mattes against the true ones")
    parser.set_defaults(run=_evaluate)
    found = parser.add_mutually_exclusive_group(required=True)
    found.add_argument("--pred", type=Path, metavar="DIR|VIDEO", help="the mattes to judge")
    found.add_argument("--model", metavar="NAME|PATH", help="a model to make them with; needs --image and --trimap")
    parser.add_argument("--alpha", type=Path, metavar="DIR|VIDEO", required=True, help="the true mattes")
    parser.add_argument("--trimap", type=Path, metavar="DIR|VIDEO", help="count the unknown area only")
    parser.add_argument("--whole", action="store_true", help="count the whole picture")
    parser.add_argument("--clip", action="store_true", help="the pictures are a clip's frames, in the order of their "
                        "names: dtSSD too, and with --image, for their motion, MESSDdt; of videos always")
    parser.add_argument("--image", type=Path, metavar="DIR|VIDEO", help="the pictures, for --model and clips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    model_options.add_normalization(parser)
    model_options.add_refine(parser)
    model_options.add_device(parser, "cpu")
    model_options.add_models_folder(parser)


def _evaluate(options: argparse.Namespace) -> int:
    if not options.whole and options.trimap is None:
        raise ValueError("which area counts? Give --trimap for the unknown area, or --whole for everything")
    if options.model and (options.image is None or options.trimap is None):
        raise ValueError("--model needs pictures and trimaps: give --image and --trimap")
    model_options.check_refine(options)
    if options.refine is not None and not options.model:
        raise ValueError("--refine is for --model; with --pred the mattes are there already")
    if options.json:
        check_can_write(options.json)
    given = Given(options.alpha, options.pred, options.trimap, options.image)
    is_clip = options.clip or given.is_clip
    if options.image and not (options.model or is_clip):
        raise ValueError("--image is for --model and clips; with --pred the mattes are there already")
    count, pictures = of_clip(given) if given.is_clip else of_folders(given)
    net, clip = _net(options) if options.model else None, FramesOfClip() if is_clip else None
    with tqdm(total=count, desc="evaluate", unit="picture", disable=None) as bar:
        rows = dict(_rows(pictures(net), clip, bar, whole=options.whole))
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
    pictures: Iterator[Judged], clip: FramesOfClip | None, bar: tqdm[Any], *, whole: bool
) -> Iterator[tuple[str, Errors | None]]:
    for one in pictures:
        trimap = None if whole else one.trimap
        found, true = one.found.numpy(), one.true.numpy()
        try:
            row = judge(found, true, trimap)
            if clip is not None:
                clip.push(found, true, None if trimap is None else unknown_area(trimap), one.image, one.image_name)
        except ValueError as error:
            raise ValueError(f"{one.where}: {error}") from error
        if row is None:
            log.warning("%s: no unknown area: nothing of it is counted, in mean and median neither", one.trimap_name)
        bar.update()
        yield one.name, row


def _net(options: argparse.Namespace) -> Net:
    model = load_model(options.model, device=device_of(options.device), normalization=options.normalization,
                       folder=options.models_folder)
    return lambda image, trimap: matte(model, image, trimap, refine=options.refine)[0]
