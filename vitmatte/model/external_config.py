"""The description of another library's backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHANNELS = 4  # RGB and trimap


@dataclass(frozen=True)
class ExternalConfig:
    """Another library's backbone: a description as in config.json, or a name that stands for one.

    Args:
        described: the arguments with "model_type", as transformers writes them; None where `name` says what it is.
        name: a hub id or folder for transformers, a model's name for timm.
        timm: whether `name` is timm's.
        pretrained: whether a name starts from its published weights, or random ones.
        arguments: further arguments of a name, such as {"out_indices": [2]}.
    """

    described: Mapping[str, Any] | None = None
    name: str | None = None
    timm: bool = False
    pretrained: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_channels(self) -> int:
        """Channels of the input. A backbone that knows three is given a fourth, for the trimap."""
        given = (self.described or self.arguments).get("num_channels", 3)
        return CHANNELS if given == 3 else given
