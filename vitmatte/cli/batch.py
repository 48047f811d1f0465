"""What the command line does with one picture or a folder of them: which files belong together, and one by one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..files import check_can_write
from ..pictures.pairing import by_stem, counterparts
from ..pictures.reading import left_out_of
from .told import tell


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


def _png(_: Path) -> tuple[str, str]:
    return ".png", ".png"


def jobs_of(photo: Path, guide: Path, output: Path, alpha: Path | None, others: Iterable[Path] = (),
            suffixes: Callable[[Path], tuple[str, str]] = _png) -> list[Job]:
    """One job for a file, or one for each picture of a folder, whose guide has the same name up to the suffix (see
    `pairing`). What of the folder is no picture that is read, is said.

    Args:
        others: files that are read besides photographs and guides.
        suffixes: how the names of a folder's results end, by the photograph: that of the output, and of alpha.

    Raises:
        FileNotFoundError, ValueError: nothing there, a picture without its guide, or results that would take the place
            of each other or of what they are made from; before any work is done.
    """
    jobs = (_of_folder(photo, guide, output, alpha, suffixes) if photo.is_dir()
            else [_of_file(photo, guide, output, alpha)])
    given = {path.resolve() for job in jobs for path in (job.photo, job.guide)} | {path.resolve() for path in others}
    for job in jobs:
        for path in job.results:
            if path.resolve() in given:
                raise ValueError(f"{path} is among the pictures given; its result needs another name or folder")
        if job.alpha is not None and job.alpha.resolve() == job.output.resolve():
            raise ValueError(f"{job.alpha} is the name of both a cut-out and a matte; give another name or folder")
    for folder in (output, alpha) if photo.is_dir() else ():
        if folder is not None and folder.resolve() in (photo.resolve(), guide.resolve()):
            raise ValueError(f"{folder} is a folder of the pictures given: the next run would take its results for "
                             "some of them; give another folder")
    return jobs


def _of_file(photo: Path, guide: Path, output: Path, alpha: Path | None) -> Job:
    for path in (photo, guide):
        if path.is_dir():
            raise ValueError(f"{photo} is a file, but {path} is a folder; give folders for all, or files for all")
        if not path.exists():
            raise FileNotFoundError(f"no picture {path}")
    return Job(photo, guide, output, alpha)


def _of_folder(photo: Path, guide: Path, output: Path, alpha: Path | None,
               suffixes: Callable[[Path], tuple[str, str]]) -> list[Job]:
    for folder in (guide, output, alpha):
        if folder is not None and folder.is_file():
            raise ValueError(f"{photo} is a folder, but {folder} is a file; give folders for all, or files for all")
    if not guide.is_dir():
        raise FileNotFoundError(f"no folder {guide} (because {photo} is a folder)")
    photos = by_stem(photo)
    guides = counterparts(guide, photos)
    ours = {folder.resolve() for folder in (guide, output, alpha) if folder is not None}
    others = [name for name in left_out_of(photo) if (photo / name).resolve() not in ours]
    if others:
        tell(f"left out of {photo}, since they are no pictures that are read: {', '.join(others)}")
    found = []
    for stem, path in photos.items():
        of_output, of_alpha = suffixes(path)
        found.append(Job(path, guides[stem], output / f"{stem}{of_output}", alpha and alpha / f"{stem}{of_alpha}"))
    return found


def check_results(jobs: list[Job], check_output: Callable[[Job], None], check_alpha: Callable[[Path], None]) -> None:
    """Raises before any work where results cannot be written: see `check_can_write`, and what the formats can hold."""
    check_can_write(*(path for job in jobs for path in job.results))
    for job in jobs:
        check_output(job)
        if job.alpha is not None:
            check_alpha(job.alpha)


def add_skipping(parser: argparse.ArgumentParser) -> None:
    """Adds --skip-existing, see `without_existing`."""
    parser.add_argument("--skip-existing", action="store_true",
                        help="leave out pictures whose results are there already, to go on after a run that was "
                             "stopped; whether they were made with the same options is not looked at")


def without_existing(jobs: list[Job]) -> list[Job]:
    """The jobs that lack a result; how many have all of theirs is said. Files are written whole or not at all, so
    what is there is finished."""
    left = [job for job in jobs if not all(path.is_file() for path in job.results)]
    if len(left) < len(jobs):
        tell(f"{len(jobs) - len(left)} of {len(jobs)} pictures are done already")
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
                tell(str(error))
                failed += 1
            except (RuntimeError, MemoryError) as error:  # such as memory that ran out
                tell(f"{job.photo}: {str(error) or 'out of memory'}")
                failed += 1
            done += 1
    except BrokenPipeError:
        raise
    except BaseException:
        if len(jobs) > 1:
            tell(f"stopped after {done} of {len(jobs)} pictures; --skip-existing goes on with the rest")
        raise
    if failed and len(jobs) > 1:
        tell(f"{failed} of {len(jobs)} pictures failed")
    return 1 if failed else 0

