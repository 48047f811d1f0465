"""Fetching released models, pinned and verified.

Nothing here touches the network unless a model that is not on disk is asked for by name; huggingface_hub's own
switches hold (HF_HUB_OFFLINE, HF_ENDPOINT for a mirror, HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..files import check_can_write, check_new_folder, make_folder, not_written
from ..values import read_json
from .checksums import file_sha256, has_checksum, is_checksum
from .config_file import CONFIG_NAME, PREPROCESSOR_NAME
from .released import BUNDLED, BUNDLED_FOLDER, RELEASED, Released, default_folder, in_hub_cache, on_disk, released
from .transfer import TransferError, describe, receive

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

log = logging.getLogger(__name__)


class DownloadError(RuntimeError):
    """A model could not be fetched; the message says which, why and what to do."""


def locate(
    name_or_path: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None, **how: Any
) -> Path:
    """Where a model is on disk, downloading a released one that is not there yet.

    Args:
        name_or_path: "vitmatte-tiny" (bundled), a released model's name, or a path. A name wins over a file of the
            same name in the working folder; "./name" is always a path.
        folder: where released models are kept; see `default_folder`.
        how: on_progress, check_interrupt, token for `download`.

    Raises:
        FileNotFoundError: neither a known name nor a path that exists. DownloadError: see `download`.
    """
    name = str(name_or_path)
    if name == BUNDLED:
        return BUNDLED_FOLDER
    if released(name):
        return on_disk(name, folder) or in_hub_cache(name) or download(name, folder or default_folder(), **how)
    path = Path(name_or_path)
    if path.exists():
        return path
    raise FileNotFoundError(f"no model {name!r}: neither a file or folder, nor one of {BUNDLED} (bundled), "
                            f"{', '.join(RELEASED)}")


def download(
    name: str,
    folder: str | os.PathLike[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
    token: str | bool | None = None,
) -> Path:
    """Fetches a released model to folder/name. What was cut off is resumed; a file is there whole and verified, or
    not at all.

    Args:
        name: a key of `RELEASED`.
        folder: made where it does not exist; unfinished parts wait in folder/.incomplete/name.
        on_progress: called with (bytes so far, bytes in all) of the weights.
        check_interrupt: called often, also while a connection is waited for; what it raises ends the download.
        token: for huggingface_hub.

    Returns:
        folder/name.

    Raises:
        ValueError: unknown name. OSError: folder is a file, or cannot be written. DownloadError: offline, not
        reachable, refused, disk full, or other bytes than were published.
    """
    model = released(name)
    if model is None:
        raise ValueError(f"{name!r} is not a released model; expected one of {', '.join(RELEASED)}")
    check_new_folder(folder, "the folder of models")
    waiting = Path(folder) / ".incomplete" / model.name
    target = Path(folder) / model.name
    check_can_write(waiting.with_suffix(".lock"), target / PREPROCESSOR_NAME)
    make_folder(waiting)
    with _only_one(waiting.with_suffix(".lock"), check_interrupt):
        if found := on_disk(name, folder):  # another process was faster
            return found
        for file in (PREPROCESSOR_NAME, CONFIG_NAME, model.weights):  # weights last: with them the model is there
            report = on_progress if file == model.weights else None
            fetched = _fetch(model, file, waiting, token, report, check_interrupt)
            make_folder(target)
            os.replace(fetched, target / file)
        shutil.rmtree(waiting, ignore_errors=True)
    log.info("downloaded %s to %s", model.name, target)
    return target


@contextmanager
def _only_one(lock: Path, check_interrupt: Callable[[], None] | None) -> Iterator[None]:
    """One process at a time; the others wait, and can be interrupted."""
    from filelock import FileLock, Timeout  # comes with huggingface_hub

    held = FileLock(lock)
    while True:
        try:
            held.acquire(timeout=0.5)
            break
        except Timeout:
            if check_interrupt is not None:
                check_interrupt()
    try:
        yield
    finally:
        held.release()


def _fetch(
    model: Released,
    file: str,
    waiting: Path,
    token: str | bool | None,
    on_progress: Callable[[int, int], None] | None,
    check_interrupt: Callable[[], None] | None,
) -> Path:
    """One file to the waiting folder, whole and verified; goes on where an earlier call or process was cut off."""
    from huggingface_hub import constants
    from huggingface_hub.utils import tqdm  # shows nothing with HF_HUB_DISABLE_PROGRESS_BARS

    remedy = (f"Get the files of https://huggingface.co/{model.repository} (revision {model.revision}) another way "
              f"and put them into {waiting.parent.parent / model.name}")
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{model.name} is not on disk, and HF_HUB_OFFLINE forbids downloading it. {remedy}, or "
                            "unset HF_HUB_OFFLINE")
    how: dict[str, Any] = {"token": token, "pause": partial(_pause, check_interrupt)}
    try:
        url, published = describe(model.repository, file, model.revision, **how)
        checksum = _checksum(model, file, published)
        part, size = waiting / f"{file}.{(checksum or 'unknown')[:16]}", published.size
        with _opened(part) as stream, tqdm(
            desc=file, total=size, initial=stream.tell(), unit="B", unit_scale=True, disable=on_progress is not None
        ) as bar, closing(receive(url, stream.tell(), size, **how)) as chunks:
            for place, chunk in chunks:
                _write(stream, place, chunk)
                done = place + len(chunk)
                bar.update(done - bar.n)
                if check_interrupt is not None:
                    check_interrupt()
                if on_progress is not None:
                    on_progress(done, max(size or 0, done))
    except TransferError as error:
        raise DownloadError(f"could not download {file} of {model.name}: {error}. What has arrived is kept; try "
                            f"again to go on. {remedy}") from error
    _verify(part, model, file, size, checksum)
    return part


def _pause(check_interrupt: Callable[[], None] | None, seconds: float) -> None:
    """Waits, and can be interrupted."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if check_interrupt is not None:
            check_interrupt()
        time.sleep(min(left, 0.25))


def _opened(path: Path) -> BinaryIO:
    """A file to go on with, or a new one; OSError where it cannot be written."""
    try:
        return path.open("ab")
    except OSError as error:
        raise not_written(path, error) from error


def _write(stream: BinaryIO, place: int, chunk: bytes) -> None:
    """Writes a chunk to its place in a file, which ends there."""
    try:
        if place != stream.tell():
            stream.truncate(place)
            stream.seek(place)
        stream.write(chunk)
        stream.flush()
    except OSError as error:
        raise TransferError(str(not_written(stream.name, error))) from error


def _checksum(model: Released, file: str, published: HfFileMetadata) -> str | None:
    """What to verify a file by: known here, else the hub's etag, see `has_checksum`; None where a mirror gives none."""
    if file == model.weights and model.sha256 is not None:
        return model.sha256
    if published.commit_hash != model.revision:
        raise DownloadError(f"{file} of {model.name}: the hub answers with revision {published.commit_hash} instead of "
                            f"{model.revision}; try again, or another mirror (HF_ENDPOINT)")
    etag = (published.etag or "").strip('"')
    if file == model.weights and not is_checksum(etag):
        raise DownloadError(f"{file} of {model.name}: the hub gives no checksum to verify it by; try another mirror "
                            "(HF_ENDPOINT)")
    return etag if is_checksum(etag) else None


def _verify(path: Path, model: Released, file: str, size: int | None, checksum: str | None) -> None:
    """Raises DownloadError, and removes the file, unless it is the published one, by size and checksum."""
    found, size = path.stat().st_size, model.size if file == model.weights and model.size else size
    if size in (None, found) and (has_checksum(path, checksum) if checksum else _is_read(path)):
        return
    told = f"{found:,} bytes, sha256 {file_sha256(path)}"
    path.unlink()
    raise DownloadError(f"{file} of {model.name} is not the published file ({told}; expected "
                        f"{f'{size:,} bytes, ' if size else ''}checksum {checksum}); removed. The mirror or "
                        "a proxy altered it: try again, or another mirror (HF_ENDPOINT)")


def _is_read(path: Path) -> bool:
    """Whether a configuration that a mirror gives no checksum of is one at all."""
    try:
        return bool(read_json(path))
    except ValueError:
        return False
