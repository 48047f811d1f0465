"""Writing files so that they are whole or absent, and errors for files where folders are expected, and folders where
files are."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

FAILED = "could not be written"
MOST_NAMES = 10_000  # of a folder that are looked at for one that may have been meant


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place at the end, or is removed when anything fails.

    Yields:
        The path to write to; it ends like `path`, so that formats chosen by name stay right.

    Raises:
        OSError: the folder cannot be made or written, the disk is full, or `path` is a folder; it names `path`.
        ValueError: a name that no file can have.
    """
    with whole_files(path) as (temporary,):
        yield temporary


@contextmanager
def whole_files(*paths: str | os.PathLike[str]) -> Iterator[list[Path]]:
    """The same for files that belong together: none takes its place before all are written."""
    pairs = [(path, _temporary(path)) for path in map(Path, paths)]
    rights: list[int] = []
    try:
        for path, temporary in pairs:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.open("xb").close()
            rights.append(stat.S_IMODE(temporary.stat().st_mode))  # those of any new file of this process
        yield [temporary for _, temporary in pairs]
        for (path, temporary), mode in zip(pairs, rights, strict=True):
            if stat.S_IMODE(temporary.stat().st_mode) != mode:  # safetensors 0.8 puts a file for its owner alone there
                temporary.chmod(mode)
            os.replace(temporary, path)
    except BaseException as error:
        for _, temporary in pairs:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and FAILED not in str(error):
            at_fault = next((path for path, temporary in pairs if str(temporary) in str(error)), pairs[0][0])
            told = f"{at_fault} {FAILED}: {error.strerror or error}"
            # With a number it becomes PermissionError and so on by itself.
            raise (OSError(error.errno, told) if error.errno else OSError(told)) from error
        raise


def check_can_write(*paths: str | os.PathLike[str]) -> None:
    """Raises before any work as `whole_file` would after it, where files of these names cannot be written now.

    A folder that is there is tried with an empty hidden file, which goes away again, since that tells on every system;
    of one that is not, the nearest above it is asked for its rights.
    """
    tried: set[Path] = set()
    for path in map(Path, paths):
        try:
            probe = _temporary(path)
            with suppress(FileNotFoundError):
                path.lstat()  # fails for names that are too long, and below what is no folder
            folder = next(above for above in path.absolute().parents if above.exists())
            if folder not in tried:
                tried.add(folder)
                if folder == path.absolute().parent:
                    try:
                        probe.open("xb").close()
                    finally:  # also when a signal ends the process just now
                        probe.unlink(missing_ok=True)
                elif not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if error.errno is None:  # our own, which says it all
                raise
            raise OSError(error.errno, f"{path} {FAILED}: {error.strerror or error}") from error


def check_new_folder(folder: str | os.PathLike[str], name: str) -> None:
    """Raises NotADirectoryError, naming the argument, for a folder to write to that is a file or lies below one."""
    if above := _file_above(Path(folder, "file")):
        below = "" if above == Path(folder).absolute() else f", which lies below the file {above}"
        what = below or ", a file"
        raise NotADirectoryError(f"{name} is {folder}{what}; expected a folder, or the name of a new one")


def not_there(path: str | os.PathLike[str], what: str = "folder") -> FileNotFoundError:
    """The error for a path where there is nothing, or a file instead of a folder, or a folder instead of a file.

    Args:
        what: should be there: "folder", or a kind of file such as "picture".
    """
    if what != "folder" and os.path.isdir(path):
        return FileNotFoundError(f"{path} is a folder; expected a {what}")
    if what == "folder" and os.path.isfile(path):
        return FileNotFoundError(f"{path} is a file; expected a folder")
    return FileNotFoundError(f"no {what} {path}{_near(Path(path))}")


def _near(path: Path) -> str:
    """What may have been meant by a path where there is nothing."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return f": there is no folder {folder}"
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, MOST_NAMES)]
        if close := get_close_matches(path.name, names, n=1):
            return f" in {folder}; there is {close[0]}"
    return f" in {folder}"


def _file_above(path: Path) -> Path | None:
    """The file that lies where a folder above a path would; None where there is none."""
    above = next((above for above in path.absolute().parents if os.path.exists(above)), None)
    return None if above is None or above.is_dir() else above


def _temporary(path: Path) -> Path:
    if "\0" in str(path) or _is_no_text(path):
        raise ValueError(f"{str(path)!r} is not a name that a file can have")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    if above := _file_above(path):
        raise NotADirectoryError(f"{path} {FAILED}: {above} is a file; expected a folder")
    return path.with_name(f".writing-{secrets.token_hex(6)}{path.suffix[-20:]}")


def _is_no_text(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return True
    return False
