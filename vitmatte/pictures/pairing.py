"""Which picture files of two folders belong together: those of one name up to the suffix. The one rule of cut-outs,
marks on trimaps, evaluation and training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .reading import left_out_of, pictures_in, suffixes

SHOWN = 5  # names in a message


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by name without suffix, in order.

    Raises:
        FileNotFoundError: no folder, or none in it. ValueError: two of one name.
    """
    paths = _pictures(folder)
    if not paths:
        raise FileNotFoundError(f"no pictures in {folder}; looked for {', '.join(suffixes())}{_instead(folder, None)}")
    return _single(folder, paths)


def counterparts(folder: Path, names: Iterable[str], what: str = "pictures") -> dict[str, Path]:
    """The pictures of a folder that have names (without suffix), by them and in their order.

    Args:
        folder: pictures in it that have other names are passed over.
        names: what is looked for.
        what: whose names they are, for the message.

    Raises:
        FileNotFoundError: no folder, or a name without its picture. ValueError: two pictures of one of the names.
    """
    wanted = dict.fromkeys(names)
    found = _single(folder, [path for path in _pictures(folder) if path.stem in wanted])
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise FileNotFoundError(f"nothing in {folder} for {len(lacking)} of {len(wanted)} {what}: {listed(lacking)}; "
                                "expected files of the same name up to the suffix, which may be any that is read"
                                f"{_instead(folder, set(lacking))}")
    return {name: found[name] for name in wanted}


def listed(names: list[str]) -> str:
    """The first of many names, and how many there are besides."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    return pictures_in(folder)


def _single(folder: Path, paths: list[Path]) -> dict[str, Path]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(path.stem, []).append(path)
    twice = [path.name for several in found.values() if len(several) > 1 for path in several]
    if twice:
        raise ValueError(f"{folder} has pictures of one name and several suffixes: {listed(twice)}; which one counts "
                         "cannot be told: leave one of each there")
    return {name: path for name, (path,) in found.items()}


def _instead(folder: Path, names: set[str] | None) -> str:
    """What there is of these names, or of any, that is no picture that is read."""
    others = [name for name in left_out_of(folder) if names is None or Path(name).stem in names]
    return f" (there is {listed(others)}, which is not read)" if others else ""
