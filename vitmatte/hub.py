"""The models there are: bundled, released (pinned and verified), and anybody's on the hub.

Nothing here touches the network unless a model that is not on disk is asked for by name; huggingface_hub's own
switches hold (HF_HUB_OFFLINE, HF_ENDPOINT for a mirror, HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT).
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .checkpoint import WEIGHTS_NAMES
from .config import CONFIG_NAME, PREPROCESSOR_NAME

log = logging.getLogger(__name__)

BUNDLED = "vitmatte-tiny"
BUNDLED_FOLDER = Path(__file__).parent / "bundled" / BUNDLED

COMPOSITION_LICENCE = (
    "trained on Adobe's Composition-1k, whose terms are non-commercial, although the hub says Apache-2.0"
)
DISTINCTIONS_LICENCE = "trained on Distinctions-646, which its authors give out for research; the hub says Apache-2.0"


class DownloadError(RuntimeError):
    """A model could not be fetched; the message says which, why and what to do."""


@dataclass(frozen=True)
class Released:
    """A checkpoint published by ViTMatte's authors.

    Args:
        name: what it is called here.
        revision: commit of the hub repository hustvl/<name>.
        weights: file name of the weights.
        size: bytes, where known. sha256: of the weights, where known; else the hub's own LFS hash is the check.
        accuracy: SAD / MSE (x 1e-3) on the test set of the data it was trained on, from the paper.
        licence: what to know before using it.
    """

    name: str
    revision: str
    weights: str
    size: int | None
    sha256: str | None
    accuracy: str
    licence: str

    @property
    def repository(self) -> str:
        """Its repository on the hub."""
        return f"hustvl/{self.name}"


RELEASED = {
    model.name: model
    for model in (
        Released("vitmatte-small-composition-1k", "6a58ad7646403c1df626fbd746900aec7361ea1d", "model.safetensors",
                 103_294_572, "bda9289db1bb6762d978b42d1c62ae3f34daf7497171a347a1d09657efd788cb",
                 "21.46 / 3.3", COMPOSITION_LICENCE),
        Released("vitmatte-base-composition-1k", "bf486d01a7d9e3dbcc8400f7942835caf0eaf76e", "pytorch_model.bin",
                 None, "b2521bcc4b719fb24611c39605b6642162fd7502e69b3cc846506ca921757b41",
                 "20.33 / 3.0", COMPOSITION_LICENCE),
        Released("vitmatte-small-distinctions-646", "6a0e75d7214b01f4d1163ede0f15b23afbbd480b", "model.safetensors",
                 None, None, "21.22 / 2.1", DISTINCTIONS_LICENCE),
        Released("vitmatte-base-distinctions-646", "b58373f8dbbfbeb58157456e2e4949f9f872aa18", "model.safetensors",
                 None, None, "17.05 / 1.5", DISTINCTIONS_LICENCE),
    )
}


def released(name: str) -> Released | None:
    """The released model of that name, with or without "hustvl/"; None if there is none."""
    return RELEASED.get(name.removeprefix("hustvl/"))


def default_folder() -> Path:
    """Where downloads go outside ComfyUI: $VITMATTE_HOME, else ~/.cache/vitmatte."""
    return Path(os.environ.get("VITMATTE_HOME") or Path.home() / ".cache" / "vitmatte")


def on_disk(name: str, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder of a released model that is there whole, or None.

    Looked for in folder/name (downloaded here, or put there by hand; the size is compared where it is known), in a
    huggingface_hub cache made in the folder, and straight in the folder, where the SHA-256 must tell which model it is.
    """
    model = released(name)
    if model is None:
        return None
    folder = Path(folder or default_folder())
    cached = folder / f"models--{model.repository.replace('/', '--')}" / "snapshots" / model.revision
    for place in (folder / model.name, cached):
        if _is_whole(place, model):
            return place
    straight = folder / model.weights
    if model.sha256 and _is_whole(folder, model):
        state = straight.stat()
        if straight.is_file() and _sha256_of(str(straight), state.st_size, state.st_mtime_ns) == model.sha256:
            return folder
    return None


def _is_whole(place: Path, model: Released) -> bool:
    if not (place / CONFIG_NAME).is_file():
        return False
    published, converted = place / model.weights, place / WEIGHTS_NAMES[0]
    if published.is_file() and model.size in (None, published.stat().st_size):
        return True
    return converted != published and converted.is_file()


@lru_cache(maxsize=16)
def _sha256_of(path: str, size: int, modified: int) -> str:
    """A file's SHA-256, computed once for each state of the file."""
    return file_sha256(path)


def in_hub_cache(name: str) -> Path | None:
    """The folder of a released model in huggingface_hub's own cache, where transformers puts it, or None."""
    from huggingface_hub import try_to_load_from_cache

    model = released(name)
    assert model is not None
    files = [try_to_load_from_cache(model.repository, file, revision=model.revision)
             for file in (model.weights, CONFIG_NAME)]
    return Path(files[0]).parent if all(isinstance(file, str) for file in files) else None  # type: ignore[arg-type]


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
            if weights:
                _verify(fetched, model, token)
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
    """One file to the waiting folder, through huggingface_hub, which resumes and takes care of locks."""
    import huggingface_hub
    from huggingface_hub import constants

    remedy = (f"Get the files of https://huggingface.co/{model.repository} (revision {model.revision}) another way "
              f"and put them into {waiting.parent.parent / model.name}")
    if constants.HF_HUB_OFFLINE:
        raise DownloadError(f"{model.name} is not on disk, and HF_HUB_OFFLINE forbids downloading it. {remedy}, or "
                            "unset HF_HUB_OFFLINE")
    how: dict[str, Any] = {"revision": model.revision, "local_dir": waiting, "token": token}
    if "tqdm_class" in inspect.signature(huggingface_hub.hf_hub_download).parameters:  # huggingface_hub 1.x
        how["tqdm_class"] = progress
    try:
        return Path(huggingface_hub.hf_hub_download(model.repository, file, **how))
    except Exception as error:
        if progress.interruption is not None:
            raise progress.interruption from None
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DownloadError(f"could not download {file} of {model.name}: {reason}. What has arrived is kept; try "
                            f"again to go on. {remedy}") from error


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


def _verify(path: Path, model: Released, token: str | bool | None) -> None:
    """Raises DownloadError, and removes the file, unless it has the published size and SHA-256."""
    size, sha256 = model.size, model.sha256
    if sha256 is None:
        size, sha256 = _hub_says(model, token)
    digest = file_sha256(path) if sha256 else None
    if (size is not None and path.stat().st_size != size) or digest != sha256:
        told = f"{path.stat().st_size:,} bytes" + (f", sha256 {digest}" if digest else "")
        path.unlink()
        raise DownloadError(f"{model.weights} of {model.name} is not the published file ({told}; expected "
                            f"{f'{size:,} bytes, ' if size else ''}sha256 {sha256}); removed. The mirror or a proxy "
                            "altered it: try again, or another mirror (HF_ENDPOINT)")


def _hub_says(model: Released, token: str | bool | None) -> tuple[int | None, str | None]:
    """(size, SHA-256) of the weights by the hub's own metadata: an LFS file's etag is its SHA-256."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(model.repository, model.weights, revision=model.revision)
    try:
        metadata = get_hf_file_metadata(url, token=token)
    except Exception as error:
        raise DownloadError(f"could not read the hub's checksum of {model.name}: {error}; try again") from error
    etag = (metadata.etag or "").strip('"')
    return metadata.size, etag if len(etag) == 64 else None


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def fetch_repository(name: str, *, weights: bool = True, **hub: Any) -> Path:
    """A repository of the hub, in huggingface_hub's cache.

    Args:
        name: such as "hustvl/vitmatte-small-composition-1k"; released ones come at their pinned revision.
        weights: whether the weights are wanted, besides the configuration files.
        hub: revision, cache_dir, token, local_files_only, force_download, as huggingface_hub takes them.

    Raises:
        FileNotFoundError: not a path, and not to be had from the hub; the message gives the hub's reason.
    """
    from huggingface_hub import hf_hub_download

    model = released(name)
    if model is not None:
        name, hub = model.repository, {"revision": model.revision, **hub}
    wanted = WEIGHTS_NAMES if model is None else (model.weights,)
    last: Exception | None = None
    for file in wanted if weights else (PREPROCESSOR_NAME,):
        try:
            path = Path(hf_hub_download(name, file, **hub))
            if weights:
                hf_hub_download(name, CONFIG_NAME, **hub)
            return path.parent
        except Exception as error:
            last = error
            log.debug("no %s in %s: %s", file, name, error)
    reason = str(last).strip().split("\n")[0]
    raise FileNotFoundError(f"{name!r} is no file or folder, and could not be had from the hub: {reason}") from last
