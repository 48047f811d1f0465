"""What of a folder is left to do: the jobs that lack a result, or whose results were made with other options."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .jobs import Jobs
from .outcome import Outcome
from .record import Past, fingerprint


@dataclass(frozen=True)
class Left:
    """What is left, and what is there.

    Args:
        jobs: to be done.
        there: how many have all of their results, made with these options as far as that is known.
        unrecorded: those of them that no manifest knows of.
        said: sentences on how results that are made again were made.
    """

    jobs: Jobs
    there: int
    unrecorded: list[Outcome]
    said: list[str]


def what_is_left(jobs: Jobs, past: Past | None, options: dict[str, Any]) -> Left:
    """Files are written whole or not at all, so what is there is finished, unless it is empty: then something else went
    wrong with it. Each folder is listed once.

    Args:
        past: what the manifests say; None where there is no record: what is there counts then, however it was made.
        options: of this run.
    """
    now, folders = fingerprint(options), _Folders()
    left, unrecorded, others = [], [], Counter[str]()
    for i, name in enumerate(jobs.names):
        results = [files.at(i) for files in jobs.written]
        if not all(map(folders.has, results)):
            left.append(i)
            continue
        made = None if past is None else past.made.get(name)
        if made is not None and made != now:
            others[made] += 1
            left.append(i)
        elif past is not None and name not in past.made:
            unrecorded.append(Outcome(name, "skipped", results=tuple(results)))
    said = [f"{count} of {len(jobs)} pictures were made with other options and are made again: "
            f"{past.differences(now, options, made)}" for made, count in others.items() if past is not None]
    if unrecorded:
        said.append(f"{len(unrecorded)} results are there and not in the manifest; they are left as they are, however "
                    "they were made")
    return Left(jobs.only(left) if len(left) < len(jobs) else jobs, len(jobs) - len(left), unrecorded, said)


class _Folders:
    """The names of the files of folders that hold something, each listed when it is first asked for."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def has(self, path: str) -> bool:
        """Whether a file is there, and not empty."""
        folder, name = os.path.split(path)
        if folder not in self._names:
            try:
                with os.scandir(folder or ".") as entries:
                    self._names[folder] = {entry.name for entry in entries if entry.is_file() and entry.stat().st_size}
            except (FileNotFoundError, NotADirectoryError):
                self._names[folder] = set()
        return name in self._names[folder]
