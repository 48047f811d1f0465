"""The commands `vitmatte models` and `vitmatte download`."""

from __future__ import annotations

import argparse
from typing import Any

from ..weights.download import download
from ..weights.released import BUNDLED, RELATIVES, RELEASED, on_disk
from .told import tell


def register(commands: Any) -> list[argparse.ArgumentParser]:
    """Adds the commands to the command line's subparsers, and gives their own."""
    models = commands.add_parser("models", help="what is bundled, on disk, and can be downloaded")
    models.set_defaults(run=_models)
    fetch = commands.add_parser("download", help="fetch a released model")
    fetch.set_defaults(run=_download)
    fetch.add_argument("name", metavar="NAME", choices=list(RELEASED), help="one of: " + ", ".join(RELEASED))
    return [models, fetch]


def _models(options: argparse.Namespace) -> int:
    print(f"{BUNDLED:34} bundled       small and quick, trained by this project")
    for model in RELEASED.values():
        place = on_disk(model.name, options.models_folder)
        state = "on disk" if place else "downloadable"
        print(f"{model.name:34} {state:13} SAD / MSE {model.accuracy}; {model.licence}")
    for name, notes in RELATIVES.items():
        print(f"{name:34} {'your own file':13} {notes}")
    print(f"Downloads are kept in {options.models_folder}.")
    return 0


def _download(options: argparse.Namespace) -> int:
    model = RELEASED[options.name]
    tell(f"{model.name}: {model.licence}")
    print(on_disk(model.name, options.models_folder) or download(model.name, options.models_folder))
    return 0
