"""Nets to folders in the hub's layout."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files import check_new_folder, whole_files
from ..model.vitmatte import ViTMatte
from .config_file import CONFIG_NAME, described
from .infer_config import WEIGHTS_NAMES
from .tensors import write_safetensors

ARCHITECTURE = "VitMatteForImageMatting"  # transformers' name of the class that loads it
DIFFMATTE = "DiffMatte"  # no class of transformers


def save_net(net: ViTMatte, folder: str | os.PathLike[str]) -> None:
    """Writes config.json and model.safetensors to a folder, which load here and, of a ViTMatte, in transformers; both
    or neither.

    transformers refuses a net that routes tokens, which it does not know.

    Raises:
        ValueError: for a folded net. OSError: the folder cannot be written.
    """
    name = ARCHITECTURE if net.architecture.diffusion is None else DIFFMATTE
    write_net(net.state_dict(), {"architectures": [name], **described(net.architecture)}, folder, folded=net.folded)


def write_net(
    state: Mapping[str, Tensor], config: Mapping[str, Any], folder: str | os.PathLike[str], *, folded: bool = False
) -> None:
    """Writes tensors and the content of a config.json; see `save_net`."""
    if folded:
        raise ValueError("this net's BatchNorms are folded into its convolutions; save the one that from_pretrained "
                         "gives instead")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    check_new_folder(folder, "folder")
    # Both or neither: weights beside the configuration of another net could not be loaded.
    with whole_files(Path(folder) / CONFIG_NAME, Path(folder) / WEIGHTS_NAMES[0]) as (text, weights):
        write_safetensors(weights, tensors)
        text.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
