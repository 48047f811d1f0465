"""Fetching released models, pinned and verified.

Nothing here touches the network unless a model that is not on disk is asked for by name; huggingface_hub's own
switches hold (HF_HUB_OFFLINE, HF_ENDPOINT for a mirror, HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT).
"""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..values import read_json
from .checksums import file_sha256, has_checksum, is_checksum
from .config_file import CONFIG_NAME, PREPROCESSOR_NAME
from .released import BUNDLED, BUNDLED_FOLDER, RELEASED, Released, default_folder, in_hub_cache, on_disk, released

log = logging.getLogger(__name__)
_ONE_BAR = threading.Lock()

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
        folder: made where it does not exist; unfinished pieces wait in folder/.incomplete/name.
        on_progress: called with (bytes so far, bytes in all) of the weights.
        check_interrupt: called as often; what it raises ends the download.
        token: for huggingface_hub.

    Returns:
        folder/name.

    Raises:
        ValueError: unknown name. DownloadError: offline, not reachable, refused, disk full, or other bytes than
        were published.
    """
    model = released(name)
    if model is None:
        raise ValueError(f"{name!r} is not a released model; expected one of {', '.join(RELEASED)}")
    waiting = Path(folder) / ".incomplete" / model.name
    waiting.mkdir(parents=True, exist_ok=True)
    with _only_one(waiting.with_suffix(".lock"), check_interrupt):
        if found := on_disk(name, folder):  # another process was faster
            return found
        target = Path(folder) / model.name
        for file in (PREPROCESSOR_NAME, CONFIG_NAME, model.weights):  # weights last: with them the model is there
            weights = file == model.weights
            progress = _progress_class(on_progress if weights else None, check_interrupt)
            fetched = _fetch(model, file, waiting, progress, token)
            target.mkdir(exist_ok=True)
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


def _fetch(model: Released, file: str, waiting: Path, progress: Any, token: str | bool | None) -> Path:
    """One file to the waiting folder, whole and verified; goes on where an earlier call or process was cut off.

    huggingface_hub's own hf_hub_download begins again after a failure (2.4 does), hence its http_get.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    remedy = (f"Get the files of https://huggingface.co/{model.repository} (revision {model.revision}) another way "
              f"and put them into {waiting.parent.parent / model.name}")
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{model.name} is not on disk, and HF_HUB_OFFLINE forbids downloading it. {remedy}, or "
                            "unset HF_HUB_OFFLINE")
    how: dict[str, Any] = {"headers": build_hf_headers(token=token), "displayed_filename": file}
    bar: AbstractContextManager[None] = nullcontext()
    if "tqdm_class" in inspect.signature(http_get).parameters:
        how["tqdm_class"] = progress
    else:
        bar = _bar_before_1_0(progress)
    part: Path | None = None
    try:
        published = _published(model, file, token)
        part = waiting / f"{file}.{(published.checksum or 'unknown')[:16]}"
        with bar, part.open("ab") as stream:
            if (done := stream.tell()) != published.size:
                http_get(published.url, stream, resume_size=done, expected_size=published.size, **how)
        _verify(part, model, file, published)
        return part
    except DownloadError:
        raise
    except Exception as error:
        if progress.interruption is not None:
            raise progress.interruption from None
        if part is not None and "Consistency check" in str(error):  # what has arrived is not the beginning of the file
            part.unlink(missing_ok=True)
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DownloadError(f"could not download {file} of {model.name}: {reason}. What has arrived is kept; try "
                            f"again to go on. {remedy}") from error


@dataclass(frozen=True)
class _Published:
    """A file as the hub has it; its checksum as the hub's etags are made, see `has_checksum`, or None."""

    url: str
    size: int | None
    checksum: str | None


def _published(model: Released, file: str, token: str | bool | None) -> _Published:
    """What is known here of a file of the pinned revision, and by the hub's own metadata."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(model.repository, file, revision=model.revision)
    how: dict[str, Any] = {"token": token}
    if "retry_on_errors" in inspect.signature(get_hf_file_metadata).parameters:
        how["retry_on_errors"] = True
    metadata = get_hf_file_metadata(url, **how)
    if file == model.weights and model.sha256 is not None:
        return _Published(url, metadata.size, model.sha256)
    if metadata.commit_hash != model.revision:
        raise DownloadError(f"{file} of {model.name}: the hub answers with revision {metadata.commit_hash} instead of "
                            f"{model.revision}; try again, or another mirror (HF_ENDPOINT)")
    etag = (metadata.etag or "").strip('"')
    if file == model.weights and not is_checksum(etag):
        raise DownloadError(f"{file} of {model.name}: the hub gives no checksum to verify it by; try another mirror "
                            "(HF_ENDPOINT)")
    return _Published(url, metadata.size, etag if is_checksum(etag) else None)


@contextmanager
def _bar_before_1_0(progress: Any) -> Iterator[None]:
    """huggingface_hub 0.x takes no class for its progress bar, so ours stands under its name while a file arrives."""
    from huggingface_hub import file_download

    with _ONE_BAR:
        # Versions differ in which of the two modules makes the bar.
        modules: tuple[Any, ...] = (file_download, sys.modules["huggingface_hub.utils.tqdm"])
        kept = [(module, module.tqdm) for module in modules]
        try:
            for module, _ in kept:
                module.tqdm = progress
            yield
        finally:
            for module, theirs in kept:
                module.tqdm = theirs


def _progress_class(on_progress: Callable[[int, int], None] | None, check_interrupt: Callable[[], None] | None) -> Any:
    """A tqdm that also reports to the callbacks, and shows no bar of its own where they are given."""
    from tqdm.auto import tqdm

    class Progress(tqdm):
        interruption: BaseException | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # huggingface_hub's own argument
            if on_progress is not None:
                kwargs["disable"] = True
            super().__init__(*args, **kwargs)
            self.done, self.whole = kwargs.get("initial", 0), kwargs.get("total") or 0

        def update(self, n: float | None = 1) -> bool | None:
            self.done += int(n or 0)
            try:
                if check_interrupt is not None:
                    check_interrupt()
                if on_progress is not None:
                    on_progress(self.done, max(self.whole, self.done))
            except BaseException as error:
                type(self).interruption = error
                raise
            return super().update(n)

    return Progress


def _verify(path: Path, model: Released, file: str, published: _Published) -> None:
    """Raises DownloadError, and removes the file, unless it is the published one, by size and checksum."""
    found, size = path.stat().st_size, model.size if file == model.weights and model.size else published.size
    if size in (None, found) and (has_checksum(path, published.checksum) if published.checksum else _is_read(path)):
        return
    told = f"{found:,} bytes, sha256 {file_sha256(path)}"
    path.unlink()
    raise DownloadError(f"{file} of {model.name} is not the published file ({told}; expected "
                        f"{f'{size:,} bytes, ' if size else ''}checksum {published.checksum}); removed. The mirror or "
                        "a proxy altered it: try again, or another mirror (HF_ENDPOINT)")


def _is_read(path: Path) -> bool:
    """Whether a configuration that a mirror gives no checksum of is one at all."""
    try:
        return bool(read_json(path))
    except ValueError:
        return False
