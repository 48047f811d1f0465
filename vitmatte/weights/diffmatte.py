"""DiffMatte's files: how they are recognised, and what their tensors and their config.json say of the decoder.

The authors' checkpoints hold ViTMatte's backbone by its authors' names, and the decoder `DUNet`; under "model", with
the prefix "model.". How many steps are made and from which noise is in no tensor: the authors' values are taken. Where
a net is to have others, `save_net` writes it with a config.json whose "diffusion" says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor

from ..model.diffusion import DiffusionConfig

MODEL_TYPE = "diffmatte"
DETAILS = (32, 64, 128)  # channels of the detail maps in every published net
DECODER = ("decoder.time_embed.", "decoder.down_blks.", "decoder.mid_blk.", "decoder.up_blks.")
BACKBONE = ("backbone.blocks.", "backbone.encoder.layer.")


def is_diffmatte(names: Iterable[str]) -> bool:
    """Whether names of parameters, without prefixes, are a DiffMatte's."""
    return any(name.startswith(DECODER) for name in names)


def check_backbone(names: Iterable[str], where: str) -> None:
    """Raises ValueError for a DiffMatte whose backbone is another than ViTMatte's."""
    if not any(name.startswith(BACKBONE) for name in names):
        raise ValueError(f"{where} is a DiffMatte, but its backbone is no plain transformer (its authors also give out "
                         "one with a ResNet and one with a Swin); expected DiffMatte-ViTS or DiffMatte-ViTB")


def decoder_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of a MattingConfig that a DiffMatte's decoder shows in its shapes; KeyError or IndexError where it
    is not whole."""
    inner, times = state["decoder.time_embed.0.weight"].shape

    def channels(pattern: str) -> list[int]:
        count = len({name.split(".")[2] for name in state if name.startswith(pattern.partition("{")[0])})
        return [state[pattern.format(i)].shape[0] for i in range(count)]

    return {
        "convstream_hidden_sizes": tuple(channels("decoder.down_blks.{}.conv2.weight")),
        "fusion_hidden_sizes": (state["decoder.mid_blk.conv2.weight"].shape[0],
                                *channels("decoder.up_blks.{}.conv2.weight")),
        "diffusion": DiffusionConfig(time_channels=times, embedding_channels=inner),
    }


def described_fields(values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The fields of a MattingConfig that a DiffMatte's config.json has and a ViTMatte's has not.

    Raises:
        ValueError: for another type of "diffusion" than an object, or a value that is not as documented.
    """
    given = values.get("diffusion", {})
    if not isinstance(given, Mapping):
        raise ValueError(f"{owner}: diffusion is {given!r:.200}; expected an object with some of "
                         f"{', '.join(f.name for f in fields(DiffusionConfig))}")
    known = {f.name: given[f.name] for f in fields(DiffusionConfig) if f.name in given}
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{owner}: diffusion has {unknown[0]!r:.100}; expected "
                         f"{', '.join(f.name for f in fields(DiffusionConfig))}")
    try:
        diffusion = DiffusionConfig(**known)
    except ValueError as error:
        raise ValueError(str(error).replace("DiffusionConfig:", f"{owner}: diffusion:", 1)) from error
    return {"convstream_hidden_sizes": values.get("convstream_hidden_sizes", DETAILS), "diffusion": diffusion}


def described(config: DiffusionConfig) -> dict[str, Any]:
    """What a DiffMatte's config.json has besides what a ViTMatte's has."""
    return {"model_type": MODEL_TYPE, "diffusion": asdict(config)}
