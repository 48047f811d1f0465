"""The files of a folder by their names, as plain strings: a hundred thousand take a second and some megabytes."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Listing:
    """Names below a folder, with "/" between folders, in order.

    Attributes:
        pictures: files whose names end as pictures' do.
        others: what is no such file, besides hidden files; folders that were not entered end in "/".
    """

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_folder(
    folder: Path, suffixes: Collection[str], *, deep: bool = False, links: bool = False, without: Collection[Path] = ()
) -> Listing:
    """Lists a folder. Hidden files and folders, such as a system's own or what a process that was killed was writing,
    are passed over.

    Args:
        folder: to be listed.
        suffixes: how names of pictures end, in small letters.
        deep: enter its folders too, at any depth.
        links: enter folders that are links too, but none that holds the link itself.
        without: folders that are not entered and not named.

    Raises:
        OSError: a folder that cannot be read.
    """
    found, left = Listing(), {os.path.realpath(path) for path in without}
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(str(folder), "", (os.path.realpath(folder),))]
    while waiting:
        path, before, above = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                name = before + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    real = (os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name))
                    if real in left:
                        continue
                    if deep and (not entry.is_symlink() or (links and real not in above)):
                        waiting.append((entry.path, name + "/", (*above, real)))
                    else:
                        found.others.append(name + "/")
                elif os.path.splitext(entry.name)[1].lower() in suffixes and entry.is_file():
                    found.pictures.append(name)
                else:
                    found.others.append(name)
    for names in (found.pictures, found.others):
        names.sort(key=_parts if deep else None)
    return found


def _parts(name: str) -> list[str]:
    """Paths are ordered by their folders first."""
    return name.split("/")
