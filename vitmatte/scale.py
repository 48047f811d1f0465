"""Folders of pictures from Python: in this process, in parts on any farm, or on Ray.

    from vitmatte.scale import Cutout, Pool, run_folder

    done = run_folder("photos", Cutout(refine=1.0), masks="masks", output="cutouts", manifest="record")
    done = run_folder("photos", Cutout(), masks="masks", output="cutouts", pool=Pool(workers=4))

This is what `vitmatte cutout` does with folders, without its words; see docs/scale.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .checks import check_choice
from .files import not_there
from .pictures.formats import BITS
from .shots import on_ray, pipeline
from .shots.cutout import Cutout
from .shots.folder import check_results, jobs_of
from .shots.on_ray import Pool
from .shots.outcome import Outcome
from .shots.pipeline import RunEndedError
from .shots.resume import begun
from .shots.select import Selection
from .shots.trimap import MaskOptions
from .values import is_int

__all__ = ["Cutout", "Done", "MaskOptions", "Outcome", "Pool", "RunEndedError", "Selection", "run_folder"]

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Done:
    """What was done with a folder.

    Args:
        done, failed: pictures.
        there: pictures whose results were there already.
        seconds: that it took.
        net_share: share of them in which the net computed, 0..1; with workers, the mean over them.
    """

    done: int
    failed: int
    there: int
    seconds: float
    net_share: float


def run_folder(
    photos: AnyPath,
    task: Cutout,
    *,
    output: AnyPath,
    masks: AnyPath | None = None,
    trimaps: AnyPath | None = None,
    alpha: AnyPath | None = None,
    format: str | None = None,
    selection: Selection | None = None,
    manifest: AnyPath | None = None,
    skip_existing: bool = False,
    pool: Pool | None = None,
    threads: int | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> Done:
    """Cuts a subject out of each picture of a folder. One that fails does not end the run.

    Args:
        photos: the folder.
        task: how.
        output: the folder of the cut-outs, of the pictures' names.
        masks, trimaps: one of the two: a folder with a file for each picture, of its name up to the suffix.
        alpha: a folder for the mattes.
        format: suffix of what is written, such as "tif"; None: OpenEXR for OpenEXR, and PNG for all else.
        selection: which of the pictures; all of the folder's own without.
        manifest: a folder for the record, see `shots.record`.
        skip_existing: leave out pictures whose results are there, except those that the manifest says were made with
            other options.
        pool: does them on Ray; None: in this process.
        threads: see `shots.pipeline.run`; with a pool, see `Pool`.
        on_outcome: called with what became of each picture, in their order; on Ray, as they come.

    Raises:
        FileNotFoundError, ValueError, OSError: before any work, for what is not there, does not fit together, or cannot
            be written. RunEndedError: a fault that all pictures would meet, such as a full disk. RuntimeError: no Ray.
    """
    if not isinstance(task, Cutout):
        raise ValueError(f"task is {task!r:.60}; expected a Cutout")
    if threads is not None and not (is_int(threads) and threads >= 0):
        raise ValueError(f"threads is {threads!r:.60}; expected a whole number from 0 on")
    if format is not None:
        format = f".{format.lower().removeprefix('.')}"
        check_choice("format", format, BITS)
    if (masks is None) == (trimaps is None):
        raise ValueError("give either masks or trimaps")
    if not Path(photos).is_dir():
        raise not_there(photos)
    guide = masks if masks is not None else trimaps
    assert guide is not None
    task = task if masks is not None else replace(task, mask=None)
    if masks is not None and task.mask is None:
        raise ValueError("task.mask is None, so its guides are trimaps, and masks are given; expected MaskOptions()")
    jobs, _ = jobs_of(Path(photos), Path(guide), Path(output), None if alpha is None else Path(alpha),
                      selection=selection, format=format)
    task.check()
    check_results(jobs, task.check_names)
    counts = {"done": 0, "failed": 0}
    with begun(jobs, task, manifest=None if manifest is None else Path(manifest),
               chunk=selection.chunk if selection else None, skip_existing=skip_existing) as begin:
        def report(outcome: Outcome) -> None:
            counts[outcome.state] += 1
            begin.add(outcome)
            if on_outcome is not None:
                on_outcome(outcome)

        left, busy = begin.left, pipeline.Busy()
        if len(left.jobs):
            busy = (pipeline.run(left.jobs, task.loaded(), report, threads=threads) if pool is None
                    else on_ray.run(left.jobs, task, report, pool))
        begin.finish(busy)
    return Done(counts["done"], counts["failed"], left.there, busy.seconds, busy.share)
