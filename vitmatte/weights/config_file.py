"""config.json: read into an architecture, and written from one. Keys that say nothing of the net are left out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..model.config import MattingConfig, TransformerConfig, pair
from ..model.external_config import ExternalConfig
from ..values import FLAG, SIZE, Rule, as_json, check_values, is_int, read_json
from . import diffmatte

CONFIG_NAME = "config.json"
PREPROCESSOR_NAME = "preprocessor_config.json"

# What Hugging Face documents for a VitDetConfig whose file does not say.
VITDET_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768, "num_attention_heads": 12, "image_size": 224, "pretrain_image_size": 224, "patch_size": 16,
    "num_channels": 3, "window_block_indices": (), "residual_block_indices": (), "window_size": 0,
    "use_relative_position_embeddings": False,
}
# What stands for "vitdet" where tokens are routed. It is a name that transformers does not know, so that it refuses a
# net that it cannot hold instead of filling in random weights.
ROUTED_TYPE = "mematte_vitdet"
SIZES = ("image_size", "pretrain_image_size", "patch_size")
LISTS = ("window_block_indices", "residual_block_indices", "convstream_hidden_sizes", "fusion_hidden_sizes")
STAGES = ("out_features", "out_indices")
APART = ("backbone", "diffusion")  # what is read by itself
# What says which backbone it is by a name.
NAME_RULES = {
    "backbone": Rule(lambda v: v is None or (isinstance(v, str) and v != ""), "a name, or None"),
    "use_timm_backbone": FLAG, "use_pretrained_backbone": FLAG,
    "backbone_kwargs": Rule(lambda v: v is None or isinstance(v, dict), "a dict, or None"),
}
BY_NAME = tuple(NAME_RULES)


def read_config(path: str | os.PathLike[str]) -> MattingConfig:
    """The architecture that a config.json describes. Raises ValueError, which names the file."""
    try:
        return matting_config(read_json(path))
    except ValueError as error:
        told = str(error)
        raise error if str(path) in told else ValueError(f"{path}: {told}") from error


def matting_config(values: Mapping[str, Any], owner: str = "VitMatteConfig") -> MattingConfig:
    """The architecture that the content of a config.json describes.

    Args:
        values: the content; without a backbone it is that of vitmatte-small-composition-1k.
        owner: begins the messages.

    Raises:
        ValueError: when `model_type` says that it is another model's, or a value is not as documented.
    """
    given = {f.name: values[f.name] for f in fields(MattingConfig) if f.name in values and f.name not in APART}
    if values.get("model_type") == diffmatte.MODEL_TYPE:
        given |= diffmatte.described_fields(values, owner)
    else:
        check_model_type(values, "vitmatte", owner)
    backbone = backbone_of(values, owner)
    return _built(MattingConfig, {**given, "backbone": backbone}, owner)


def check_model_type(values: Mapping[str, Any], model_type: str, owner: str) -> None:
    """Raises ValueError when a content says that it is another model's."""
    found = values.get("model_type", model_type)
    if found == diffmatte.MODEL_TYPE != model_type:
        raise ValueError(f"{owner}: model_type is {found!r}, a DiffMatte; {owner} and what is built on it describe "
                         "ViTMatte alone: load the net with load_model, and give it to matte")
    if found != model_type:
        raise ValueError(f"{owner}: model_type is {found!r:.200}; expected {model_type!r}: this is the configuration "
                         "of another model")


def backbone_of(values: Mapping[str, Any], owner: str) -> TransformerConfig | ExternalConfig:
    """The backbone that the content of a config.json describes; errors as in `matting_config`."""
    name, described = values.get("backbone"), values.get("backbone_config")
    check_values(owner, values, NAME_RULES)
    if name is not None and described is not None:
        raise ValueError(f"{owner}: backbone is {name!r:.200}; expected nothing, because backbone_config is given too; "
                         "give one of the two")
    if name is not None:
        return ExternalConfig(name=name, timm=bool(values.get("use_timm_backbone")),
                              pretrained=bool(values.get("use_pretrained_backbone")),
                              arguments=dict(values.get("backbone_kwargs") or {}))
    for key in BY_NAME[1:]:
        if values.get(key):
            raise ValueError(f"{owner}: {key} is {values[key]!r:.200}; expected nothing "
                             + ("without backbone, the name that it is about" if described is None else "because "
                                "backbone_config is given too; it goes with backbone, a name: give one of the two"))
    if described is None:
        return TransformerConfig()
    if not isinstance(described, Mapping):
        raise ValueError(f"{owner}: backbone_config is {described!r:.200}; expected a VitDetConfig, a configuration of "
                         "transformers, or a dict")
    if not is_vitdet(described):
        return ExternalConfig(described=as_json(dict(described)))
    return transformer_config(described)


def is_vitdet(values: Mapping[str, Any]) -> bool:
    """Whether the content of a backbone's configuration is that of a ViTDet, with routed tokens or without."""
    return values.get("model_type", "vitdet") in ("vitdet", ROUTED_TYPE)


def as_vitdet(values: Mapping[str, Any], owner: str) -> Mapping[str, Any]:
    """The content of a ViTDet's configuration with the `model_type` "vitdet", also where tokens are routed.

    Raises:
        ValueError: tokens are routed, but nothing says how many at most.
    """
    if values.get("model_type") != ROUTED_TYPE:
        return values
    if values.get("max_routed_tokens") is None:
        raise ValueError(f"{owner}: max_routed_tokens is None; expected a whole number of at least 1, because "
                         f"model_type is {ROUTED_TYPE!r}")
    return {**values, "model_type": "vitdet"}


def transformer_config(values: Mapping[str, Any], owner: str = "VitDetConfig") -> TransformerConfig:
    """The architecture that the content of a ViTDet's configuration describes; errors as in `matting_config`."""
    values = as_vitdet(values, owner)
    check_model_type(values, "vitdet", owner)
    known = {f.name for f in fields(TransformerConfig)} - {"last_block"}
    given = {**VITDET_DEFAULTS, **{key: value for key, value in values.items() if key in known}}
    check_values(owner, given, dict.fromkeys(SIZES, SIZE))
    for key in SIZES:
        given[key] = pair(given[key])
    blocks = given.get("num_hidden_layers", TransformerConfig.num_hidden_layers)
    built = _built(TransformerConfig, given, owner)
    stages = out_stages(blocks, values.get("out_features"), values.get("out_indices"), owner)
    return _built(TransformerConfig, {**given, "last_block": max(stages)}, owner) if max(stages) != blocks else built


def stage_names(blocks: int) -> list[str]:
    """"stem" and one name per block; place = number of blocks that have run."""
    return ["stem", *(f"stage{i}" for i in range(1, blocks + 1))]


def out_stages(blocks: int, features: Sequence[str] | None, indices: Sequence[int] | None, owner: str) -> list[int]:
    """The stages to give out, as numbers of blocks that have run; the last where neither names nor numbers say.

    Raises:
        ValueError: for unknown stages, or names and numbers that disagree.
    """
    names = stage_names(blocks)
    known = Rule(lambda v: isinstance(v, (list, tuple)) and bool(v) and all(x in names for x in v),
                 f"names out of {names[0]}, {names[1]} to {names[-1]}, at least one name")
    numbers = Rule(lambda v: isinstance(v, (list, tuple)) and bool(v) and all(
        is_int(x) and -len(names) <= x < len(names) for x in v), f"numbers from 0 to {blocks}, at least one number")
    if features is not None:
        known.check(owner, "out_features", features)
    if indices is not None:
        numbers.check(owner, "out_indices", indices)
    by_name = None if features is None else [names.index(x) for x in features]
    by_number = None if indices is None else [x % len(names) for x in indices]
    if by_name is not None and by_number is not None and by_name != by_number:
        raise ValueError(f"{owner}: out_indices is {list(indices or ())}; expected the numbers of out_features "
                         f"{list(features or ())}")
    return by_number or by_name or [blocks]


def _built(kind: Any, values: dict[str, Any], owner: str) -> Any:
    """A frozen configuration; its messages begin with `owner` instead of its own name."""
    plain = {key: tuple(value) if key in LISTS and isinstance(value, list) else value for key, value in values.items()}
    try:
        return kind(**plain)
    except ValueError as error:
        raise ValueError(str(error).replace(f"{kind.__name__}:", f"{owner}:", 1)) from error


def described(config: MattingConfig) -> dict[str, Any]:
    """An architecture as the content of a config.json, which loads here and, of a ViTMatte without routed tokens, in
    transformers."""
    values: dict[str, Any] = {"model_type": "vitmatte"}
    for f in fields(MattingConfig):
        if f.name not in APART:
            value = getattr(config, f.name)
            values[f.name] = list(value) if isinstance(value, tuple) else value
    if not config.refine:
        del values["refine"]
    if config.diffusion is not None:
        values |= diffmatte.described(config.diffusion)
    if config.transformer is not None:
        values["backbone_config"] = described_transformer(config.transformer)
    elif config.external is not None:
        values["backbone_config"] = dict(config.external.described or {})
    return values


def described_transformer(config: TransformerConfig) -> dict[str, Any]:
    """The content of a ViTDet's configuration."""
    values: dict[str, Any] = {"model_type": "vitdet"}
    for f in fields(TransformerConfig):
        value = getattr(config, f.name)
        if f.name in SIZES:
            value = value[0] if value[0] == value[1] else list(value)
        values[f.name] = list(value) if isinstance(value, tuple) else value
    del values["last_block"]
    for own in ("attention_reach", "max_routed_tokens"):
        if values[own] is None:
            del values[own]
    if config.max_routed_tokens is not None:
        values["model_type"] = ROUTED_TYPE
    return {**values, "out_features": [f"stage{config.depth}" if config.depth else "stem"],
            "out_indices": [config.depth]}
