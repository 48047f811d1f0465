"""The models there are: bundled and released ones, and where on disk a released one may lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from os.path import isfile  # unlike Path.is_file, it answers for names that are too long as well
from pathlib import Path

from .checksums import file_sha256
from .config_file import CONFIG_NAME
from .infer_config import WEIGHTS_NAMES
from .mematte import LICENCE as MEMATTE_LICENCE

BUNDLED = "vitmatte-tiny"
BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled" / BUNDLED

COMPOSITION_LICENCE = (
    "trained on Adobe's Composition-1k, whose terms are non-commercial, although the hub says Apache-2.0"
)
DISTINCTIONS_LICENCE = "trained on Distinctions-646, which its authors give out for research; the hub says Apache-2.0"


# Nets that others publish where nothing can be pinned, so that they are the user's files: what to know of each.
RELATIVES = {
    "MEMatte-ViTS, -ViTB": f"SAD / MSE 21.90 / 3.37, 21.06 / 3.11; {MEMATTE_LICENCE}",
    "DiffMatte-ViTS, -ViTB": "SAD / MSE 20.52 / 3.06, 18.63 / 2.54, S of 1024 pixels 17.15 / 2.26; trained on Adobe's "
                             "Composition-1k, whose terms are non-commercial, although their code is MIT",
}


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


def on_disk(name: str, *folders: str | os.PathLike[str] | None) -> Path | None:
    """The folder of a released model that is there whole, or None.

    Looked for in folder/name of each folder (downloaded here, or put there by hand; the size is compared where it is
    known) and in a huggingface_hub cache made there; then straight in each folder, where other packs put a model's
    files, and where the SHA-256 must tell which model it is.

    Args:
        name: with or without "hustvl/"; None for any other name.
        folders: in the order they are looked through; `default_folder` for None, and where none is given.
    """
    model = released(name)
    if model is None:
        return None
    searched = [Path(folder or default_folder()) for folder in folders or (None,)]
    for folder in searched:
        for place in (folder / model.name, _snapshot(folder, model)):
            if _is_whole(place, model):
                return place
    return next((folder for folder in searched if _is_straight_in(folder, model)), None)


def _is_straight_in(folder: Path, model: Released) -> bool:
    """Whether a folder's own files are the model's."""
    weights = folder / model.weights
    if not model.sha256 or not isfile(folder / CONFIG_NAME) or not isfile(weights):
        return False
    state = weights.stat()
    if model.size not in (None, state.st_size):
        return False
    return _sha256_of(str(weights), state.st_size, state.st_mtime_ns) == model.sha256


def _snapshot(cache: Path, model: Released) -> Path:
    """Where a huggingface_hub cache keeps the model's pinned revision."""
    return cache / f"models--{model.repository.replace('/', '--')}" / "snapshots" / model.revision


def _is_whole(place: Path, model: Released) -> bool:
    if not isfile(place / CONFIG_NAME):
        return False
    published, converted = place / model.weights, place / WEIGHTS_NAMES[0]
    if isfile(published) and model.size in (None, published.stat().st_size):
        return True
    return converted != published and isfile(converted)


@lru_cache(maxsize=16)
def _sha256_of(path: str, size: int, modified: int) -> str:
    """A file's SHA-256, computed once for each state of the file."""
    return file_sha256(path)


def in_hub_cache(name: str) -> Path | None:
    """The folder of a released model in huggingface_hub's own cache, where transformers puts it, or None."""
    from huggingface_hub import constants

    model = released(name)
    assert model is not None
    place = _snapshot(Path(constants.HF_HUB_CACHE), model)
    return place if _is_whole(place, model) else None
