"""One picture's files, and the list of them for a folder, which holds names and makes jobs as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from ..pictures.formats import result_suffix
from ..pictures.pairing import without_suffix


@dataclass(frozen=True)
class Ending:
    """How the names of a folder's results end; see `formats.result_suffix`.

    Args:
        chosen: a suffix for all; None for what suits each photograph.
        matte: whether they are mattes.
    """

    chosen: str | None = None
    matte: bool = False

    def of(self, photo: str) -> str:
        """The suffix of a photograph's result."""
        return result_suffix(photo, self.chosen, matte=self.matte)


@dataclass(frozen=True)
class Job:
    """One picture's files.

    Args:
        name: what the picture is called in records: of a folder's picture, its name below the folder.
        photo: what there is one of for each job.
        guide: its mask or trimap; for a trimap's job, the photograph of the mask.
        output, alpha: what is written; alpha may be None.
        marks: pictures that mark areas of the trimap, by what they mark.
    """

    name: str
    photo: Path
    guide: Path
    output: Path
    alpha: Path | None = None
    marks: tuple[tuple[str, Path], ...] = ()

    @property
    def results(self) -> list[Path]:
        """The files that it writes."""
        return [path for path in (self.output, self.alpha) if path is not None]


@dataclass(frozen=True)
class Files:
    """A file for each of many pictures.

    Args:
        base: their folder; or the one file for all.
        names: below the folder, one for each picture; None for one file for all.
        ending: takes the place of the names' suffixes.
    """

    base: str
    names: list[str] | None
    ending: Ending | None = None

    def at(self, i: int) -> str:
        """The path of one of them."""
        if self.names is None:
            return self.base
        name = self.names[i]
        return os.path.join(self.base, name if self.ending is None else without_suffix(name) + self.ending.of(name))

    def of(self, indices: Iterable[int]) -> Files:
        """Those of some pictures."""
        return self if self.names is None else replace(self, names=[self.names[i] for i in indices])


@dataclass(frozen=True)
class Jobs(Sequence[Job]):
    """The jobs of one picture, or of a folder's; fields as of `Job`, names of results from those of photographs."""

    names: list[str]
    photos: Files
    guides: Files
    outputs: Files
    alphas: Files | None
    marks: tuple[tuple[str, Files], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, i: int) -> Job: ...

    @overload
    def __getitem__(self, i: slice) -> Jobs: ...

    def __getitem__(self, i: int | slice) -> Job | Jobs:
        if isinstance(i, slice):
            return self.only(range(*i.indices(len(self))))
        if not 0 <= i < len(self):
            raise IndexError(i)
        return Job(self.names[i], Path(self.photos.at(i)), Path(self.guides.at(i)), Path(self.outputs.at(i)),
                   None if self.alphas is None else Path(self.alphas.at(i)),
                   tuple((mark, Path(f.at(i))) for mark, f in self.marks))

    def only(self, indices: Sequence[int]) -> Jobs:
        """Those of some pictures."""
        return Jobs([self.names[i] for i in indices], self.photos.of(indices), self.guides.of(indices),
                    self.outputs.of(indices), self.alphas and self.alphas.of(indices),
                    tuple((mark, files.of(indices)) for mark, files in self.marks))

    @property
    def written(self) -> list[Files]:
        """What is written for each picture."""
        return [self.outputs] if self.alphas is None else [self.outputs, self.alphas]

    @property
    def given(self) -> list[Files]:
        """What is read of each picture."""
        return [self.photos, self.guides, *(files for _, files in self.marks)]

    @property
    def sources(self) -> dict[str, str]:
        """Where what results are made with lies, besides the photographs: for records."""
        files = {"guides": self.guides, **{f"mark_{mark}": files for mark, files in self.marks}}
        return {name: os.path.abspath(one.base) for name, one in files.items()}

    @property
    def suffix(self) -> str | None:
        """What the names of all results end with; None where each photograph has its own."""
        if self.outputs.names is None:
            return os.path.splitext(self.outputs.base)[1].lower()
        return None if self.outputs.ending is None else self.outputs.ending.chosen

    def is_folder(self) -> bool:
        """Whether they are a folder's, be it of a single picture."""
        return self.photos.names is not None
