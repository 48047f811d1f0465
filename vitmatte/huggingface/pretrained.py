"""Folders as transformers has them: any net from one, any net to one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..files import whole_files
from ..model.vitdet import VitDetBackbone
from ..model.vitmatte import VitMatteForImageMatting
from ..weights.checkpoint import WEIGHTS_NAMES, find_weights, load_state, naming, placed, read_net
from ..weights.tensors import read_tensors, write_safetensors
from .hub_config import CONFIG_NAME
from .net import Net

N = TypeVar("N", bound=Net)


def load_into(
    kind: type[N],
    path: Path | None,
    *,
    config: Any = None,
    overrides: Mapping[str, Any],
    dtype: torch.dtype | None,
    device: torch.device,
    state: Mapping[str, Tensor] | None = None,
    keep_fresh: bool = False,
) -> tuple[N, set[str]]:
    """Loads a net of a kind; see `Net.from_pretrained`. A ViTDet is also taken out of a ViTMatte's file.

    Returns:
        (the net, names of tensors that were left out because they have another shape).
    """
    if unknown := [name for name in overrides if not hasattr(config or kind.config_class(), name)]:
        raise TypeError(f"{kind.__name__}.from_pretrained: unknown arguments {', '.join(sorted(unknown))}")
    where, layout, found, tensors = "state_dict", "hub", deepcopy(config), dict(state or {})
    if path is not None:
        where, layout, found, tensors = _file(kind, path, config, state)
    found.update(overrides)
    with naming(where):
        net = kind(found, device=None if keep_fresh else "meta")
    other: set[str] = set()
    if keep_fresh:
        fresh = net.state_dict()
        other = {name for name, value in tensors.items() if name in fresh and value.shape != fresh[name].shape}
        tensors = {**tensors, **{name: fresh[name] for name in other}}
    load_state(net, placed(tensors, where, device, dtype), where=where, layout=layout)
    if isinstance(net, VitMatteForImageMatting):
        net.place_foreign(device, dtype)
    net.config.dtype = net.dtype
    return net.eval(), other


def _file(
    kind: type[Net], path: Path, config: Any, state: Mapping[str, Tensor] | None
) -> tuple[str, str, Any, dict[str, Tensor]]:
    """(file's name, layout, configuration, tensors), the last two unless they are given."""
    if issubclass(kind, VitMatteForImageMatting) and state is None:
        weights, tensors, layout, config = read_net(path, config)
        return str(weights), layout, config, tensors
    weights = find_weights(path)
    found = deepcopy(config) or kind.config_class.from_json_file(weights.with_name(CONFIG_NAME))
    content = read_tensors(weights) if state is None else state
    if issubclass(kind, VitDetBackbone):
        content = {k.removeprefix("backbone."): v for k, v in content.items() if not k.startswith("decoder.")}
    return str(weights), "hub", found, dict(content)


def save_net(net: Net, folder: str | os.PathLike[str], state: Mapping[str, Tensor] | None = None) -> None:
    """Writes config.json and model.safetensors to a folder; see `Net.save_pretrained`."""
    if getattr(net, "folded", False):
        raise ValueError("this net's BatchNorms are folded into its convolutions; save the one that from_pretrained "
                         "gives instead")
    folder = Path(folder)
    described = {"architectures": [type(net).__name__], **net.config.to_dict()}
    state = net.state_dict() if state is None else state
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    # Both or neither: weights beside the configuration of another net could not be loaded.
    with whole_files(folder / CONFIG_NAME, folder / WEIGHTS_NAMES[0]) as (config, weights):
        write_safetensors(weights, tensors)
        config.write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")
