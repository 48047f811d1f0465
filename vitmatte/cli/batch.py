"""What the command line does with one picture or a folder of them: which files belong together, and one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .. import image_files


@dataclass(frozen=True)
class Job:
    """One picture's files."""

    photo: Path
    guide: Path
    output: Path
    alpha: Path | None

    @property
    def results(self) -> list[Path]:
        """The files that it writes."""
        return [path for path in (self.output, self.alpha) if path is not None]


def jobs_of(photo: Path, guide: Path, output: Path, alpha: Path | None) -> list[Job]:
    """One job for a file, or one for each picture of a folder, whose guide has the same name up to the suffix.

    Raises:
        FileNotFoundError, ValueError: nothing there, a picture without its guide, or results that would take the place
            of each other or of what they are made from; before any work is done.
    """
    jobs = _of_folder(photo, guide, output, alpha) if photo.is_dir() else [Job(photo, guide, output, alpha)]
    if not photo.exists():
        raise FileNotFoundError(f"no picture {photo}")
    given = {path.resolve() for job in jobs for path in (job.photo, job.guide)}
    for job in jobs:
        for path in job.results:
            if path.resolve() in given:
                raise ValueError(f"{path} is among the pictures given; its result needs another name or folder")
        if job.alpha is not None and job.alpha.resolve() == job.output.resolve():
            raise ValueError(f"{job.alpha} is the name of both a cut-out and a matte; give another name or folder")
    return jobs


def _of_folder(photo: Path, guide: Path, output: Path, alpha: Path | None) -> list[Job]:
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
    return [Job(p, guides[p.stem], output / f"{p.stem}.png", alpha and alpha / f"{p.stem}.png") for p in photos]


def without_existing(jobs: list[Job]) -> list[Job]:
    """The jobs that lack a result; how many have all of theirs is said. Files are written whole or not at all, so
    what is there is finished."""
    left = [job for job in jobs if not all(path.is_file() for path in job.results)]
    if len(left) < len(jobs):
        _tell(f"{len(jobs) - len(left)} of {len(jobs)} pictures are done already")
    return left


def run_jobs(jobs: list[Job], work: Callable[[Job], None], name: str) -> int:
    """Does the jobs, with a progress bar on a terminal; one that fails does not keep the others from being done.

    Returns:
        The exit status: 1 when any failed.
    """
    failed = done = 0
    try:
        for job in tqdm(jobs, desc=name, unit="picture", disable=None if len(jobs) > 1 else True):
            try:
                work(job)
            except BrokenPipeError:
                raise
            except (ValueError, OSError) as error:
                _tell(str(error))
                failed += 1
            except (RuntimeError, MemoryError) as error:  # such as memory that ran out
                _tell(f"{job.photo}: {str(error) or 'out of memory'}")
                failed += 1
            done += 1
    except BrokenPipeError:
        raise
    except BaseException:
        if len(jobs) > 1:
            _tell(f"stopped after {done} of {len(jobs)} pictures; --skip-existing goes on with the rest")
        raise
    if failed and len(jobs) > 1:
        _tell(f"{failed} of {len(jobs)} pictures failed")
    return 1 if failed else 0


def _tell(what: str) -> None:
    tqdm.write(f"vitmatte: {what}", file=sys.stderr)
