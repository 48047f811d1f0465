"""Anybody's repository of the hub, in huggingface_hub's own cache."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from .checksums import has_checksum, is_checksum
from .config_file import CONFIG_NAME, PREPROCESSOR_NAME
from .download import DownloadError
from .infer_config import WEIGHTS_NAMES
from .released import released

log = logging.getLogger(__name__)

# What huggingface_hub is told about where a file comes from.
HUB_ARGUMENTS = ("revision", "cache_dir", "token", "local_files_only", "force_download")


def fetch_file(name: str, file: str, **hub: Any) -> Path:
    """One file of a repository of the hub, in huggingface_hub's cache; see `fetch_repository`.

    Raises:
        FileNotFoundError: not a path, and not to be had from the hub; the message gives the hub's reason.
    """
    model = released(name)
    if model is not None:
        name, hub = model.repository, {"revision": model.revision, **hub}
    try:
        return _to_cache(name, file, **hub)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(f"{name!r} is no file or folder, and {file} could not be had from the hub: "
                                f"{reason}") from error


def fetch_repository(name: str, *, weights: bool = True, subfolder: str = "", **hub: Any) -> Path:
    """A repository of the hub, in huggingface_hub's cache.

    Args:
        name: such as "hustvl/vitmatte-small-composition-1k"; released ones come at their pinned revision.
        weights: whether the weights are wanted, besides the configuration files.
        subfolder: where in the repository.
        hub: revision, cache_dir, token, local_files_only, force_download, as huggingface_hub takes them.

    Returns:
        The folder that holds the files.

    Raises:
        FileNotFoundError: not a path, and not to be had from the hub; the message gives the hub's reason.
    """
    model = released(name)
    wanted = WEIGHTS_NAMES if model is None else (model.weights,)
    last: Exception | None = None
    for file in wanted if weights else (PREPROCESSOR_NAME,):
        try:
            path = fetch_file(name, f"{subfolder}/{file}".lstrip("/"), **hub)
            if weights:
                fetch_file(name, f"{subfolder}/{CONFIG_NAME}".lstrip("/"), **hub)
            return path.parent
        except FileNotFoundError as error:
            last = error
            log.debug("no %s in %s: %s", file, name, error)
    assert last is not None
    raise last


def _to_cache(name: str, file: str, **hub: Any) -> Path:
    """One file in huggingface_hub's cache; what has just been downloaded is verified. DownloadError, and no file,
    where its bytes are others."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    where = {key: hub[key] for key in ("cache_dir", "revision") if hub.get(key) is not None}
    there = isinstance(try_to_load_from_cache(name, file, **where), str) and not hub.get("force_download")
    path = Path(hf_hub_download(name, file, **hub))
    content = path.resolve()  # the cache names contents by their etags, where the system has links
    if not there and is_checksum(content.name) and not has_checksum(content, content.name):
        for altered in {path, content}:
            altered.unlink(missing_ok=True)
        raise DownloadError(f"{file} of {name} is not the published file (its checksum is not {content.name}); removed")
    return path
