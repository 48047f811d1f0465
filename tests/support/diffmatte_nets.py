"""Small DiffMattes with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from nets import randomise

from vitmatte import MattingModel
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.config import MattingConfig, TransformerConfig
from vitmatte.model.diffusion import DiffusionConfig
from vitmatte.model.vitmatte import ViTMatte


def diffmatte_config(steps: int = 3, **changes: Any) -> MattingConfig:
    """Everything the real ones have, in miniature, and nothing at their usual numbers."""
    backbone = TransformerConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, image_size=(96, 96), pretrain_image_size=(80, 80),
        window_size=3, window_block_indices=(0, 1), residual_block_indices=(1, 2))
    config = MattingConfig(
        backbone=backbone, hidden_size=24, convstream_hidden_sizes=(6, 8, 10), fusion_hidden_sizes=(16, 12, 8, 6),
        diffusion=DiffusionConfig(time_channels=6, embedding_channels=5, steps=steps))
    return replace(config, **changes)


def random_diffmatte(config: MattingConfig | None = None, seed: int = 0) -> ViTMatte:
    """A net with random weights, in evaluation mode."""
    net = randomise(ViTMatte(config or diffmatte_config()), seed).requires_grad_(False)
    assert isinstance(net, ViTMatte)
    return net


def reference(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor) -> torch.Tensor:
    """The alpha [H, W] of image [H, W, 3] and trimap [H, W] by the net's own forward, everything at once."""
    pixels = model.preprocessing.net_input(image[None], trimap[None])
    size = trimap.shape[0], trimap.shape[1]
    with torch.inference_mode():
        return model.net.decoder(model.net.backbone(pixels), pixels, size=size)[0, 0, :size[0], :size[1]]


def model_of(net: ViTMatte) -> MattingModel:
    """The net with its preprocessing."""
    return MattingModel(net, Preprocessing())
