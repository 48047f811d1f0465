"""A folder's run with its record: what past runs leave to do, and the lines that this one adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .jobs import Jobs
from .left import Left, what_is_left
from .outcome import Outcome, Task
from .pipeline import Busy, RunEndedError
from .record import Record, read_past


@dataclass(frozen=True)
class Run:
    """A run that has begun.

    Args:
        left: what there is to do.
        record: None where none is kept.
    """

    left: Left
    record: Record | None

    def add(self, outcome: Outcome) -> None:
        """Records what became of a picture; OSError where that cannot be written."""
        if self.record is not None:
            self.record.add(outcome)

    def finish(self, busy: Busy) -> None:
        """Records that all has been done, and how long it took."""
        if self.record is not None:
            self.record.close("done", seconds=round(busy.seconds, 3), net_share=round(busy.share, 3))


@contextmanager
def begun(
    jobs: Jobs, task: Task, *, manifest: Path | None, chunk: tuple[int, int] | None = None, skip_existing: bool = False
) -> Iterator[Run]:
    """A run, whose end is recorded, also where an error ends it.

    Args:
        jobs: all of them.
        task: what is done with each.
        manifest: the record's folder; None for none.
        chunk: see `Record`.
        skip_existing: leave out the jobs whose results are there, see `what_is_left`; they are recorded where no record
            knows them. Else all are left.

    Raises:
        OSError: the record cannot be read or written. ValueError: from the task's model.
    """
    with ExitStack() as stack:
        record = past = None
        options = {}  # for records alone: a model's files are read for them
        if manifest is not None:
            options, past = {**task.options(jobs.suffix), **jobs.sources}, read_past(manifest)
            about = {"folder": jobs.photos.base, "pictures": len(jobs)}
            record = stack.enter_context(Record(manifest, options, chunk=chunk, about=about))
        run = Run(what_is_left(jobs, past, options) if skip_existing else Left(jobs, 0, [], []), record)
        for outcome in run.left.unrecorded:
            run.add(outcome)
        try:
            yield run
        except RunEndedError as error:
            if record is not None:
                with suppress(OSError):  # on the same full disk, say
                    record.close(str(error))
            raise
