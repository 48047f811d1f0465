"""What became of a picture, and what one task is that is done with many."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from .jobs import Job

State = Literal["done", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """What became of a picture.

    Args:
        file: the job's name.
        state: "done": its results were written; "failed": `error` says why; "skipped": its results were there already.
        seconds: spent on it: reading, computing and writing.
        net_seconds: those of `compute` alone.
        unknown: share of its area that the trimap leaves unknown, 0..1; None where no trimap was had.
        warnings: sentences, each with the file's name.
        error: a sentence with the file's name.
        results: the files that were written, or were there.
        ends_run: whether the other pictures would fail alike, as on a full disk.
    """

    file: str
    state: State
    seconds: float = 0.0
    net_seconds: float = 0.0
    unknown: float | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    results: tuple[str, ...] = ()
    ends_run: bool = False

    def as_text(self) -> str:
        """JSON on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Outcome:
        """The one that `as_text` gave."""
        values = json.loads(text)
        return cls(**{**values, "warnings": tuple(values["warnings"]), "results": tuple(values["results"])})


Report = Callable[[Outcome], None]
Progress = Callable[[int, int], None]


class Loaded(Protocol):
    """A task with what it needs in memory. Each of the three may run in another thread; what one gives is what the
    next one takes."""

    def read(self, job: Job) -> Any:
        """What the job's files hold; it may have an attribute `unknown`, see `Outcome`."""

    def compute(self, given: Any, on_progress: Progress | None = None) -> Any:
        """What the net makes of it."""

    def write(self, computed: Any) -> None:
        """Writes the job's results, each whole or not at all."""


class Task(Protocol):
    """What is done with each of many pictures, in plain values that can be sent to another machine."""

    def loaded(self) -> Loaded:
        """The task with what it needs in memory, such as a model. Raises as loading does."""

    def options(self, suffix: str | None) -> dict[str, Any]:
        """What decides over the bytes of its results, for records: what is not given is what it means, so that the
        same results have the same options.

        Args:
            suffix: see `Jobs.suffix`.
        """
