"""The command `vitmatte trimap`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..pictures.formats import Form
from ..pictures.reading import read_image
from ..pictures.writing import check_matte_name, check_trimap_name, write_trimap
from . import format_options, trimap_options
from .batch import Job, add_skipping, check_results, jobs_of, run_jobs, without_existing
from .told import warnings_of


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    trimap = commands.add_parser("trimap", help="make a trimap from a rough mask")
    trimap.set_defaults(run=_trimap)
    trimap.add_argument("mask", type=Path, metavar="MASK", help="white = subject; or a folder of masks")
    trimap.add_argument("-o", "--output", type=Path, required=True, help="the trimap, a PNG (or a folder)")
    trimap.add_argument("--photo", type=Path, help="for strands: the photograph (or a folder: files of the same names)")
    trimap_options.add(trimap)
    format_options.add_for_trimaps(trimap)
    add_skipping(trimap)
    return trimap


def _trimap(options: argparse.Namespace) -> int:
    if options.strands > 0 and options.photo is None:
        raise ValueError("--strands needs the photograph: give --photo")

    # The masks are what there is one of for each job; photographs are their guides.
    jobs = jobs_of(options.mask, options.photo or options.mask, options.output, None,
                   trimap_options.given_marks(options), format_options.suffixes_of_trimaps(options))
    format_options.check(options, [job.output for job in jobs], folder=options.mask.is_dir())
    form = Form(compression=options.compression)
    marked = trimap_options.marks_of(options, [job.photo for job in jobs])
    check_results(jobs, lambda job: check_trimap_name(job.output, form), check_matte_name)

    def work(job: Job) -> None:
        with warnings_of(job.photo):
            image = read_image(job.guide) if options.strands > 0 else None
            write_trimap(job.output, trimap_options.trimap_of(options, job.photo, image, marked[job.photo])[0],
                         compression=options.compression)
        print(job.output, flush=True)

    return run_jobs(without_existing(jobs) if options.skip_existing else jobs, work, "trimap")
