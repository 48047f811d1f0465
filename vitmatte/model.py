"""ViTMatte: backbone and decoder (Yao et al., arXiv 2305.15272), with the interface Hugging Face documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .backbone import VitDetBackbone
from .block import VitDetResidual
from .config import VitMatteConfig
from .decoder import DetailCapture
from .execution import Execution
from .foreign import ForeignBackbone
from .loss import matting_loss


@dataclass
class ImageMattingOutput:
    """What the net gives out; also reads as a dict (`output["alphas"]`) and as the tuple of what is present.

    loss: scalar, with labels. alphas: [B, 1, H, W] in 0..1. hidden_states: [B, C, H/16, W/16] before the first
    and after each block. attentions: per block [pictures (times windows), heads, tokens, tokens].
    """

    loss: Tensor | None = None
    alphas: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, in order."""
        return tuple(value for f in fields(self) if (value := getattr(self, f.name)) is not None)

    def keys(self) -> list[str]:
        """Names of the fields that are present."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.to_tuple())


class VitMatteForImageMatting(nn.Module):
    """The net: normalised RGB and trimap in, alpha matte out.

    Args:
        config: see `VitMatteConfig`. A backbone of another library is built on the CPU whatever `device` says, and a
            `config.backbone` by name becomes the configuration it has in `self.config`.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own. With any
            other than torch.nn the weights are not initialised: load some.
        folded: BatchNorms are part of their convolutions: for inference, with weights from
            `checkpoint.fold_batch_norm`.
        device, dtype: where and how the parameters are made; on "meta" they are not initialised either.

    Raises:
        ImportError, ValueError, OSError: for a backbone that is not to be had; see `foreign.ForeignBackbone`.
    """

    backbone: nn.Module

    def __init__(
        self,
        config: VitMatteConfig,
        *,
        operations: Any = nn,
        folded: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.foreign = None if config.vitdet else ForeignBackbone(config)
        self.config = config = self.foreign.config if self.foreign else config
        self.folded = folded
        self.casts = operations is not nn  # layers which bring their weights to the input's device and dtype
        self._placed: torch.device | None = None
        how: dict[str, Any] = {"operations": operations, "device": device, "dtype": dtype}
        if self.foreign is not None:
            self.backbone = self.foreign.module
            self._place_foreign(device, dtype)
        elif config.vitdet is not None:
            self.backbone = VitDetBackbone(config.vitdet, **how)
        self.decoder = DetailCapture(config, folded=folded, **how)
        if operations is nn and torch.device(device or "cpu").type != "meta":
            initialise(self)

    def forward(
        self,
        pixel_values: Tensor,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        *,
        run: Execution | None = None,
    ) -> ImageMattingOutput | tuple[Any, ...]:
        """The alpha mattes of a batch, padding included.

        Args:
            pixel_values: [B, 4, H, W] from `VitMatteImageProcessor`; both sides multiples of the patch size.
            output_attentions: also give every block's attention probabilities; takes memory for all scores.
            output_hidden_states: also give the feature map before the first and after each block.
            labels: [B, 1, H, W], the true alphas in 0..1: the output's loss is then `loss.matting_loss` with the
                paper's weights; unknown is where the input's last channel is neither 0 nor 1.
            return_dict: False for a plain tuple (loss, alphas, hidden_states, attentions).
            run: how to run.

        Returns:
            `ImageMattingOutput` with alphas [B, 1, H, W].

        Raises:
            ValueError: for a shape the net cannot take, or labels of another shape than the alphas.
        """
        if labels is not None:
            _check_labels(labels, pixel_values)
        features = self.features(
            pixel_values,
            output_attentions=bool(output_attentions),
            output_hidden_states=bool(output_hidden_states),
            run=run,
        )
        alphas = self.decoder(features.feature_maps[-1], pixel_values)
        loss = None
        if labels is not None:
            trimap = pixel_values[:, -1:]
            loss, _ = matting_loss(alphas, labels, (trimap > 0) & (trimap < 1))
        output = ImageMattingOutput(
            loss=loss, alphas=alphas, hidden_states=features.hidden_states, attentions=features.attentions
        )
        return output if return_dict is not False else output.to_tuple()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32, **hub: Any
    ) -> VitMatteForImageMatting:
        """Loads a folder or file in any layout `checkpoint` reads, or a repository of the hub.

        Args:
            name_or_path: a folder with config.json and weights, a weights file, or a hub id such as
                "hustvl/vitmatte-small-composition-1k" (released nets are pinned to a known revision).
            dtype: of the parameters.
            hub: revision, cache_dir, token, local_files_only, force_download for a hub id.

        Returns:
            The net in evaluation mode, with BatchNorms as on the hub: to be trained, saved and inspected.

        Raises:
            FileNotFoundError, ValueError: for what is not there or not a ViTMatte; the message says which.
        """
        from .checkpoint import load_net
        from .hub import fetch_repository

        path = Path(name_or_path)
        return load_net(path if path.exists() else fetch_repository(str(name_or_path), **hub), dtype=dtype)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes config.json and model.safetensors, which load here and in transformers; each whole or not at all.

        Raises:
            ValueError: for a folded net, whose BatchNorms are gone.
        """
        from .checkpoint import save_net

        save_net(self, folder)

    @property
    def features(self) -> VitDetBackbone | ForeignBackbone:
        """What makes the decoder's feature map: the backbone, or what runs another library's."""
        return self.foreign or cast(VitDetBackbone, self.backbone)

    def _place_foreign(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Where the rest is; on "meta" it stays, for buffers that are in no checkpoint would be lost there."""
        away = torch.device(device or "cpu").type == "meta"
        self.backbone.to(device=None if away else device, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Where the parameters are; under ComfyUI, where its ModelPatcher says it put them."""
        return self._placed or next(self.parameters()).device

    @device.setter
    def device(self, value: torch.device) -> None:
        self._placed = value

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype


def _check_labels(labels: Tensor, pixel_values: Tensor) -> None:
    batch, _, height, width = pixel_values.shape
    if tuple(labels.shape) != (batch, 1, height, width):
        raise ValueError(f"labels is {list(labels.shape)}; expected {[batch, 1, height, width]}, one alpha matte in "
                         "0..1 for each picture, padded like it")


@torch.no_grad()
def initialise(net: VitMatteForImageMatting) -> None:
    """Fresh weights as ViTDet and ViTMatte are trained from: truncated normal in the transformer, He in convolutions,
    residual blocks that begin as the identity. A backbone of another library has its own already."""
    vitdet = net.config.vitdet
    for name, parameter in net.backbone.named_parameters() if vitdet else ():
        if vitdet and parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=vitdet.initializer_range)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, VitDetResidual):
            for conv in (module.conv1, module.conv2, module.conv3):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.norm3.weight)
    for module in net.decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
