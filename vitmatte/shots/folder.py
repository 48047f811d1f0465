"""The jobs of a picture or of a folder, and what is refused before any of them is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from os.path import realpath  # unlike Path.resolve, it answers for links that lead in a circle as well
from pathlib import Path

from ..files import check_can_write, not_there
from ..pictures.pairing import counterpart_names, listing_of, names_by_stem, without_suffix
from ..pictures.writing import has_max_side
from .jobs import Ending, Files, Job, Jobs
from .select import Selection


def jobs_of(
    photo: Path,
    guide: Path,
    output: Path,
    alpha: Path | None,
    *,
    marks: Mapping[str, Path] | None = None,
    masks_are_photos: bool = False,
    selection: Selection | None = None,
    others: Iterable[Path] = (),
    format: str | None = None,
) -> tuple[Jobs, list[str]]:
    """The job of a file, or one for each wanted picture of a folder, whose guide has the same name up to the suffix
    (see `pairing`).

    Args:
        photo, guide, output, alpha: files, or folders.
        marks: files or folders, by what they mark.
        masks_are_photos: marks belong to the photos, as for trimaps; else to the guides. In folders their names agree.
        selection: which pictures of a folder; all of its own without.
        others: files that are read besides.
        format: suffix of a folder's results, such as ".tif"; None for what suits each photograph. A file's results are
            named with theirs.

    Returns:
        (the jobs; names in the folder that are no pictures that are read).

    Raises:
        FileNotFoundError, ValueError: nothing there, a picture without its guide, or results that would take the place
            of each other or of what they are made from; before any work is done.
    """
    selection, marks = selection or Selection(), dict(marks or {})
    if photo.is_dir():
        jobs, left = _of_folder(photo, guide, output, alpha, marks, selection, format)
    elif not selection.is_all:
        raise ValueError(f"{photo} is no folder; --recursive, --pattern, --frames and --chunk are for folders")
    else:
        jobs, left = _of_file(photo, guide, output, alpha, marks, photo if masks_are_photos else guide), []
    _check_results_apart(jobs, others)
    for folder in (output, alpha) if jobs.is_folder() else ():
        if folder is not None and realpath(folder) in (realpath(photo), realpath(guide)):
            raise ValueError(f"{folder} is a folder of the pictures given: the next run would take its results for "
                             "some of them; give another folder")
    return jobs, left


def check_results(jobs: Jobs, check: Callable[[Job], None]) -> None:
    """Raises before any work where results cannot be written; see `check_can_write`. Each folder is tried once, with
    the longest name.

    Args:
        check: raises ValueError for a job whose results their formats cannot hold. It is asked of the first of each
            format, and of each where a format has a longest side.
    """
    longest: dict[str, str] = {}
    for files in jobs.written:
        for path in map(files.at, range(len(jobs))):
            folder = os.path.dirname(path)
            longest[folder] = max(longest.get(folder, ""), path, key=len)
    check_can_write(*longest.values())
    has_side: dict[str, bool] = {}
    for i in range(len(jobs)):
        path = jobs.outputs.at(i)
        suffix = os.path.splitext(path)[1].lower()
        if has_side.get(suffix, True):
            check(jobs[i])
        has_side.setdefault(suffix, has_max_side(path))


def _of_file(
    photo: Path, guide: Path, output: Path, alpha: Path | None, marks: dict[str, Path], mask: Path
) -> Jobs:
    for path in (photo, guide):
        if path.is_dir():
            raise ValueError(f"{photo} is a file, but {path} is a folder; give folders for all, or files for all")
        if not path.exists():
            raise not_there(path, "picture")
    return Jobs([str(photo)], Files(str(photo), None), Files(str(guide), None), Files(str(output), None),
                None if alpha is None else Files(str(alpha), None), _marks(marks, [mask.stem], deep=False))


def _of_folder(
    photo: Path, guide: Path, output: Path, alpha: Path | None, marks: dict[str, Path], selection: Selection,
    format: str | None,
) -> tuple[Jobs, list[str]]:
    for folder in (guide, output, alpha):
        if folder is not None and os.path.isfile(folder):
            raise ValueError(f"{photo} is a folder, but {folder} is a file; give folders for all, or files for all")
    if not guide.is_dir():
        raise FileNotFoundError(f"no folder {guide} (because {photo} is a folder)")
    deep = selection.recursive
    ours = [folder for folder in (guide, output, alpha) if folder is not None and realpath(folder) != realpath(photo)]
    listing = listing_of(photo, deep=deep, without=ours)
    if listing.pictures:
        listing.pictures = selection.matching(listing.pictures, photo)
    names = selection.share_of(list(names_by_stem(photo, listing).values()))
    stems = [without_suffix(name) for name in names]
    guides = names if guide == photo else counterpart_names(guide, stems, deep=deep)
    outputs = Files(str(output), names, Ending(format))
    alphas = None if alpha is None else Files(str(alpha), names, Ending(format, matte=True))
    jobs = Jobs(names, Files(str(photo), names), Files(str(guide), guides), outputs, alphas,
                _marks(marks, stems, deep=deep))
    return jobs, listing.others


def _marks(marks: dict[str, Path], stems: list[str], *, deep: bool) -> tuple[tuple[str, Files], ...]:
    """The files of marks: those of the pictures' names in a folder, or one for all."""
    found = []
    for name, path in marks.items():
        if not path.exists():
            raise FileNotFoundError(f"no picture or folder {path}, for --mark-{name}")
        names = counterpart_names(path, stems, "masks", deep=deep) if path.is_dir() else None
        found.append((name, Files(str(path), names)))
    return tuple(found)


def _check_results_apart(jobs: Jobs, others: Iterable[Path]) -> None:
    """Raises ValueError for results that would take the place of what is given, or of each other."""
    folders: dict[str, str] = {}

    def real(path: str) -> str:
        if os.path.islink(path):
            return realpath(path)
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return realpath(path)
        if folder not in folders:
            folders[folder] = realpath(folder)
        return os.path.join(folders[folder], name)

    given = {real(files.at(i)) for files in jobs.given for i in range(len(jobs) if files.names is not None else 1)}
    given |= {realpath(path) for path in others}
    for i in range(len(jobs)):
        written = [(path, real(path)) for path in (files.at(i) for files in jobs.written)]
        for path, at in written:
            if at in given:
                raise ValueError(f"{path} is among the pictures given; its result needs another name or folder")
        if len(written) == 2 and written[0][1] == written[1][1]:
            raise ValueError(f"{written[1][0]} is the name of both a cut-out and a matte; give another name or folder")
