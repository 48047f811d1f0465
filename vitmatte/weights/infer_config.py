"""The architecture of a net from the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..model.config import MattingConfig, TransformerConfig
from .diffmatte import decoder_of, is_diffmatte
from .mematte import LIGHT, MAX_ROUTED_TOKENS
from .names import shown

WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")


def infer_config(state: Mapping[str, Tensor], where: str = "checkpoint") -> MattingConfig:
    """The configuration of a net from the shapes of its tensors (hub names).

    Epsilons, the activation and the most tokens that are routed leave no trace in shapes; the published nets' are
    assumed. Two lengths of relative position tables tell window blocks (the shorter) from global ones; global blocks of
    a MEMatte have none, but a light block.

    Raises:
        ValueError: when the shapes leave something open; then a config.json is needed beside the file.
    """
    try:
        return _infer_config(state)
    except (KeyError, IndexError, ZeroDivisionError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: its configuration cannot be told from its tensors ({shown(str(error.args[0]))}); "
                         f"name it {' or '.join(WEIGHTS_NAMES)} and put the net's config.json beside it") from error


def _infer_config(state: Mapping[str, Tensor]) -> MattingConfig:
    hidden, channels, patch, _ = state["backbone.embeddings.projection.weight"].shape
    layer = "backbone.encoder.layer."
    blocks = 1 + max(int(name[len(layer):].split(".")[0]) for name in state if name.startswith(layer))
    routed = {int(name[len(layer):].split(".")[0]) for name in state if name.startswith(layer) and f".{LIGHT}." in name}
    lengths = {i: state[f"{layer}{i}.attention.rel_pos_h"].shape[0] for i in range(blocks) if i not in routed}
    if not lengths or (len(set(lengths.values())) == 1) == (not routed):
        raise KeyError("which blocks attend in windows")
    window = min(lengths.values())
    windowed = [i for i, length in lengths.items() if length == window]
    sides = [max(state[f"{layer}{i}.attention.rel_pos_{axis}"].shape[0] for i in lengths) for axis in "hw"]
    height, width = (512, 512) if routed else ((length + 1) // 2 * patch for length in sides)
    residual = [i for i in range(blocks) if f"{layer}{i}.residual.conv1.weight" in state]
    positions = state.get("backbone.embeddings.position_embeddings")
    pretrained = round((positions.shape[1] - 1) ** 0.5) * patch if positions is not None else 224
    return MattingConfig(
        backbone=TransformerConfig(
            hidden_size=hidden,
            num_hidden_layers=blocks,
            num_attention_heads=hidden // state[f"{layer}{windowed[0]}.attention.rel_pos_h"].shape[1],
            mlp_ratio=state[f"{layer}0.mlp.fc1.weight"].shape[0] / hidden,
            image_size=(height, width),
            pretrain_image_size=(pretrained, pretrained),
            patch_size=(patch, patch),
            num_channels=channels,
            qkv_bias=f"{layer}0.attention.qkv.bias" in state,
            window_block_indices=tuple(windowed),
            residual_block_indices=tuple(residual),
            use_absolute_position_embeddings=positions is not None,
            use_relative_position_embeddings=True,
            window_size=(window + 1) // 2,
            max_routed_tokens=MAX_ROUTED_TOKENS if routed else None,
        ),
        hidden_size=hidden,
        **(decoder_of(state) if is_diffmatte(state) else _detail_capture(state)),
    )


def _detail_capture(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What ViTMatte's decoder shows of a MattingConfig."""
    patterns = {"convstream_hidden_sizes": "decoder.convstream.convs.{}.conv.weight",
                "fusion_hidden_sizes": "decoder.fusion_blocks.{}.conv.conv.weight"}
    return {field: tuple(state[name].shape[0] for name in _numbered(state, pattern))
            for field, pattern in patterns.items()}


def _numbered(state: Mapping[str, Tensor], pattern: str) -> list[str]:
    names = (pattern.format(i) for i in range(len(state)))
    found = []
    for name in names:
        if name not in state:
            break
        found.append(name)
    return found
