"""What nets give out: objects that also read as dicts and as tuples, as transformers' do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


class Output:
    """A dataclass of results, of which absent ones are None: `output.alphas`, `output["alphas"]`, `output[0]`."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, in order."""
        return tuple(self.values())

    def keys(self) -> list[str]:
        """Names of the fields that are present."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]  # type: ignore[arg-type]

    def values(self) -> list[Any]:
        """The fields that are present."""
        return [getattr(self, name) for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        """(name, value) of the fields that are present."""
        return list(zip(self.keys(), self.values(), strict=True))

    def get(self, key: str, default: Any = None) -> Any:
        """A field by name, or the default where it is absent."""
        return getattr(self, key) if key in self.keys() else default

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


@dataclass
class BackboneOutput(Output):
    """feature_maps: one [B, C, H, W] per stage of the configuration; the others by request.

    hidden_states: [B, C, H, W] before the first and after each block; attentions: per block
    [pictures (times windows), heads, tokens, tokens].
    """

    feature_maps: tuple[Tensor, ...] = ()
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class TransformerOutput(Output):
    """last_hidden_state: [B, C, H, W] after the last block; the others as in `BackboneOutput`."""

    last_hidden_state: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class ImageMattingOutput(Output):
    """loss: scalar, with labels. alphas: [B, 1, H, W] in 0..1. The others as in `BackboneOutput`."""

    loss: Tensor | None = None
    alphas: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


for kind in (BackboneOutput, TransformerOutput, ImageMattingOutput):
    # So that nets can be exported as they are, and the programs saved.
    torch.export.register_dataclass(kind, serialized_type_name=f"{kind.__module__}.{kind.__name__}")
