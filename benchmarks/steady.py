"""Steady mattes on made clips: flicker and errors of each frame for itself, steady, and of two naive filters; a strip
over time; carrying one mask; and the share of time.

    python -m benchmarks.steady clips --data DIR [--cache DIR] [--strength 0.8] [--ahead 2] [--strip FILE]
    python -m benchmarks.steady carry --data DIR [--cache DIR] [--frames 24] [--sizes 480x360] [--only CLIP ...]
    python -m benchmarks.steady time --data DIR [--sizes 1280x720 1920x1080]

DIR holds pictures with an index.csv (columns file, kind, split). The masks flicker by about two pixels, anew in each
frame. The naive filters are an exponential mean over time (0.6 of the past) and the median of three frames; both leave
known pixels alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitmatte import load_model, make_trimap, matte
from vitmatte.evaluation.temporal import Clip as Judge
from vitmatte.pictures import writing
from vitmatte.video.carry import Carry, LostError
from vitmatte.video.field import Flow
from vitmatte.video.steady import AHEAD, Steady

from .clips import SCENES, make_clip
from .made import Case, cases
from .measure import machine

PAST = 0.6  # of the exponential mean
Figures = tuple[float, float, float, float]  # dtSSD, MESSDdt, SAD in thousands a frame, MSE


def figures(case: Case, mattes: Tensor) -> Figures:
    """Of mattes [T, H, W], in the unknown areas, with the true motion."""
    judge, areas = Judge(), case.trimaps == 0.5
    for i, (found, true, area) in enumerate(zip(mattes, case.clip.alpha, areas, strict=True)):
        judge.push(found.numpy(), true.numpy(), area.numpy(), case.clip.motion[i - 1].numpy() if i else None)
    off, flicker = (mattes - case.clip.alpha)[areas].double(), judge.flicker()
    assert flicker.messddt is not None
    return flicker.dtssd, flicker.messddt, float(off.abs().sum()) / 1000 / len(mattes), float(off.square().mean())


def steady(case: Case, strength: float, ahead: int, motion: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """[T, H, W]; known pixels are asserted to stay."""
    job, found = Steady(strength, ahead=ahead, motion=motion), []
    for image, alpha, trimap in zip(case.clip.images, case.mattes, case.trimaps, strict=True):
        found += job.push(image, alpha, trimap)
    mattes = torch.stack([frame.alpha for frame in found + job.finish()])
    known = case.trimaps != 0.5
    assert torch.equal(mattes[known], case.mattes[known])
    return mattes


def true_motion(case: Case) -> Callable[[Tensor, Tensor], Tensor]:
    """The clip's motion as `Steady` asks for it: from each frame to the one before, then back."""
    pairs = [way for motion in case.clip.motion for way in (inverse(motion), motion)]
    following = iter(pairs)
    return lambda first, second: next(following)


def inverse(motion: Tensor) -> Tensor:
    """[H, W, 2]: the motion from the second frame to the first."""
    y, x = (torch.arange(side, dtype=torch.float32) for side in motion.shape[:2])
    x, y = torch.broadcast_tensors(x[None, :], y[:, None])
    flow, found = Flow.of(motion), -motion
    for _ in range(20):
        found = -torch.stack(flow.at(x + found[..., 0], y + found[..., 1]), -1)
    return found


def exponential(case: Case) -> Tensor:
    """A mean over time without motion."""
    found = [case.mattes[0]]
    for own, trimap in zip(case.mattes[1:], case.trimaps[1:], strict=True):
        found.append(torch.where(trimap == 0.5, PAST * found[-1] + (1 - PAST) * own, own))
    return torch.stack(found)


def median(case: Case) -> Tensor:
    """The median of a frame and its neighbours."""
    around = torch.cat([case.mattes[:1], case.mattes, case.mattes[-1:]])
    three = torch.stack([around[:-2], around[1:-1], around[2:]]).median(0).values
    return torch.where(case.trimaps == 0.5, three, case.mattes)


def compare(made: list[Case], strength: float, ahead: int) -> str:
    """A table in Markdown."""
    methods: dict[str, Callable[[Case], Tensor]] = {
        "per frame": lambda case: case.mattes,
        f"steady {strength:g}": lambda case: steady(case, strength, ahead),
        "exponential": exponential,
        "median of 3": median,
        "steady, true motion": lambda case: steady(case, strength, ahead, true_motion(case)),
    }
    names = ("dtSSD", "MESSDdt", "SAD", "MSE")
    lines = ["| clip | " + " | ".join(f"{m}: {' / '.join(names)}" for m in methods) + " |",
             "|---|" + "---:|" * len(methods)]
    everything: dict[str, list[Figures]] = {name: [] for name in methods}
    for case in made:
        for name, method in methods.items():
            everything[name].append(figures(case, method(case)))
        lines.append(f"| {case.name} | " + " | ".join(shown(found[-1]) for found in everything.values()) + " |")
    means = {name: tuple(float(x) for x in np.mean(found, 0)) for name, found in everything.items()}
    lines.append("| mean | " + " | ".join(shown(found) for found in means.values()) + " |")  # type: ignore[arg-type]
    base = np.array(everything["per frame"])
    for label, ratio in (("mean ratio to per frame", lambda found: (np.array(found) / base).mean(0)),
                         ("ratio of the means", lambda found: np.mean(found, 0) / base.mean(0))):
        lines.append(f"| {label} | " + " | ".join(
            " / ".join(f"{x:.2f}" for x in ratio(found)) for found in everything.values()) + " |")
    return "\n".join(lines)


def shown(found: Figures) -> str:
    return f"{found[0]:.3f} / {found[1]:.4f} / {found[2]:.2f} / {found[3]:.4f}"


def cut(made: list[Case], strength: float, ahead: int) -> str:
    """Whether clips one after the other give what they give alone, to the bit."""
    total = Steady(strength, ahead=ahead)
    found, told = [], 0
    for case in made:
        for image, alpha, trimap in zip(case.clip.images, case.mattes, case.trimaps, strict=True):
            found += total.push(image, alpha, trimap)
    found += total.finish()
    alone = torch.cat([steady(case, strength, ahead) for case in made])
    told = sum(frame.cut for frame in found)
    differ = sum(not torch.equal(one.alpha, other) for one, other in zip(found, alone, strict=True))
    return f"{len(made)} clips one after the other: {told} of {len(made) - 1} cuts found; {differ} of {len(found)} " \
           "mattes differ from those of the clips alone"


def strip(case: Case, strength: float, ahead: int, path: Path) -> None:
    """One column of each frame's matte beside the next frame's (y-t slice): per frame, steady, true; three times as
    large, the column where mattes change most."""
    change = (case.mattes[1:] - case.mattes[:-1]).abs().sum((0, 1))
    column = int(change.argmax())
    slices = [mattes[:, :, column].T for mattes in (case.mattes, steady(case, strength, ahead), case.clip.alpha)]
    large = [piece.repeat_interleave(8, 1).repeat_interleave(3, 0) for piece in slices]
    gap = torch.ones(large[0].shape[0], 8)
    joined = torch.cat([large[0], gap, large[1], gap, large[2]], 1)
    writing.write_image(path, joined[..., None].expand(-1, -1, 3).contiguous())


def carried(made: Iterable[Case], most_lost: float) -> None:
    """Prints a table in Markdown: one mask on the first frame, against a mask for each."""
    model = load_model("vitmatte-tiny")
    print("| clip | held | lost at most | known and wrong, carried | own masks | SAD, carried | own masks |\n"
          "|---|---:|---:|---:|---:|---:|---:|")
    for case in made:
        job, lost, rows, said = Carry(most_lost=most_lost), [], [], ""
        job.start(case.clip.images[0], case.mattes[0], case.trimaps[0])
        for i in range(1, len(case.mattes)):
            try:
                made_trimap = job.trimap(case.clip.images[i])
            except LostError as error:
                said = f" ({error.lost:.2f})"
                break
            alpha = matte(model, case.clip.images[i:i + 1], made_trimap.trimap, refine=0)[0]
            job.go_on(alpha)
            lost.append(made_trimap.lost)
            true = case.clip.alpha[i]
            rows.append([float(((t != 0.5) & ((t - true).abs() > 0.1)).sum()) for t in
                         (made_trimap.trimap, case.trimaps[i])]
                        + [float((a - true).abs().sum()) / 1000 for a in (alpha, case.mattes[i])])
        means = np.mean(rows, 0) if rows else [float("nan")] * 4
        print(f"| {case.name} | {len(rows)} of {len(case.mattes) - 1}{said} | {max(lost, default=0):.2f} | "
              f"{means[0]:.0f} | {means[1]:.0f} | {means[2]:.2f} | {means[3]:.2f} |", flush=True)


def share_of_time(size: tuple[int, int], data: Path, frames: int = 5) -> str:
    """The net's time and that of motion and blending, for a frame of (width, height); processor time, one thread."""
    scene = SCENES[0]
    clip = make_clip(scene, data, frames=frames, size=(size[1], size[0]))
    trimaps = make_trimap(clip.masks, inner=10, outer=20)
    model, job, taken = load_model("vitmatte-tiny"), Steady(0.8), ([], [])  # type: ignore[var-annotated]
    for image, trimap in zip(clip.images, trimaps, strict=True):
        start = time.process_time()
        alpha = matte(model, image[None], trimap, refine=0)[0]
        middle = time.process_time()
        job.push(image, alpha, trimap)
        taken[0].append(middle - start)
        taken[1].append(time.process_time() - middle)
    net, motion = (statistics.median(times[2:]) for times in taken)
    unknown = float((trimaps == 0.5).float().mean())
    return (f"| {size[0]}x{size[1]} | {unknown:.1%} | {net:.2f} | {motion:.2f} | {motion / (net + motion):.1%} |")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("clips", "carry", "time"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--strength", type=float, default=0.8)
    parser.add_argument("--ahead", type=int, default=AHEAD)
    parser.add_argument("--most-lost", type=float, default=0.35)
    parser.add_argument("--strip", type=Path, help="of the clip named by --only: a picture to write")
    parser.add_argument("--only", nargs="*", default=[], metavar="CLIP")
    parser.add_argument("--sizes", nargs="*", help="time: 1280x720 1920x1080; else one, 480x360")
    options = parser.parse_args()
    if options.what == "time":
        torch.set_num_threads(1)
        print(machine("cpu"))
        print("| size | unknown | net, s | motion and blending, s | share |\n|---|---:|---:|---:|---:|")
        for size in options.sizes or ("1280x720", "1920x1080"):
            width, height = map(int, size.split("x"))
            print(share_of_time((width, height), options.data), flush=True)
        return
    width, height = map(int, (options.sizes or ["480x360"])[0].split("x"))
    found = cases(options.data, options.cache, options.frames, (height, width), options.only)
    if options.what == "carry":
        carried(found, options.most_lost)
        return
    made = list(found)
    if options.strip:
        strip(made[0], options.strength, options.ahead, options.strip)
    else:
        print(compare(made, options.strength, options.ahead))
        print(cut(made, options.strength, options.ahead))


if __name__ == "__main__":
    main()
