"""The record of a run in a folder: a manifest that programs resume from and people read, and failed.csv.

Each part of a run (`chunk`) has a manifest of its own, manifest-3-of-40.jsonl, so that parts on different machines
never write to one file, on which network disks cannot agree. All manifests of the folder are read together: a run may
go on in other parts, or in another engine.

A manifest is JSON, a line each: what a run was started with, then a picture's `Outcome` as soon as it is known, then
how the run ended. Each line is written with one call at the end of the file, so a process that is killed leaves whole
lines and at most one that is cut, which is passed over; what a line says is on disk already, since results come first.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from ..files import check_can_write, check_new_folder, make_folder, not_written, whole_file
from .outcome import Outcome

MAX_ERROR = 2000  # letters of an error that are kept


def fingerprint(options: dict[str, Any]) -> str:
    """A short name for options, the same for the same ones; 2 and 2.0 are the same."""
    alike = {name: float(value) if type(value) is int else value for name, value in options.items()}
    return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:12]


@dataclass
class Past:
    """What a folder's manifests say.

    Attributes:
        made: of each picture whose results were there at the end, by its name, the fingerprint of the options that
            made them; None where that is not known.
        options: by fingerprint.
        torn: lines that cannot be read.
    """

    made: dict[str, str | None] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    torn: int = 0

    def differences(self, print_of_now: str, now: dict[str, Any], before: str) -> str:
        """How the options of another fingerprint differ from those of now: "refine was 0.0 and is 1.0"."""
        then = self.options.get(before)
        if then is None or before == print_of_now:
            return "their options are not in the manifest"
        pairs = {name: (then.get(name), now.get(name)) for name in sorted({*then, *now})}
        return ", ".join(f"{name} was {_said(was)} and is {_said(value)}" for name, (was, value) in pairs.items()
                         if was != value)


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)


def read_past(folder: Path) -> Past:
    """What the manifests of a folder say; nothing where there is none. Raises OSError for what cannot be read."""
    past = Past()
    if not os.path.isdir(folder):
        return past
    for path in sorted(folder.glob("manifest*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
        known: str | None = None
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    said = json.loads(line)
                    if "run" in said:
                        known = str(said["run"])
                        past.options[known] = said["options"]
                    elif "file" in said:
                        _note(past, said["file"], said["state"], known)
                except (ValueError, KeyError, TypeError):
                    past.torn += bool(line.strip())
    return past


def _note(past: Past, file: str, state: str, made_with: str | None) -> None:
    if state == "done":
        past.made[file] = made_with
    elif state == "skipped":
        past.made.setdefault(file, None)
    else:
        past.made.pop(file, None)


class Record:
    """The record of one run, or of one part of it; a context that ends it.

    Args:
        folder: where it is kept; made where it is not there.
        options: what decides over the bytes of results.
        chunk: (k, n) of a part.
        about: what else is worth knowing of the run, in plain values.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(
        self, folder: Path, options: dict[str, Any], *, chunk: tuple[int, int] | None = None, about: Any = None
    ) -> None:
        part = "" if chunk is None else f"-{chunk[0]}-of-{chunk[1]}"
        self.manifest, self.failed = folder / f"manifest{part}.jsonl", folder / f"failed{part}.csv"
        check_new_folder(folder, "manifest")
        check_can_write(self.manifest, self.failed)
        make_folder(folder)
        self._failures: list[tuple[str, str]] = []
        self.counts = {"done": 0, "failed": 0, "skipped": 0}
        how = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(self.manifest, how, 0o666)
        except OSError as error:
            raise not_written(self.manifest, error) from error
        size = os.fstat(self._file).st_size
        if size:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            if os.read(self._file, 1) != b"\n":
                os.write(self._file, b"\n")  # after a line that was cut
        self._append({"run": fingerprint(options), "at": _now(), "options": options, "about": about})

    def add(self, outcome: Outcome) -> None:
        """Adds what became of a picture.

        Raises:
            OSError: the disk is full, or fails otherwise.
        """
        said = {name: value for name, value in asdict(outcome).items() if value not in ("", (), None, False)}
        for name in ("seconds", "net_seconds", "unknown"):
            if name in said:
                said[name] = round(said[name], 5)
        if outcome.error:
            said["error"] = outcome.error[:MAX_ERROR]
            self._failures.append((outcome.file, outcome.error[:MAX_ERROR]))
        self.counts[outcome.state] += 1
        self._append(said)

    def close(self, how: str, **more: Any) -> None:
        """Ends it: the last line, and failed.csv with the failures of this run."""
        if self._file < 0:
            return
        try:
            self._append({"ended": how, "at": _now(), **self.counts, **more})
        finally:
            os.close(self._file)
            self._file = -1
        with whole_file(self.failed) as path, path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "error"), *self._failures])

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close("done" if kind is None else f"{kind.__name__}: {error}"[:MAX_ERROR])
        except OSError:
            if kind is None:
                raise

    def _append(self, said: dict[str, Any]) -> None:
        line = (json.dumps(said, ensure_ascii=True) + "\n").encode()
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise not_written(self.manifest, error) from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
