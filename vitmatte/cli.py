"""The command line: cutout, trimap, models, download.

Written files are listed on standard output, one a line; progress and errors go to standard error. Exit status: 0
done, 1 something failed (the message says what), 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from . import evaluate, hub, image_files, trimap_options
from .compositing import FITS, SCREENS, colour
from .cutout import cut_out, replace_background
from .execution import PRECISIONS
from .inference import NORMALIZATIONS, STRATEGIES, MattingModel, load_model, matte
from .models import BUNDLED, RELEASED, default_folder, on_disk
from .training import command as training_command

COLOURS = ("estimated", "picture")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    _print_any_name()
    try:
        return options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"vitmatte: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vitmatte: interrupted", file=sys.stderr)
        return 130


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

    models = commands.add_parser("models", help="what is bundled, on disk, and can be downloaded")
    models.set_defaults(run=_models)
    download = commands.add_parser("download", help="fetch a released model")
    download.set_defaults(run=_download)
    download.add_argument("name", metavar="NAME", choices=list(RELEASED), help="one of: " + ", ".join(RELEASED))
    training_command.register(commands)
    evaluate.register(commands)
    for command in (models, download, cutout):
        command.add_argument("--models-folder", type=Path, default=default_folder(),
                             help="where released models are kept (default: $VITMATTE_HOME or ~/.cache/vitmatte)")
    return parser


@dataclass(frozen=True)
class Job:
    """One picture's files."""

    photo: Path
    guide: Path
    output: Path
    alpha: Path | None


def _jobs(photo: Path, guide: Path, output: Path, alpha: Path | None, suffix: str) -> list[Job]:
    """One job for a file, or one for each picture of a folder, whose guide has the same name up to the suffix.

    Raises:
        FileNotFoundError, ValueError: nothing there, or a picture without its guide; before any work is done.
    """
    if not photo.is_dir():
        if not photo.is_file():
            raise FileNotFoundError(f"no picture {photo}")
        return [Job(photo, guide, output, alpha)]
    for folder in (guide, output, alpha):
        if folder is not None and folder.is_file():
            raise ValueError(f"{photo} is a folder, but {folder} is a file; give folders for all, or files for all")
    if not guide.is_dir():
        raise FileNotFoundError(f"no folder {guide} (because {photo} is a folder)")
    photos, guides = image_files.pictures_in(photo), {path.stem: path for path in image_files.pictures_in(guide)}
    if not photos:
        raise FileNotFoundError(f"no pictures in {photo}; looked for {', '.join(image_files.SUFFIXES)}")
    lacking = [path.name for path in photos if path.stem not in guides]
    if lacking:
        raise FileNotFoundError(f"nothing in {guide} for {len(lacking)} of {len(photos)} pictures of {photo}: "
                                f"{', '.join(lacking[:5])}; expected files of the same name, any suffix")
    stems = [path.stem for path in photos]
    twice = sorted({path.name for path in photos if stems.count(path.stem) > 1})
    if twice:
        raise ValueError(f"{photo} has pictures whose results would have one name: {', '.join(twice[:6])}")
    return [Job(p, guides[p.stem], output / f"{p.stem}{suffix}", alpha and alpha / f"{p.stem}.png") for p in photos]


def _run(jobs: list[Job], work: Callable[[Job], None], name: str) -> int:
    """Does the jobs, with a progress bar on a terminal; one that fails does not keep the others from being done.

    Returns:
        The exit status: 1 when any failed.
    """
    failed = 0
    for job in tqdm(jobs, desc=name, unit="picture", disable=None if len(jobs) > 1 else True):
        try:
            work(job)
        except (ValueError, OSError) as error:
            print(f"vitmatte: {error}", file=sys.stderr)
            failed += 1
    if failed and len(jobs) > 1:
        print(f"vitmatte: {failed} of {len(jobs)} pictures failed", file=sys.stderr)
    return 1 if failed else 0


def _cutout(options: argparse.Namespace) -> int:
    jobs = _jobs(options.photo, options.mask or options.trimap, options.output, options.alpha, ".png")
    backdrop = _backdrop(options.background)
    for job in jobs:
        image_files.check_name(job.output, transparent=backdrop is None)
    model = load_model(options.model, device=_device(options.device), dtype=PRECISIONS[options.precision],
                       normalization=options.normalization, folder=options.models_folder)
    def work(job: Job) -> None:
        if options.mask:
            trimap = trimap_options.trimap_of(options, job.guide, job.photo)
        else:
            trimap = image_files.read_mask(job.guide)
        _one_cutout(job, model, trimap, backdrop, options)

    return _run(jobs, work, "cutout")


def _one_cutout(job: Job, model: MattingModel, trimap: Tensor, backdrop: Tensor | None,
                options: argparse.Namespace) -> None:
    image = image_files.read_image(job.photo)
    limit = None if options.memory_limit is None else int(options.memory_limit * 2**20)
    try:
        alpha = matte(model, image, trimap, strategy=options.strategy, memory_limit=limit)
    except ValueError as error:
        raise ValueError(f"{job.photo} with {job.guide}: {error}") from error
    estimate = options.colours == "estimated"
    if backdrop is None:
        result = cut_out(image, alpha, estimate=estimate, despill=options.despill)
    else:
        result = replace_background(image, alpha, backdrop, fit=options.fit, linear=options.linear, estimate=estimate,
                                    despill=options.despill)
    image_files.write_image(job.output, result[0], profile=image_files.read_profile(job.photo))
    print(job.output)
    if job.alpha is not None:
        image_files.write_matte(job.alpha, alpha[0])
        print(job.alpha)


def _backdrop(given: str | None) -> Tensor | None:
    """The background: [3] for a colour, [1, H, W, 3] for a picture."""
    if given is None:
        return None
    return colour(given) if given.startswith("#") and not Path(given).exists() else image_files.read_image(given)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return torch.device(name)


def _trimap(options: argparse.Namespace) -> int:
    if options.strands > 0 and options.photo is None:
        raise ValueError("--strands needs the photograph: give --photo")

    def work(job: Job) -> None:
        image_files.write_trimap(job.output, trimap_options.trimap_of(options, job.photo, job.guide)[0])
        print(job.output)

    # The masks are what there is one of for each job; photographs are their guides.
    return _run(_jobs(options.mask, options.photo or options.mask, options.output, None, ".png"), work, "trimap")


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
