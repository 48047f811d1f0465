"""Writing files so that they are whole or absent."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place at the end, or is removed when anything fails.

    Yields:
        The path to write to; it ends like `path`, so that formats chosen by name stay right.

    Raises:
        OSError: the folder cannot be made or written, the disk is full, or `path` is a folder; it names `path`.
        ValueError: a name that no file can have.
    """
    path = Path(path)
    if "\0" in str(path) or _is_no_text(path):
        raise ValueError(f"{str(path)!r} is not a name that a file can have")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    temporary = path.with_name(f".writing-{secrets.token_hex(6)}{path.suffix[-20:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()  # with the rights that any new file of this process has
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(path) not in str(error):
            told = f"{path} could not be written: {error.strerror or error}"
            # With a number it becomes PermissionError and so on by itself.
            raise (OSError(error.errno, told) if error.errno else OSError(told)) from error
        raise


def _is_no_text(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return True
    return False
