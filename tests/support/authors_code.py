"""Imports modules of ViTMatte's relatives from a copy of their authors' code, which is never ours.

Of the packages that those modules import, only what inference uses is stood in for here: detectron2's base of blocks,
Conv2d and LayerNorm, timm's Mlp, and names of fvcore, fairscale, torchvision and OpenCV that are not called.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

# What normalises their pictures, in 0..1.
MEAN, STD = (123.675 / 255, 116.280 / 255, 103.530 / 255), (58.395 / 255, 57.120 / 255, 57.375 / 255)


class ChannelNorm(nn.Module):
    """detectron2.layers.LayerNorm: over the channels of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * ((x - mean) / torch.sqrt(variance + 1e-6)) + self.bias[:, None, None]


class Mlp(nn.Module):
    """timm.models.layers.Mlp."""

    def __init__(self, in_features: int, hidden_features: int, act_layer: Any) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class BlockBase(nn.Module):
    """detectron2.layers.CNNBlockBase."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()


def _nothing(*_: Any, **__: Any) -> None:
    return None


STANDINS: dict[str, dict[str, Any]] = {
    "detectron2": {}, "detectron2.modeling": {}, "detectron2.modeling.backbone": {}, "fvcore": {}, "fvcore.nn": {},
    "fairscale": {}, "fairscale.nn": {}, "timm": {}, "timm.models": {}, "torchvision": {}, "cv2": {},
    "detectron2.layers": {"CNNBlockBase": BlockBase, "Conv2d": nn.Conv2d, "ShapeSpec": object,
                          "get_norm": lambda name, channels: ChannelNorm(channels)},
    "detectron2.modeling.backbone.fpn": {"_assert_strides_are_log2_contiguous": _nothing},
    "detectron2.structures": {"ImageList": object},
    "fvcore.nn.weight_init": {"c2_msra_fill": _nothing},
    "fairscale.nn.checkpoint": {"checkpoint_wrapper": _nothing},
    "timm.models.layers": {"DropPath": nn.Identity, "Mlp": Mlp, "trunc_normal_": nn.init.trunc_normal_},
    "einops": dict.fromkeys(("rearrange", "repeat", "reduce", "pack", "unpack"), _nothing),
}


def imported(code: Path, names: tuple[str, ...], einops: dict[str, Any] | None = None) -> list[Any]:
    """Modules of their folder `modeling`, by names such as "backbone.vit".

    Args:
        code: the folder of their repository.
        einops: of its functions, those that are called.
    """
    with _importable(code, sorted({name.rpartition(".")[0] for name in names}), einops or {}):
        return [importlib.import_module(f"modeling.{name}") for name in names]


@contextlib.contextmanager
def _importable(code: Path, folders: list[str], einops: dict[str, Any]) -> Iterator[None]:
    """Their modules one by one: the packages' own __init__ import what nobody here needs."""
    packages = ("modeling", *(f"modeling.{folder}" for folder in folders))
    names = (*STANDINS, *packages)
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name in names}
    for name, inside in STANDINS.items():
        module = types.ModuleType(name)
        vars(module).update(inside)
        sys.modules[name] = module
    vars(sys.modules["fvcore.nn"])["weight_init"] = sys.modules["fvcore.nn.weight_init"]
    vars(sys.modules["einops"]).update(einops)
    for name in packages:
        package = types.ModuleType(name)
        package.__path__ = [str(code.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name in names or name.startswith("modeling.")]:
            del sys.modules[name]
        sys.modules.update(kept)
