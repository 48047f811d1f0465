"""Where ComfyUI keeps ViTMatte's files, and what the loader offers.

Other packs keep theirs in the same folders, and each must go on finding its own: LayerStyle downloads the small model
straight into models/vitmatte, but only where that folder does not exist, and the base model into
models/vitmatte-base-composition-1k; SimpleSyrup uses both, and models/vitmatte/NAME. So a download goes to models/NAME,
models/vitmatte is never made, and a model is looked for in all of these.
"""

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
        return models.on_disk(choice, *folder_paths.get_folder_paths(KEY), folder_paths.models_dir) or choice
    return Path(folder_paths.get_full_path_or_raise(KEY, choice))


def download_folder() -> str:
    """Where a released model is downloaded to, as a folder of its name: the folder that extra_model_paths.yaml names
    first, or else ComfyUI's models."""
    own = os.path.join(folder_paths.models_dir, KEY)
    first = folder_paths.get_folder_paths(KEY)[0]
    return folder_paths.models_dir if os.path.abspath(first) == os.path.abspath(own) else first


def previews_folder() -> str:
    """Where previews are written; made where it does not exist."""
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    return folder


def new_output(prefix: str, suffix: str, size: tuple[int, int]) -> tuple[Path, str]:
    """(a file in ComfyUI's output folder that is not there yet, its folder within that one), named as ComfyUI's own
    nodes name theirs.

    Args:
        prefix: of the name; may have folders, and %width%, %height%, %year% and so on.
        suffix: of the name.
        size: (height, width) of what is written.

    Raises:
        Exception: a prefix that leads out of the output folder.
    """
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), size[1], size[0])
    return Path(folder, f"{name}_{counter:05}_{suffix}"), subfolder


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
