"""Backbones of transformers and timm: built here, and both libraries imported only here, when a net asks for one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .external_config import CHANNELS, ExternalConfig

TIMM = "timm_backbone"  # transformers' model_type for any of timm's
TIMM_ARGUMENTS = "timm_kwargs"  # ours, in such a configuration: what else timm.create_model is given
DTYPES = ("dtype", "torch_dtype")  # say how weights were saved, not what the net is

# What makes timm's transformers take any size; most take one of the two, convolutional nets neither.
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


class TimmBackbone(nn.Module):
    """timm's feature extractor, under the name that transformers gives it in checkpoints.

    Args:
        described: backbone (timm's name), num_channels, out_indices (default the last), output_stride,
            freeze_batch_norm_2d, and `TIMM_ARGUMENTS`.
        pretrained: whether to start from published weights.
    """

    def __init__(self, described: Mapping[str, Any], *, pretrained: bool) -> None:
        super().__init__()
        name = described.get("backbone")
        timm = _library("timm", f"backbone {name!r}")
        # Its own keys stay out of the call where they say nothing: not every model of timm knows them.
        how = {k: v for k in ("output_stride",) if (v := described.get(k)) is not None}
        how |= {"features_only": True, "in_chans": described["num_channels"],
                "out_indices": tuple(described.get("out_indices") or (-1,)), **described.get(TIMM_ARGUMENTS, {})}
        try:
            self._backbone = _created(timm, name, pretrained, how)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"timm {timm.__version__} makes no backbone {name!r} of {how}: {error}. "
                             "timm.list_models() lists its names") from error
        if described.get("freeze_batch_norm_2d"):
            self._backbone = timm.utils.freeze_batch_norm_2d(self._backbone)

    def forward(self, pixel_values: Any) -> Any:
        """[B, channels, H, W] to the list of feature maps [B, C, h, w]."""
        maps = self._backbone(pixel_values)
        # Some of timm's transformers keep channels last.
        last = getattr(self._backbone, "output_fmt", None) == "NHWC"
        return [x.permute(0, 3, 1, 2) for x in maps] if last else maps


def _created(timm: Any, name: Any, pretrained: bool, how: dict[str, Any]) -> nn.Module:
    for any_size in ANY_SIZE:
        try:
            return timm.create_model(name, pretrained=pretrained, **{**any_size, **how})
        except TypeError:
            if not any_size:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def build(config: ExternalConfig) -> tuple[ExternalConfig, nn.Module]:
    """Another library's backbone, on the CPU in float32.

    Returns:
        (its description in place of a name, as it is to be saved; the backbone, which takes `config.num_channels`
        channels).

    Raises:
        ImportError: transformers or timm is not installed; the message says how to.
        ValueError: they know no such backbone. OSError: a named one is not to be had (transformers' message).
    """
    if config.name is not None and not config.timm:
        described, module = _named(config.name, config.pretrained, config.arguments)
    else:
        described = _timm_by_name(config) if config.name is not None else dict(config.described or {})
        described["num_channels"] = config.num_channels
        if described.get("model_type") == TIMM:
            # timm would spread published weights of three channels over four.
            alone = {**described, "num_channels": 3} if config.pretrained else described
            module = TimmBackbone(alone, pretrained=config.pretrained)
        else:
            module = _described(described)
        if config.pretrained:
            widen(module)
    return ExternalConfig(described=described), module.float()


def _timm_by_name(config: ExternalConfig) -> dict[str, Any]:
    given = dict(config.arguments)
    known = ("out_indices", "output_stride", "freeze_batch_norm_2d")
    own: dict[str, Any] = {k: given.pop(k) for k in known if k in given}
    given.pop("num_channels", None)
    own["out_indices"] = list(own.get("out_indices") or (-1,))
    return {"model_type": TIMM, "backbone": config.name, "features_only": True, **own, TIMM_ARGUMENTS: given}


def _described(described: Mapping[str, Any]) -> nn.Module:
    """transformers' backbone with a configuration as in its config.json, and random weights."""
    kind = described["model_type"]
    transformers = _library("transformers", f"a backbone with model_type {kind!r:.200}")
    if kind not in transformers.CONFIG_MAPPING:
        raise ValueError(f"backbone_config: transformers {transformers.__version__} knows no model_type {kind!r:.200}")
    theirs = transformers.CONFIG_MAPPING[kind].from_dict({k: v for k, v in described.items() if k not in DTYPES})
    return _from_config(transformers, theirs)


def _from_config(transformers: Any, theirs: Any) -> nn.Module:
    try:
        return transformers.AutoBackbone.from_config(theirs)
    except ValueError as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"transformers {transformers.__version__} makes no backbone of model_type "
                         f"{theirs.model_type!r}: {first}") from error


def _named(name: str, pretrained: bool, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], nn.Module]:
    """transformers' backbone of a hub id or folder, and its configuration."""
    transformers = _library("transformers", f"backbone {name!r}")
    theirs = transformers.AutoConfig.from_pretrained(name, **arguments)
    for key in DTYPES:
        if getattr(theirs, key, None) is not None:
            setattr(theirs, key, None)
    if pretrained:
        with torch.device("meta"):
            kind = type(_from_config(transformers, theirs))
        module = kind.from_pretrained(name, config=theirs)  # type: ignore[attr-defined]
        if getattr(theirs, "num_channels", 3) == 3:
            widen(module)
    else:
        theirs.num_channels = CHANNELS if getattr(theirs, "num_channels", 3) == 3 else theirs.num_channels
        module = _from_config(transformers, theirs)
    return {**module.config.to_dict(), "model_type": theirs.model_type}, module


def widen(module: nn.Module) -> None:
    """Gives a backbone's first convolution a fourth channel with zero weights, as the paper does for pre-trained ones:
    the backbone begins as if the trimap were not there.

    Raises:
        ValueError: unless there is exactly one convolution of three channels.
    """
    first = [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3 and m.groups == 1]
    if len(first) != 1:
        raise ValueError(f"the backbone has {len(first)} convolutions of three channels; expected one, which is given "
                         "the trimap as fourth. Give a configuration with num_channels 4 and train it from scratch")
    first[0].weight = nn.Parameter(F.pad(first[0].weight.detach(), (0, 0, 0, 0, 0, 1)))
    first[0].in_channels = CHANNELS
    for part in module.modules():
        for holder in (part, getattr(part, "config", None)):
            if getattr(holder, "num_channels", None) == 3:
                holder.num_channels = CHANNELS  # type: ignore[union-attr]


def _library(name: str, wanted_for: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{wanted_for} needs {name}, which could not be imported ({error}): pip install {name}") \
            from error
