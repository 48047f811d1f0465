"""The command `vitmatte video`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from os.path import realpath
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from ..compositing.blend import colour
from ..inference.matting import matte
from ..inference.model import MattingModel
from ..inference.planning import MemoryLimitError
from ..pictures.numbers import frame_range
from ..pictures.profiles import converted
from ..pictures.reading import read_photograph, suffixes, tell_clipped
from ..shots.cutout import too_little
from ..steps import STEPS, Step
from ..video.backdrop import Look, MovingBackground
from ..video.carry import Carry
from ..video.clip import Report, matte_clip
from ..video.masks import Masks, check_first, masks_of
from ..video.read import Clip
from ..video.sequence import is_pattern
from ..video.source import open_clip
from ..video.steady import Steady
from ..video.write import Kind, Target, is_done, writers
from . import frame_options, look_options, model_options, trimap_options
from .told import tell, warnings_of

WARM_UP = 8  # frames that are computed again before those that lack, so that steady mattes find what came before them
NOISY_MASK = "give --low 0.1 --high 0.9, or a mask that was written without losses"


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    video = commands.add_parser("video", help="cut a subject out of a clip, frame by frame, with edges that hold still")
    video.set_defaults(run=_video)
    video.add_argument("clip", type=Path, metavar="CLIP",
                       help="a video, a folder of pictures, or a pattern of them such as shot.####.png")
    given = video.add_mutually_exclusive_group(required=True)
    given.add_argument("--mask", type=Path, help="rough masks, white = subject: a picture for all frames, a folder or "
                                                 "pattern, or a video")
    given.add_argument("--trimap", type=Path, help="trimaps: black, grey = unknown, white; likewise")
    video.add_argument("--carry", action="store_true",
                       help="masks are of some frames, a single one of the first: the others' are carried on by motion")
    video.add_argument("-o", "--output", type=Path, metavar="OUT",
                       help="the cut-out with transparency: .mov (ProRes 4444), .webm (VP9), .mkv (FFV1, 16 bits), a "
                            "pattern such as cut.####.png or cut.####.exr, or a folder (PNG, 16 bits); on a background "
                            "also .mp4 (H.264)")
    video.add_argument("--alpha", type=Path, metavar="OUT", help="also write the matte, likewise")
    video.add_argument("--fill", type=Path, metavar="OUT",
                       help="also write the subject's colours without transparency, to go beside the matte")
    video.add_argument("--frames", metavar="A-B", help="numbers of the first and last frame (default: all)")
    video.add_argument("--overlap", type=int, default=0, metavar="N",
                       help="for pictures: with --frames, also read N frames before and after and write nothing of "
                            "them, so that steady mattes of parts meet (default: %(default)s)")
    video.add_argument("--first-number", type=int, metavar="N", help="of a video's very first frame (default: 1)")
    video.add_argument("--rate", metavar="R", help="frames per second of pictures, such as 25 or 30000/1001 "
                                                   "(default: 24)")
    video.add_argument("--no-sound", action="store_true", help="leave the clip's sound out")
    video.add_argument("--steady", type=float, default=0.0, metavar="S",
                       help="0 to 1: how much neighbouring mattes, moved by motion, hold each other still "
                            "(default: %(default)g, off)")
    video.add_argument("--background", metavar="FILE|COLOUR",
                       help="composite on a colour, a picture, or a clip that runs along, instead of transparency")
    look_options.add(video, "clip")
    video.add_argument("--straight", action="store_true",
                       help="OpenEXR with straight alpha (default: premultiplied; other formats are straight)")
    video.add_argument("--float", action="store_true", help="OpenEXR with 32 bits a channel (default: half, 16)")
    trimap_options.add(video)
    video.add_argument("--skip-existing", action="store_true",
                       help="for pictures: leave out frames whose results are there already, to go on after a run that "
                            "was stopped; whether they were made with the same options is not looked at")
    model_options.add(video, refine=0.0)
    return video


def _video(options: argparse.Namespace) -> int:
    model_options.check(options)
    with warnings_of(options.clip, once=True):
        steady = Steady(options.steady)
        clip = open_clip(options.clip, frames=frame_options.frames_of(options),
                         rate=frame_options.rate_of(options), first_number=options.first_number)
        targets = _targets(options)
        _check_names(targets, options)
        for target in targets:
            target.check(clip)
        masks = masks_of(options.mask or options.trimap, clip, trimaps=options.mask is None, carried=options.carry,
                         remedy=NOISY_MASK)
        marks = _marks(options, clip)
        carry = _carry(masks, clip) if options.carry else None
        look = _look(options, clip)
        skip, done = _finished(options, targets, clip, masks)
        if skip == clip.count:
            return 0
        model = model_options.loaded(options)
        with writers(targets, clip, sound=not options.no_sound) as found, \
                tqdm(total=clip.count, desc="video", unit="frame", disable=None) as bar:
            def show(part: int, _: int) -> None:
                bar.update(part / STEPS - bar.n)

            report = matte_clip(
                clip, masks, list(zip(targets, found, strict=True)), trimap_of=_trimaps(options, clip, marks),
                matte=_mattes(options, model), look=look, steady=steady if options.steady else None, carry=carry,
                device=model.net.device, skip=skip, is_done=done, on_progress=show)
    for target in targets:
        print(target.path, flush=True)
    tell(_summary(report))
    return 0


def _targets(options: argparse.Namespace) -> list[Target]:
    """What is to be written; ValueError if nothing is."""
    opaque = options.background is not None
    wanted: tuple[tuple[Path | None, Kind, int], ...] = (
        (options.output, "cutout", 3 if opaque else 4), (options.fill, "fill", 3), (options.alpha, "matte", 1))
    found = [Target(path, kind, channels, half=not options.float, premultiplied=not options.straight)
             for path, kind, channels in wanted if path is not None]
    if not found:
        raise ValueError("nothing is to be written; give --output for the cut-out, --alpha for the matte, or --fill")
    if opaque and options.output is None:
        raise ValueError("--background is for --output, which is not given")
    return found


def _check_names(targets: list[Target], options: argparse.Namespace) -> None:
    """Raises ValueError for results that would take the place of each other, or of what they are made from."""
    given = [options.clip, options.mask or options.trimap, *trimap_options.given_marks(options).values()]
    if options.background is not None and Path(options.background).exists():
        given.append(Path(options.background))
    taken, written = {Path(realpath(path)) for path in given}, set()
    for target in targets:
        path = Path(realpath(target.path))
        if path in taken or (is_pattern(path) and path.parent in taken):
            raise ValueError(f"{target.path} is among what is given; its result needs another name or folder")
        if path in written:
            raise ValueError(f"{target.path} is named for two results; expected a name for each")
        written.add(path)
    for name in ("straight", "float"):
        if getattr(options, name) and not any(target.suffix == ".exr" for target in targets):
            raise ValueError(f"--{name} is for OpenEXR, and no result is; name one such as cut.####.exr")


def _carry(masks: Masks, clip: Clip) -> Carry:
    check_first(masks, clip)
    return Carry()


def _marks(options: argparse.Namespace, clip: Clip) -> dict[str, Masks]:
    """The masks of marks, by the name of what they mark."""
    trimap_options.mask_options(options)
    given = trimap_options.given_marks(options)
    if options.mask is None and given:
        raise ValueError("marks are for --mask; a trimap says by itself what is known")
    return {name: masks_of(path, clip) for name, path in given.items()}


def _trimaps(options: argparse.Namespace, clip: Clip, marks: dict[str, Masks]) -> Callable[..., Tensor]:
    """Masks to trimaps, as the options say."""
    how = trimap_options.mask_options(options)

    def made(mask: Tensor, image: Tensor, name: str, index: int) -> Tensor:
        if options.mask is None:
            return mask
        marked = {kind: found[0].to(mask.device)[None] for kind, plane in marks.items()
                  if (found := plane.at(index)) is not None}
        return how.trimap(mask[None], image[None], marked, name)[0]

    return made


def _mattes(options: argparse.Namespace, model: MattingModel) -> Callable[[Tensor, Tensor, Step], Tensor]:
    how = model_options.of_matte(options)

    def computed(image: Tensor, trimap: Tensor, step: Step) -> Tensor:
        try:
            return matte(model, image[None], trimap, **how, on_progress=lambda done, total: step(done / total))[0]
        except MemoryLimitError as error:
            raise too_little(options.memory_limit, str(options.clip), error) from error

    return computed


def _look(options: argparse.Namespace, clip: Clip) -> Look:
    behind: Tensor | MovingBackground | None = None
    given = options.background
    if given is not None:
        path = Path(given)
        if path.is_file() and path.suffix.lower() in suffixes():
            photo = read_photograph(path)
            if photo.is_light:
                tell_clipped(path, photo.image)
            behind = converted(photo.seen, photo.profile, clip.profile)
        elif path.exists() or (is_pattern(path) and not given.startswith("#")):
            behind = MovingBackground(open_clip(path, rate=clip.rate if path.is_dir() or is_pattern(path) else None),
                                      clip.profile)
        else:
            behind = converted(colour(given), None, clip.profile)
    return Look(options.colours == "estimated", options.despill, behind, options.fit, linear=options.linear)


def _finished(options: argparse.Namespace, targets: list[Target], clip: Clip, masks: Masks) -> tuple[
        int, Callable[[int], bool] | None]:
    """(how many of the first frames need not be computed, whether a frame's results are there)."""
    if not options.skip_existing and not options.overlap:
        return 0, None
    if any(target.is_video for target in targets):
        raise ValueError(f"--{'skip-existing' if options.skip_existing else 'overlap'} is for pictures; a video is "
                         "written whole or not at all")
    first, last = frame_range(options.frames) if options.overlap else (clip.numbers[0], clip.numbers[-1])
    wanted = [first <= number <= last for number in clip.numbers]
    if not options.skip_existing:
        return 0, lambda i: not wanted[i]
    there = [not wanted[i] or is_done(targets, (clip.numbers[i], clip.name_of(i))) for i in range(clip.count)]
    if done := sum(there) - wanted.count(False):
        tell(f"{done} of {sum(wanted)} frames are done already")
    first = there.index(False) if False in there else clip.count
    if first < clip.count:
        if options.steady:
            first = max(0, first - max(WARM_UP, options.overlap))
        if options.carry:
            first = max(i for i in range(first + 1) if i in masks.has)
    return first, there.__getitem__


def _summary(report: Report) -> str:
    total = sum(report.seconds.values())
    parts = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in report.seconds.items())
    count = "1 frame" if report.written == 1 else f"{report.written} frames"
    whole = f"{count}, {report.frames / total:.2f} a second ({parts})"
    return "; ".join([whole, *report.said()])
