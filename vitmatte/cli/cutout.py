"""The command `vitmatte cutout`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..shots.cutout import Cutout
from ..shots.folder import check_results
from . import batch, format_options, look_options, model_options, ray_options, trimap_options


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    cutout = commands.add_parser("cutout", help="cut a subject out of a photograph, or of a folder of them")
    cutout.set_defaults(run=_cutout)
    cutout.add_argument("photo", type=Path, metavar="PHOTO", help="a picture, or a folder of pictures")
    given = cutout.add_mutually_exclusive_group(required=True)
    given.add_argument("--mask", type=Path, help="rough mask, white = subject (a folder: files of the photos' names)")
    given.add_argument("--trimap", type=Path, help="trimap: black, grey = unknown, white (or a folder)")
    cutout.add_argument("-o", "--output", type=Path, required=True, help="the cut-out, with transparency (or a folder)")
    cutout.add_argument("--alpha", type=Path, help="also write the matte: 16-bit PNG or TIFF, or OpenEXR (or a folder)")
    cutout.add_argument("--background", metavar="FILE|COLOUR",
                        help="composite on a picture or a colour (#RRGGBB, #RGB or a name) instead of transparency")
    format_options.add(cutout)
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
                         marks=marks if options.mask else {}, others=[*background, *marks.values()],
                         format=format_options.suffix_of(options))
    format_options.check(options, jobs)
    task = Cutout(mask=trimap_options.mask_options(options) if options.mask else None, background=options.background,
                  fit=options.fit, linear=options.linear, colours=options.colours, despill=options.despill,
                  **format_options.plain(options), **model_options.plain(options))
    task.check()
    check_results(jobs, task.check_names)
    return batch.run(options, jobs, task, "cutout", pool=ray_options.pool_of(options))
