"""The command `vitmatte trimap`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..pictures.formats import Form
from ..pictures.writing import check_trimap_name
from ..shots.folder import check_results
from ..shots.trimap import Trimap
from . import batch, format_options, trimap_options


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    trimap = commands.add_parser("trimap", help="make a trimap from a rough mask")
    trimap.set_defaults(run=_trimap)
    trimap.add_argument("mask", type=Path, metavar="MASK", help="white = subject; or a folder of masks")
    trimap.add_argument("-o", "--output", type=Path, required=True, help="the trimap, a PNG (or a folder)")
    trimap.add_argument("--photo", type=Path, help="for strands: the photograph (or a folder: files of the same names)")
    trimap_options.add(trimap)
    format_options.add_for_trimaps(trimap)
    batch.add(trimap)
    return trimap


def _trimap(options: argparse.Namespace) -> int:
    if options.strands > 0 and options.photo is None:
        raise ValueError("--strands needs the photograph: give --photo")

    # The masks are what there is one of for each job; photographs are their guides.
    jobs = batch.jobs_of(options, options.mask, options.photo or options.mask, options.output, None,
                         marks=trimap_options.given_marks(options), masks_are_photos=True,
                         format=format_options.suffix_of(options, ".png"))
    format_options.check(options, jobs)
    task = Trimap(trimap_options.mask_options(options), options.compression)
    check_results(jobs, lambda job: check_trimap_name(job.output, Form(compression=options.compression)))
    return batch.run(options, jobs, task, "trimap")
