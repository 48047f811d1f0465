"""The command `vitmatte cutout`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..pictures.reading import read_size
from ..pictures.writing import check_image_name, check_matte_name, has_max_side
from ..shots.cutout import Cutout
from ..shots.jobs import Job
from . import batch, look_options, model_options, ray_options, trimap_options


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    cutout = commands.add_parser("cutout", help="cut a subject out of a photograph, or of a folder of them")
    cutout.set_defaults(run=_cutout)
    cutout.add_argument("photo", type=Path, metavar="PHOTO", help="a picture, or a folder of pictures")
    given = cutout.add_mutually_exclusive_group(required=True)
    given.add_argument("--mask", type=Path, help="rough mask, white = subject (a folder: files of the photos' names)")
    given.add_argument("--trimap", type=Path, help="trimap: black, grey = unknown, white (or a folder)")
    cutout.add_argument("-o", "--output", type=Path, required=True, help="the cut-out, with transparency (or a folder)")
    cutout.add_argument("--alpha", type=Path, help="also write the matte, 16-bit grey PNG (or a folder)")
    cutout.add_argument("--background", metavar="FILE|COLOUR",
                        help="composite on a picture or a colour (#RRGGBB, #RGB or a name) instead of transparency")
    look_options.add(cutout, "photograph")
    trimap_options.add(cutout)
    batch.add(cutout)
    ray_options.add(cutout)
    model_options.add(cutout)
    return cutout


def _cutout(options: argparse.Namespace) -> int:
    model_options.check(options)
    background = [Path(options.background)] if options.background and Path(options.background).is_file() else []
    marks = trimap_options.given_marks(options)
    jobs = batch.jobs_of(options, options.photo, options.mask or options.trimap, options.output, options.alpha,
                         marks=marks if options.mask else {}, others=[*background, *marks.values()])
    task = Cutout(mask=trimap_options.mask_options(options) if options.mask else None, background=options.background,
                  fit=options.fit, linear=options.linear, colours=options.colours, despill=options.despill,
                  **model_options.plain(options))
    task.check()
    batch.check_results(jobs, lambda job: _check_names(job, transparent=options.background is None))
    return batch.run(options, jobs, task, "cutout", pool=ray_options.pool_of(options))


def _check_names(job: Job, *, transparent: bool) -> None:
    """Raises ValueError unless the formats of its results' names can hold them."""
    size = read_size(job.photo) if has_max_side(job.output) else None
    check_image_name(job.output, transparent=transparent, size=size)
    if job.alpha is not None:
        check_matte_name(job.alpha)
