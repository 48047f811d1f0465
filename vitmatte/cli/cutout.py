"""The command `vitmatte cutout`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ..checks import unequal
from ..compositing.blend import colour
from ..compositing.cutout import cut_out, replace_background
from ..inference.matting import matte
from ..inference.model import MattingModel
from ..inference.planning import MemoryLimitError
from ..pictures.formats import Form
from ..pictures.metadata import Metadata
from ..pictures.profiles import converted
from ..pictures.reading import Photograph, read_photograph, read_size, read_trimap, tell_clipped
from ..pictures.writing import (
    check_image_name,
    check_matte_name,
    has_max_side,
    write_image,
    write_matte,
)
from . import format_options, look_options, model_options, trimap_options
from .batch import Job, add_skipping, check_results, jobs_of, run_jobs, without_existing
from .told import warnings_of

log = logging.getLogger(__name__)


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
    add_skipping(cutout)
    model_options.add(cutout)
    return cutout


def _cutout(options: argparse.Namespace) -> int:
    model_options.check(options)
    form = format_options.form_of(options)
    jobs = jobs_of(options.photo, options.mask or options.trimap, options.output, options.alpha, _others(options),
                   format_options.suffixes_of(options))
    format_options.check(options, [job.output for job in jobs], folder=options.photo.is_dir())
    marked = trimap_options.marks_of(options, [job.guide for job in jobs]) if options.mask else {}
    backdrop = _backdrop(options.background)
    check_results(jobs, lambda job: _check_cutout(job, form, transparent=backdrop is None),
                  lambda path: check_matte_name(path, form.of_matte(path)))
    if options.skip_existing and not (jobs := without_existing(jobs)):
        return 0
    model = model_options.loaded(options)

    def work(job: Job) -> None:
        with warnings_of(job.photo):
            photo = read_photograph(job.photo)
        with warnings_of(job.guide):
            if options.mask:
                trimap = trimap_options.trimap_of(options, job.guide, photo.seen, marked[job.guide])
            else:
                trimap = read_trimap(job.guide)
                if bool(trimap.min() == trimap.max()) and float(trimap.min()) in (0.0, 1.0):
                    log.warning("no unknown area: all of it is one value, and the matte will be that")
        with warnings_of(job.photo):
            _one_cutout(job, model, photo, trimap, backdrop, options)

    return run_jobs(jobs, work, "cutout")


def _one_cutout(job: Job, model: MattingModel, photo: Photograph, trimap: Tensor, backdrop: Photograph | None,
                options: argparse.Namespace) -> None:
    size, given = photo.image.shape[1:3], trimap.shape[1:]
    if options.mask and size != given:
        raise ValueError(f"{job.photo} with {job.guide}: {unequal('the photograph', size, 'the mask', given, trimap)}")
    try:
        with tqdm(total=1, desc=job.photo.name, bar_format="{l_bar}{bar}", leave=False, disable=None) as bar:
            def show(done: int, steps: int) -> None:
                bar.update(done / steps - bar.n)

            alpha = matte(model, photo.seen, trimap, **model_options.of_matte(options), on_progress=show)
    except MemoryLimitError as error:
        raise model_options.too_little(options, str(job.photo), error) from error
    except ValueError as error:
        raise ValueError(f"{job.photo} with {job.guide}: {error}") from error
    estimate = options.colours == "estimated"
    if backdrop is None:
        result = cut_out(photo.image, alpha, estimate=estimate, despill=options.despill, high_range=photo.is_light)
    else:
        behind = converted(backdrop.image, backdrop.profile, photo.profile)  # to the space of what is written
        result = replace_background(photo.image, alpha, behind, fit=options.fit, linear=options.linear,
                                    estimate=estimate, despill=options.despill, high_range=photo.is_light)
    form = format_options.form_of(options)
    write_image(job.output, result[0], profile=photo.profile, metadata=photo.metadata,
                **form.of(job.output, photo.bits).chosen())
    print(job.output, flush=True)
    if job.alpha is not None:
        of_matte = form.of_matte(job.alpha)
        write_matte(job.alpha, alpha[0], bits=of_matte.bits, compression=of_matte.compression, metadata=photo.metadata)
        print(job.alpha, flush=True)


def _others(options: argparse.Namespace) -> list[Path]:
    """What a cut-out is made of besides photograph, and mask or trimap."""
    background = [Path(options.background)] if options.background and Path(options.background).is_file() else []
    return background + trimap_options.given_marks(options)


def _check_cutout(job: Job, form: Form, *, transparent: bool) -> None:
    """Raises ValueError unless the format of its name can hold a cut-out of the photograph's size."""
    size = read_size(job.photo) if has_max_side(job.output) else None
    check_image_name(job.output, transparent=transparent, size=size, form=form)


def _backdrop(given: str | None) -> Photograph | None:
    """The background: its image is [3] for a colour, in sRGB, and [1, H, W, 3] for a picture."""
    if given is None:
        return None
    if not Path(given).exists():
        try:
            return Photograph(colour(given), None, Metadata())
        except ValueError:
            if given.startswith("#"):
                raise
    photo = read_photograph(given)
    if photo.is_light:
        tell_clipped(given, photo.image)
    return replace(photo, image=photo.seen)
