"""What the command line says of a file while it works on it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..shots.heard import Hearer


def tell(what: str) -> None:
    """Says something on standard error, beside a progress bar."""
    tqdm.write(f"vitmatte: {what}", file=sys.stderr)


@contextmanager
def warnings_of(path: Path, *, once: bool = False) -> Iterator[None]:
    """Within it, what the library logs as a warning is said on standard error with the file's name.

    Args:
        once: the same is said only the first time, as of a clip with many frames.
    """
    handler = _Teller(path, once)
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def all_warnings() -> Iterator[None]:
    """Within it, what the library logs as a warning is said on standard error, also beside the work on a picture: of a
    background, say, or a download."""
    logger = logging.getLogger(__package__.partition(".")[0])
    handler = _Rest(logger)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Rest(logging.Handler):
    """Says the warnings that no `Hearer` takes."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if not any(isinstance(one, Hearer) and one.hears(record) for one in self._logger.handlers):
            tqdm.write(f"warning: {record.getMessage()}", file=sys.stderr)


class _Teller(Hearer):
    """Says warnings with a file's name, unless they name it themselves."""

    def __init__(self, path: Path, once: bool) -> None:
        super().__init__(logging.WARNING)
        self._path = str(path)
        self._once = once
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if self._once and said in self._said:
            return
        self._said.add(said)
        tqdm.write(f"warning: {said if self._path in said else f'{self._path}: {said}'}", file=sys.stderr)
