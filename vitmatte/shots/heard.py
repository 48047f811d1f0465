"""What the library warns of while a picture is worked on, kept with that picture."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_here = threading.local()  # the file that this thread works on


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Within it, what this thread warns of is said of that file."""
    before = getattr(_here, "path", None)
    _here.path = str(path)
    try:
        yield
    finally:
        _here.path = before


@contextmanager
def warnings_heard(path: Path, into: list[str]) -> Iterator[None]:
    """Within it, what this thread logs as a warning is added to a list, with the name of the file that it is about,
    `path` unless `about` says another, before it, unless it names the file itself. Other threads work on other
    pictures."""
    handler = _OfThread(into)
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    try:
        with about(path):
            yield
    finally:
        logger.removeHandler(handler)


class Hearer(logging.Handler):
    """A handler that is there for a while, and says which records are its own."""

    def hears(self, record: logging.LogRecord) -> bool:
        """Whether it takes a record."""
        return record.levelno >= self.level


class _OfThread(Hearer):
    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._into, self._thread = into, threading.get_ident()

    def hears(self, record: logging.LogRecord) -> bool:
        return super().hears(record) and record.thread == self._thread

    def emit(self, record: logging.LogRecord) -> None:
        if self.hears(record):
            said = record.getMessage()
            self._into.append(said if _here.path in said else f"{_here.path}: {said}")
