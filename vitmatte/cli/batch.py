"""What the command line does with one picture or a folder of them: which there are, and what is said of each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tqdm import tqdm

from ..pictures.numbers import frame_range
from ..pictures.pairing import listed
from ..shots import folder as shots
from ..shots import on_ray, pipeline
from ..shots.jobs import Job, Jobs
from ..shots.outcome import Outcome, Progress, Task
from ..shots.pipeline import Busy, RunEndedError
from ..shots.resume import Run, begun
from ..shots.select import Selection, parsed_chunk
from .told import tell


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options for folders that `jobs_of` and `run` read."""
    parser.add_argument("--recursive", action="store_true", help="a folder's folders too; results keep their names")
    parser.add_argument("--pattern", action="append", default=[], metavar="GLOB",
                        help="of a folder, the pictures whose names match, such as '*_v2.png' or 'shot1/*' (may be "
                             "given several times)")
    parser.add_argument("--frames", metavar="A-B",
                        help="of a folder, the pictures whose names' last number is from A to B, such as 1001-1100")
    parser.add_argument("--chunk", metavar="K/N",
                        help="the K-th of N parts of the folder's sorted list (after --pattern and --frames), a run of "
                             "neighbours, such as 3/40 in a job array")
    parser.add_argument("--manifest", type=Path, metavar="FOLDER",
                        help="keep a record there: manifest.jsonl, a line for each picture, and failed.csv; each "
                             "--chunk has its own")
    parser.add_argument("--skip-existing", action="store_true",
                        help="leave out pictures whose results are there already, to go on after a run that was "
                             "stopped; with --manifest, those that it says were made with other options are made "
                             "again, and without it, how they were made is not looked at")
    parser.add_argument("--threads", type=int, metavar="N",
                        help="of a folder, how many pictures are read, and as many written, beside the net (default: "
                             "one for each two processors, at most 4; 0: one thing after the other)")


def jobs_of(
    options: argparse.Namespace, photo: Path, guide: Path, output: Path, alpha: Path | None, *,
    marks: Mapping[str, Path], masks_are_photos: bool = False, others: Iterable[Path] = (), format: str | None = None,
) -> Jobs:
    """The jobs, see `shots.jobs.jobs_of`. What of the folder is no picture that is read, is said."""
    if options.threads is not None and options.threads < 0:
        raise ValueError(f"--threads is {options.threads}; expected 0 or more")
    selection = Selection(options.recursive, tuple(options.pattern),
                          None if options.frames is None else frame_range(options.frames),
                          None if options.chunk is None else parsed_chunk(options.chunk))
    jobs, left = shots.jobs_of(photo, guide, output, alpha, marks=marks, masks_are_photos=masks_are_photos,
                               selection=selection, others=others, format=format)
    if left and not options.pattern:
        deeper = "; --recursive takes folders too" if any(name.endswith("/") for name in left) else ""
        tell(f"left out of {photo}, since they are no pictures that are read: {listed(left)}{deeper}")
    return jobs


def run(options: argparse.Namespace, jobs: Jobs, task: Task, name: str, *, pool: on_ray.Pool | None = None) -> int:
    """Does the jobs, with a progress bar on a terminal; one that fails does not keep the others from being done.

    Returns:
        The exit status: 1 when any failed.
    """
    if pool is not None:
        on_ray.check()
    chunk = None if options.chunk is None else parsed_chunk(options.chunk)
    try:
        with begun(jobs, task, manifest=options.manifest, chunk=chunk, skip_existing=options.skip_existing) as begin:
            left = begin.left
            for said in left.said:
                tell(said)
            if left.there:
                tell(f"{left.there} of {len(jobs)} pictures are done already")
            if not len(jobs):
                tell(f"chunk {options.chunk} has none of the pictures")
            if not len(left.jobs):
                begin.finish(Busy())
                return 0
            return _Run(left.jobs, begin, name).done(task, options.threads, pool)
    except RunEndedError:  # which is said already
        return 1


class _Run:
    """Jobs that are done, what is said of each, and how many there were."""

    def __init__(self, jobs: Jobs, begin: Run, name: str) -> None:
        self._jobs, self._begin = jobs, begin
        self._output = sys.stdout  # what else is printed meanwhile, as by Ray, does not go there
        self._several = len(jobs) > 1
        self._bar = tqdm(total=len(jobs), desc=name, unit="picture", disable=None if self._several else True)
        self._failed = self._done = 0

    def done(self, task: Task, threads: int | None, pool: on_ray.Pool | None) -> int:
        """The exit status."""
        with self._bar:
            try:
                if pool is not None:
                    busy = on_ray.run(self._jobs, task, self._report, pool)
                else:
                    busy = pipeline.run(self._jobs, task.loaded(), self._report, threads=threads,
                                        progress_of=_progress_of)
            except BrokenPipeError:
                raise
            except RunEndedError as error:
                tell(f"{error}; the run ends here, since the others would fail alike")
                self._stopped()
                raise
            except BaseException:
                self._stopped()
                raise
        if self._failed and self._several:
            tell(f"{self._failed} of {len(self._jobs)} pictures failed")
        self._begin.finish(busy)
        if self._begin.record is not None:
            self._sum_up(busy)
        return 1 if self._failed else 0

    def _report(self, outcome: Outcome) -> None:
        for said in outcome.warnings:
            tqdm.write(f"warning: {said}", file=sys.stderr)
        if outcome.error:
            tell(outcome.error)
            self._failed += 1
        self._begin.add(outcome)
        for path in outcome.results:
            print(path, file=self._output, flush=True)
        self._done += 1
        self._bar.update()

    def _stopped(self) -> None:
        if self._several:
            tell(f"stopped after {self._done} of {len(self._jobs)} pictures; --skip-existing goes on with the rest")

    def _sum_up(self, busy: Busy) -> None:
        count = "1 picture" if self._done == 1 else f"{self._done} pictures"
        tell(f"{count} in {busy.seconds:.1f} s, {self._done / busy.seconds:.2f} a second; the net was "
             f"busy {100 * busy.share:.0f} % of the time")


def _progress_of(job: Job) -> Progress:
    """Shows how far the net is with one picture, on a terminal."""
    bar = tqdm(total=1, desc=job.photo.name, bar_format="{l_bar}{bar}", leave=False, disable=None)

    def show(done: int, steps: int) -> None:
        bar.update(done / steps - bar.n)
        if done >= steps:
            bar.close()

    return show
