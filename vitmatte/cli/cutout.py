"""The command `vitmatte cutout`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..checks import check_number, unequal
from ..compositing.blend import FITS, SCREENS, colour
from ..compositing.cutout import cut_out, replace_background
from ..inference.context import PRECISIONS
from ..inference.matting import matte
from ..inference.model import NORMALIZATIONS, MattingModel, load_model
from ..inference.plan import MEBI
from ..inference.planning import MemoryLimitError
from ..inference.scope import STRATEGIES
from ..pictures.metadata import Metadata
from ..pictures.profiles import converted
from ..pictures.reading import Photograph, read_photograph, read_size, read_trimap
from ..pictures.writing import (
    check_image_name,
    check_matte_name,
    has_max_side,
    write_image,
    write_matte,
)
from ..refinement.refine import check_strength
from ..weights.released import BUNDLED
from . import trimap_options
from .batch import Job, add_skipping, check_results, jobs_of, run_jobs, without_existing
from .told import warnings_of

log = logging.getLogger(__name__)

COLOURS = ("estimated", "picture")


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
    cutout.add_argument("--fit", choices=FITS, default="cover",
                        help="how a background of another size is used (default: %(default)s; contain: on black)")
    cutout.add_argument("--linear", action="store_true", help="composite light, as a camera does, not sRGB values")
    cutout.add_argument("--colours", choices=COLOURS, default="estimated",
                        help="estimated: free hair and edges of the old background's colour; picture: leave the "
                             "photograph's (default: %(default)s)")
    cutout.add_argument("--despill", choices=SCREENS, default="none",
                        help="take a green or blue screen's light from the subject (default: %(default)s)")
    trimap_options.add(cutout)
    add_skipping(cutout)
    cutout.add_argument("--model", default=BUNDLED, metavar="NAME|PATH",
                        help="see `vitmatte models`; a released model is downloaded once (default: %(default)s)")
    cutout.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, mps, ...")
    cutout.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    cutout.add_argument("--strategy", choices=STRATEGIES, default="auto",
                        help="exact: every token attends to all; local: within a reach, computed only where the trimap "
                             "is unknown; grid: among every second one; auto: local where the model was made for it, "
                             "else exact (default: %(default)s)")
    cutout.add_argument("--reach", type=int, metavar="TOKENS", help="of local attention (default: the model's own)")
    cutout.add_argument("--refine", type=float, default=0.0, metavar="STRENGTH",
                        help="bring the matte into line with the photograph's colours where the trimap is unknown: "
                             "0 not at all, 1 usual, more follows the colours more (default: %(default)g)")
    cutout.add_argument("--memory-limit", type=float, metavar="MB",
                        help="what a picture's matte may take besides the model and the pictures themselves; less is "
                             "slower, never smaller")
    cutout.add_argument("--normalization", choices=NORMALIZATIONS, default="as_trained",
                        help="as_trained, or hub: as transformers feeds the net (default: %(default)s)")
    return cutout


def _cutout(options: argparse.Namespace) -> int:
    if options.memory_limit is not None:
        check_number("--memory-limit", options.memory_limit, "a number of MB, 0 or more")
    check_strength("--refine", options.refine)
    jobs = jobs_of(options.photo, options.mask or options.trimap, options.output, options.alpha, _others(options))
    marked = trimap_options.marks_of(options, [job.guide for job in jobs]) if options.mask else {}
    backdrop = _backdrop(options.background)
    check_results(jobs, lambda job: _check_cutout(job, transparent=backdrop is None), check_matte_name)
    if options.skip_existing and not (jobs := without_existing(jobs)):
        return 0
    model = load_model(options.model, device=_device(options.device), dtype=PRECISIONS[options.precision],
                       normalization=options.normalization, folder=options.models_folder)

    def work(job: Job) -> None:
        with warnings_of(job.photo):
            photo = read_photograph(job.photo)
        with warnings_of(job.guide):
            if options.mask:
                trimap = trimap_options.trimap_of(options, job.guide, photo.image, marked[job.guide])
            else:
                trimap = read_trimap(job.guide)
                if bool(trimap.min() == trimap.max()) and float(trimap.min()) in (0.0, 1.0):
                    log.warning("no unknown area: all of it is one value, and the matte will be that")
        with warnings_of(job.photo):
            _one_cutout(job, model, photo, trimap, backdrop, options)

    return run_jobs(jobs, work, "cutout")


def _one_cutout(job: Job, model: MattingModel, photo: Photograph, trimap: Tensor, backdrop: Photograph | None,
                options: argparse.Namespace) -> None:
    limit = None if options.memory_limit is None else int(options.memory_limit * MEBI)
    size, given = photo.image.shape[1:3], trimap.shape[1:]
    if options.mask and size != given:
        raise ValueError(f"{job.photo} with {job.guide}: {unequal('the photograph', size, 'the mask', given, trimap)}")
    try:
        with tqdm(total=1, desc=job.photo.name, bar_format="{l_bar}{bar}", leave=False, disable=None) as bar:
            def show(done: int, steps: int) -> None:
                bar.update(done / steps - bar.n)

            alpha = matte(model, photo.image, trimap, strategy=options.strategy, reach=options.reach,
                          memory_limit=limit, refine=options.refine, on_progress=show)
    except MemoryLimitError as error:
        raise ValueError(f"{job.photo}: --memory-limit is {options.memory_limit:g} MB; its matte takes at least "
                         f"{-(-error.least // MEBI)} MB with this model and precision") from error
    except ValueError as error:
        raise ValueError(f"{job.photo} with {job.guide}: {error}") from error
    estimate = options.colours == "estimated"
    if backdrop is None:
        result = cut_out(photo.image, alpha, estimate=estimate, despill=options.despill)
    else:
        behind = converted(backdrop.image, backdrop.profile, photo.profile)  # to the space of what is written
        result = replace_background(photo.image, alpha, behind, fit=options.fit, linear=options.linear,
                                    estimate=estimate, despill=options.despill)
    write_image(job.output, result[0], profile=photo.profile, metadata=photo.metadata)
    print(job.output, flush=True)
    if job.alpha is not None:
        write_matte(job.alpha, alpha[0])
        print(job.alpha, flush=True)


def _others(options: argparse.Namespace) -> list[Path]:
    """What a cut-out is made of besides photograph, and mask or trimap."""
    background = [Path(options.background)] if options.background and Path(options.background).is_file() else []
    return background + trimap_options.given_marks(options)


def _check_cutout(job: Job, *, transparent: bool) -> None:
    """Raises ValueError unless the format of its name can hold a cut-out of the photograph's size."""
    size = read_size(job.photo) if has_max_side(job.output) else None
    check_image_name(job.output, transparent=transparent, size=size)


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
    return read_photograph(given)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        float(torch.zeros(1, device=name))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return torch.device(name)
