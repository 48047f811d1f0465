"""Nets with random weights, of the released sizes: weights do not matter to speed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from vitmatte import VitMatteConfig, VitMatteImageProcessor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from nets import random_net, randomise  # noqa: E402  the tests' own

__all__ = ["HEADS", "make_weights", "net_config", "random_net", "randomise"]

HEADS = {"S": 6, "B": 12}  # of 64 channels each


def net_config(model: str) -> VitMatteConfig:
    """The configuration of a released size."""
    width = 64 * HEADS[model]
    base = VitMatteConfig().vitdet
    assert base is not None
    backbone = replace(base, hidden_size=width, num_attention_heads=HEADS[model])
    return VitMatteConfig(backbone_config=backbone, hidden_size=width)


def make_weights(folder: Path) -> None:
    """Nets of both sizes, in the hub's layout, in folders of their names."""
    for name in HEADS:
        random_net(net_config(name)).save_pretrained(folder / name)
        VitMatteImageProcessor().save_pretrained(folder / name)
