"""The command line: cutout, trimap, models, download, export, evaluate, train.

Written files are listed on standard output, one a line; progress and errors go to standard error. Exit status: 0
done, 1 something failed (the message says what), 2 wrong arguments, 130 interrupted, 143 terminated, 141 nobody reads
the output any more (quietly, as other tools end then). However it ends, what was finished is whole and nothing else is
left behind; `--skip-existing` goes on with the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

import torch
from torch import Tensor

from ..checks import check_number
from ..colour_profiles import converted
from ..compositing.blend import FITS, SCREENS, colour
from ..compositing.cutout import cut_out, replace_background
from ..image_files import Photograph, read_photograph, read_size, read_trimap
from ..inference.context import PRECISIONS
from ..inference.matting import STRATEGIES, matte
from ..inference.model import NORMALIZATIONS, MattingModel, load_model
from ..picture_metadata import Metadata
from ..picture_writing import (
    check_image_name,
    check_matte_name,
    check_trimap_name,
    has_max_side,
    write_image,
    write_matte,
    write_trimap,
)
from ..weights import download as hub
from ..weights.released import BUNDLED, RELEASED, default_folder, on_disk
from . import evaluate, export, trimap_options
from . import train as training_command
from .batch import Job, check_results, jobs_of, run_jobs, without_existing
from .signals import BROKEN_PIPE, Terminated, forget_output, signals_raise
from .told import warnings_of

COLOURS = ("estimated", "picture")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    try:
        try:
            return _command(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        forget_output()
        return BROKEN_PIPE
    except OSError as error:  # such as a full disk below the output
        print(f"vitmatte: {error}", file=sys.stderr)
        forget_output()
        return 1


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    _print_any_name()
    try:
        with signals_raise():
            return options.run(options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        print(f"vitmatte: {error or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vitmatte: interrupted", file=sys.stderr)
        return 130
    except Terminated as end:
        print("vitmatte: terminated", file=sys.stderr)
        return end.status


def _print_any_name() -> None:
    """Lets standard output take the names of files that its encoding has no letters for, as pipes on Windows often."""
    if isinstance(sys.stdout, TextIOWrapper):
        unicode = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if unicode else "backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitmatte", description="Alpha mattes and cut-outs with ViTMatte.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    cutout = commands.add_parser("cutout", help="cut a subject out of a photograph, or of a folder of them")
    cutout.set_defaults(run=_cutout)
    cutout.add_argument("photo", type=Path, metavar="PHOTO", help="a picture, or a folder of pictures")
    given = cutout.add_mutually_exclusive_group(required=True)
    given.add_argument("--mask", type=Path, help="rough mask, white = subject (a folder: files of the photos' names)")
    given.add_argument("--trimap", type=Path, help="trimap: black, grey = unknown, white (or a folder)")
    cutout.add_argument("-o", "--output", type=Path, required=True, help="the cut-out, with transparency (or a folder)")
    cutout.add_argument("--alpha", type=Path, help="also write the matte, 16-bit grey PNG (or a folder)")
    cutout.add_argument("--background", metavar="FILE|#RRGGBB",
                        help="composite on a picture or a colour instead of transparency")
    cutout.add_argument("--fit", choices=FITS, default="cover",
                        help="how a background of another size is used (default: %(default)s; contain: on black)")
    cutout.add_argument("--linear", action="store_true", help="composite light, as a camera does, not sRGB values")
    cutout.add_argument("--colours", choices=COLOURS, default="estimated",
                        help="estimated: free hair and edges of the old background's colour; picture: leave the "
                             "photograph's (default: %(default)s)")
    cutout.add_argument("--despill", choices=SCREENS, default="none",
                        help="take a green or blue screen's light from the subject (default: %(default)s)")
    trimap_options.add(cutout)
    _add_skipping(cutout)
    cutout.add_argument("--model", default=BUNDLED, metavar="NAME|PATH",
                        help="see `vitmatte models`; a released model is downloaded once (default: %(default)s)")
    cutout.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu, cuda, mps, ...")
    cutout.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    cutout.add_argument("--strategy", choices=STRATEGIES, default="exact",
                        help="exact, or grid: faster above 2K, less accurate (default: %(default)s)")
    cutout.add_argument("--memory-limit", type=float, metavar="MB",
                        help="what a picture's matte may take besides the model; less is slower, never smaller")
    cutout.add_argument("--normalization", choices=NORMALIZATIONS, default="as_trained",
                        help="as_trained, or hub: as transformers feeds the net (default: %(default)s)")

    trimap = commands.add_parser("trimap", help="make a trimap from a rough mask")
    trimap.set_defaults(run=_trimap)
    trimap.add_argument("mask", type=Path, metavar="MASK", help="white = subject; or a folder of masks")
    trimap.add_argument("-o", "--output", type=Path, required=True, help="the trimap, a PNG (or a folder)")
    trimap.add_argument("--photo", type=Path, help="for strands: the photograph (or a folder: files of the same names)")
    trimap_options.add(trimap)
    _add_skipping(trimap)

    models = commands.add_parser("models", help="what is bundled, on disk, and can be downloaded")
    models.set_defaults(run=_models)
    download = commands.add_parser("download", help="fetch a released model")
    download.set_defaults(run=_download)
    download.add_argument("name", metavar="NAME", choices=list(RELEASED), help="one of: " + ", ".join(RELEASED))
    training_command.register(commands)
    evaluate.register(commands)
    for command in (models, download, cutout, export.register(commands)):
        command.add_argument("--models-folder", type=Path, default=default_folder(),
                             help="where released models are kept (default: $VITMATTE_HOME or ~/.cache/vitmatte)")
    return parser


def _add_skipping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-existing", action="store_true",
                        help="leave out pictures whose results are there already, to go on after a run that was "
                             "stopped; whether they were made with the same options is not looked at")


def _cutout(options: argparse.Namespace) -> int:
    if options.memory_limit is not None:
        check_number("--memory-limit", options.memory_limit, "a number of MB, 0 or more")
    jobs = jobs_of(options.photo, options.mask or options.trimap, options.output, options.alpha, _others(options))
    marked = trimap_options.marks_of(options, [job.guide for job in jobs]) if options.mask else {}
    backdrop = _backdrop(options.background)
    check_results(jobs, lambda job: _check_cutout(job, transparent=backdrop is None), check_matte_name)
    if options.skip_existing and not (jobs := without_existing(jobs)):
        return 0
    model = load_model(options.model, device=_device(options.device), dtype=PRECISIONS[options.precision],
                       normalization=options.normalization, folder=options.models_folder)

    def work(job: Job) -> None:
        with warnings_of(job.guide):
            if options.mask:
                trimap = trimap_options.trimap_of(options, job.guide, job.photo, marked[job.guide])
            else:
                trimap = read_trimap(job.guide)
        with warnings_of(job.photo):
            _one_cutout(job, model, trimap, backdrop, options)

    return run_jobs(jobs, work, "cutout")


def _one_cutout(job: Job, model: MattingModel, trimap: Tensor, backdrop: Photograph | None,
                options: argparse.Namespace) -> None:
    photo = read_photograph(job.photo)
    limit = None if options.memory_limit is None else int(options.memory_limit * 2**20)
    try:
        alpha = matte(model, photo.image, trimap, strategy=options.strategy, memory_limit=limit)
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
    if given.startswith("#") and not Path(given).exists():
        return Photograph(colour(given), None, Metadata())
    return read_photograph(given)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        float(torch.zeros(1, device=name))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return torch.device(name)


def _trimap(options: argparse.Namespace) -> int:
    if options.strands > 0 and options.photo is None:
        raise ValueError("--strands needs the photograph: give --photo")

    # The masks are what there is one of for each job; photographs are their guides.
    jobs = jobs_of(options.mask, options.photo or options.mask, options.output, None,
                   trimap_options.given_marks(options))
    marked = trimap_options.marks_of(options, [job.photo for job in jobs])
    check_results(jobs, lambda job: check_trimap_name(job.output), check_matte_name)

    def work(job: Job) -> None:
        with warnings_of(job.photo):
            write_trimap(job.output, trimap_options.trimap_of(options, job.photo, job.guide, marked[job.photo])[0])
        print(job.output, flush=True)

    return run_jobs(without_existing(jobs) if options.skip_existing else jobs, work, "trimap")


def _models(options: argparse.Namespace) -> int:
    print(f"{BUNDLED:34} bundled       small and quick, trained by this project")
    for model in RELEASED.values():
        place = on_disk(model.name, options.models_folder)
        state = "on disk" if place else "downloadable"
        print(f"{model.name:34} {state:13} SAD / MSE {model.accuracy}; {model.licence}")
    print(f"Downloads are kept in {options.models_folder}.")
    return 0


def _download(options: argparse.Namespace) -> int:
    model = RELEASED[options.name]
    print(f"{model.name}: {model.licence}.", file=sys.stderr)
    print(on_disk(model.name, options.models_folder) or hub.download(model.name, options.models_folder))
    return 0
