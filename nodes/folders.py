"""Where ComfyUI keeps ViTMatte's files, and what the loader offers."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ..vitmatte.weights import released as models
from ..vitmatte.weights.load import SUFFIXES

KEY = "vitmatte"  # models/vitmatte, the folder other packs use as well
BUNDLED = f"{models.BUNDLED} (bundled)"


def register() -> None:
    """Makes models/vitmatte known, with the suffixes of weights, also where extra_model_paths.yaml named it first."""
    folder_paths.add_model_folder_path(KEY, os.path.join(folder_paths.models_dir, KEY))
    paths, suffixes = folder_paths.folder_names_and_paths[KEY]
    folder_paths.folder_names_and_paths[KEY] = (paths, set(suffixes) | set(SUFFIXES))


def choices() -> list[str]:
    """The loader's list: the bundled model, the released ones, then the user's own files."""
    ours = {f"{name}/{weights}" for name, model in models.RELEASED.items() for weights in _weights(model)}
    files = [name for name in folder_paths.get_filename_list(KEY) if name.replace(os.sep, "/") not in ours]
    return [BUNDLED, *models.RELEASED, *sorted(file for file in files if not file.startswith(".incomplete"))]


def _weights(model: models.Released) -> set[str]:
    return {model.weights, "model.safetensors"}


def resolve(choice: str) -> str | Path:
    """What `load_model` takes for an entry of `choices`.

    Raises:
        FileNotFoundError: an entry that is not there (any more), or reaches outside the model folders.
    """
    if choice == BUNDLED:
        return models.BUNDLED
    if choice in models.RELEASED:
        places = (models.on_disk(choice, folder) for folder in folder_paths.get_folder_paths(KEY))
        return next((place for place in places if place), choice)
    return Path(folder_paths.get_full_path_or_raise(KEY, choice))


def download_folder() -> str:
    """Where a released model is downloaded to: the first folder of the key."""
    return folder_paths.get_folder_paths(KEY)[0]


def fingerprint(choice: str) -> str:
    """Changes when the chosen file does, so that ComfyUI loads it again."""
    try:
        path = resolve(choice)
    except FileNotFoundError:
        return choice
    if not isinstance(path, Path):
        return choice
    state = path.stat()
    return f"{path} {state.st_size} {state.st_mtime_ns}"
