"""What the command line says of a file while it works on it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm


@contextmanager
def warnings_of(path: Path) -> Iterator[None]:
    """Within it, what the library logs as a warning is said on standard error with the file's name."""
    handler = _Teller(path)
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Teller(logging.Handler):
    """Says warnings with a file's name, unless they name it themselves."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._path = str(path)

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        tqdm.write(f"warning: {said if self._path in said else f'{self._path}: {said}'}", file=sys.stderr)
