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

# What was expected where writing fails, and what helps, by the system's name of the fault.
REMEDIES = {
    "EACCES": "expected a folder that this user may write to; give another, or get the right to write there",
    "EPERM": "expected a folder that this user may write to; give another, or get the right to write there",
    "EROFS": "expected a disk that can be written; give a folder on another one",
    "ENOSPC": "expected room on the disk; make some, or give a folder on another one",
    "EDQUOT": "expected room in this user's share of the disk; make some, or give a folder on another one",
    "EFBIG": "expected files of this size to be allowed; raise the limit (ulimit -f), or give a folder on another disk",
    "ENAMETOOLONG": "expected names as long as the disk takes, mostly 255 bytes for each; give shorter ones",
    "ENOENT": "expected a folder, or a place where one can be made; give another folder, or see whether its drive is "
              "there",
    "ENODEV": "expected a drive that is there; connect it, or give a folder on another one",
    "ENXIO": "expected a drive that is there; connect it, or give a folder on another one",
    "ENOTDIR": "expected a folder, and a file is in its place; give another folder",
    "EEXIST": "expected a folder, and something else is in its place; give another folder",
    "ELOOP": "expected a folder, and links lead to one another in its place; mend them, or give another folder",
    "EINVAL": "expected names that this system takes; give others",
}
OTHER_REMEDY = "expected a folder that can be written; give another one, or see whether its disk works"


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
            _make(path.parent)
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
            at_fault = next((path for path, temporary in pairs if str(temporary) in str(error)), None)
            if at_fault is not None or error.filename is None or len(rights) < len(pairs):
                raise not_written(at_fault or pairs[len(rights) % len(pairs)][0], error) from error
            # Else it is of a file that was read meanwhile.
        raise


def check_can_write(*paths: str | os.PathLike[str]) -> None:
    """Raises before any work as `whole_file` would after it, where files of these names cannot be written now.

    A folder that is there is tried with an empty hidden file, which goes away again, since that tells on every system;
    of one that is not, the nearest above it is tried with an empty hidden folder.
    """
    tried: set[tuple[Path, bool]] = set()
    for path in map(Path, paths):
        probe = _temporary(path)
        try:
            parts = path.absolute()
            folder = next((above for above in parts.parents if os.path.isdir(above)), None)
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, f"there is no {parts.anchor}")
            for part in parts.relative_to(folder).parts:
                with suppress(FileNotFoundError):
                    (folder / part).lstat()  # fails for names that are too long
            with suppress(FileNotFoundError):
                parts.lstat()  # likewise for the whole
            is_there = folder == parts.parent
            if (folder, is_there) not in tried:
                tried.add((folder, is_there))
                _try(folder / (probe.name if is_there else probe.stem), file=is_there)
        except OSError as error:
            raise not_written(path, error) from error


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Makes a folder, and those above it, where they are not there.

    Raises:
        OSError: it cannot be made; it names the folder, and what was made on the way is gone.
    """
    try:
        _make(Path(folder))
    except OSError as error:
        raise not_written(folder, error) from error


def not_written(path: str | os.PathLike[str], error: OSError) -> OSError:
    """The error for what cannot be written, of the same class and number: what, why, and what helps."""
    remedy = REMEDIES.get(errno.errorcode.get(error.errno or 0, ""), OTHER_REMEDY)
    told = f"{path} {FAILED}: {error.strerror or error}; {remedy}"
    named = type(OSError(error.errno or 0, ""))(told)  # PermissionError and so on by the number
    named.errno = error.errno
    return named


def check_new_folder(folder: str | os.PathLike[str], name: str) -> None:
    """Raises NotADirectoryError, naming the argument, for a folder to write to that is a file or lies below one."""
    if above := _no_folder_above(Path(folder, "file")):
        kind = _kind(above)
        what = f", a {kind}" if above == Path(folder).absolute() else f", which lies below the {kind} {above}"
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


def _no_folder_above(path: Path) -> Path | None:
    """What lies where a folder above a path would, a file or a broken link; None where nothing does."""
    above = next((above for above in path.absolute().parents if os.path.lexists(above)), None)
    return None if above is None or os.path.isdir(above) else above


def _kind(path: Path) -> str:
    return "file" if os.path.exists(path) else "broken link"


def _make(folder: Path) -> None:
    made = [above for above in (folder, *folder.parents) if not os.path.lexists(above)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        for above in made:
            with suppress(OSError):
                above.rmdir()
        raise


def _temporary(path: Path) -> Path:
    if "\0" in str(path) or _is_no_text(path):
        raise ValueError(f"{str(path)!r} is not a name that a file can have")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    if above := _no_folder_above(path):
        raise NotADirectoryError(f"{path} {FAILED}: {above} is a {_kind(above)}; expected a folder; give another one")
    return path.with_name(f".writing-{secrets.token_hex(6)}{path.suffix[-20:]}")


def _try(probe: Path, *, file: bool) -> None:
    """Makes an empty file or folder, which goes away again, also when a signal ends the process just now."""
    try:
        if file:
            probe.open("xb").close()
        else:
            probe.mkdir()
    finally:
        if file:
            probe.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):
                probe.rmdir()


def _is_no_text(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return True
    return False
