"""Which picture files of two folders belong together: those of one name up to the suffix. The one rule of cut-outs,
marks on trimaps, evaluation and training."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ..files import not_there
from .listing import Listing, list_folder
from .reading import suffixes

SHOWN = 5  # names in a message


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by name without suffix, in order.

    Raises:
        FileNotFoundError: no folder, or none in it. ValueError: two of one name.
    """
    listing = listing_of(folder)
    return {stem: folder / name for stem, name in names_by_stem(folder, listing).items()}


def counterparts(folder: Path, names: Iterable[str], what: str = "pictures") -> dict[str, Path]:
    """The pictures of a folder that have names (without suffix), by them and in their order; see
    `counterpart_names`."""
    wanted = list(dict.fromkeys(names))
    found = counterpart_names(folder, wanted, what)
    return {stem: folder / name for stem, name in zip(wanted, found, strict=True)}


def listing_of(folder: Path, *, deep: bool = False, without: Collection[Path] = ()) -> Listing:
    """The names of a folder's pictures, and of what else it has; `deep` and `without` as for `list_folder`.

    Raises:
        FileNotFoundError: no folder.
    """
    if not folder.is_dir():
        raise not_there(folder)
    return list_folder(folder, suffixes(), deep=deep, links=deep, without=without)


def names_by_stem(folder: Path, listing: Listing) -> dict[str, str]:
    """The names of a folder's pictures by what they are without suffix, in order.

    Raises:
        FileNotFoundError: none in it. ValueError: two of one name.
    """
    if not listing.pictures:
        raise FileNotFoundError(f"no pictures in {folder}; looked for {', '.join(suffixes())}{_instead(listing, None)}")
    return _single(folder, listing.pictures)


def counterpart_names(folder: Path, wanted: list[str], what: str = "pictures", *, deep: bool = False) -> list[str]:
    """The names of the pictures of a folder that are `wanted` (without suffix), in that order.

    Args:
        folder: pictures in it that have other names are passed over.
        wanted: what is looked for, each once.
        what: whose names they are, for the message.
        deep: names have folders before them.

    Raises:
        FileNotFoundError: no folder, or a name without its picture. ValueError: two pictures of one of the names.
    """
    listing, among = listing_of(folder, deep=deep), set(wanted)
    found = _single(folder, [name for name in listing.pictures if without_suffix(name) in among])
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise FileNotFoundError(f"nothing in {folder} for {len(lacking)} of {len(wanted)} {what}: {listed(lacking)}; "
                                "expected files of the same name up to the suffix, which may be any that is read"
                                f"{_instead(listing, set(lacking))}")
    return [found[name] for name in wanted]


def without_suffix(name: str) -> str:
    """A name, with folders or not, without its suffix: "a/b.c" of "a/b.c.png"."""
    return name[:len(name) - len(os.path.splitext(name)[1])]


def listed(names: list[str]) -> str:
    """The first of many names, and how many there are besides."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _single(folder: Path, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    twice: dict[str, list[str]] = {}
    for name in names:
        stem = without_suffix(name)
        if stem in found:
            twice.setdefault(stem, [found[stem]]).append(name)
        else:
            found[stem] = name
    if twice:
        raise ValueError(f"{folder} has pictures of one name and several suffixes: "
                         f"{listed([name for several in twice.values() for name in several])}; which one counts "
                         "cannot be told: leave one of each there")
    return found


def _instead(listing: Listing, names: set[str] | None) -> str:
    """What there is of these names, or of any, that is no picture that is read."""
    others = [name for name in listing.others if names is None or without_suffix(name) in names]
    return f" (there is {listed(others)}, which is not read)" if others else ""
