"""ViTMatte: backbone and decoder (Yao et al., arXiv 2305.15272), with the interface Hugging Face documents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .backbone import VitDetBackbone
from .block import VitDetResidual
from .config import VitMatteConfig
from .decoder import DetailCapture
from .execution import Execution
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
        config: see `VitMatteConfig`.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own. With any
            other than torch.nn the weights are not initialised: load some.
        folded: BatchNorms are part of their convolutions: for inference, with weights from
            `checkpoint.fold_batch_norm`.
        device, dtype: where and how the parameters are made; on "meta" they are not initialised either.

    Raises:
        NotImplementedError: for a backbone that is not built yet, by name.
    """

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
        self.config = config
        self.folded = folded
        self.casts = operations is not nn  # layers which bring their weights to the input's device and dtype
        self._placed: torch.device | None = None
        how: dict[str, Any] = {"operations": operations, "device": device, "dtype": dtype}
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
            TypeError: for what is no tensor. ValueError: for a shape, type or device the net cannot take, or labels of
            another shape than the alphas. Values are taken as they are: NaN in, NaN out.
        """
        self._check_place(pixel_values)
        if labels is not None:
            _check_labels(labels, pixel_values)
        features = self.backbone(
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

    def _check_place(self, pixel_values: Tensor) -> None:
        """Raises TypeError or ValueError unless the weights can take the tensor where it is and as it is."""
        if not isinstance(pixel_values, Tensor):
            raise TypeError(f"pixel_values is a {type(pixel_values).__name__}; expected a torch.Tensor, which "
                            "VitMatteImageProcessor gives with return_tensors=\"pt\"")
        weight = next(self.parameters(), None)
        if weight is None or self.casts:
            return
        dtype, device = pixel_values.dtype, pixel_values.device
        same = device == weight.device and (dtype == weight.dtype or _autocast_is_on(device))
        if not same or not pixel_values.is_floating_point():
            raise ValueError(f"pixel_values is {dtype} on {device}, and the net's weights are {weight.dtype} on "
                             f"{weight.device}: give pixel_values.to({str(weight.device)!r}, {weight.dtype})")

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


def _autocast_is_on(device: torch.device) -> bool:
    try:
        return torch.is_autocast_enabled(device.type)
    except RuntimeError:  # a device that knows no autocast
        return False


def _check_labels(labels: Tensor, pixel_values: Tensor) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels is a {type(labels).__name__}; expected a torch.Tensor")
    expected = [*pixel_values.shape[:1], 1, *pixel_values.shape[2:]]
    if list(labels.shape) != expected:
        raise ValueError(f"labels is {list(labels.shape)}; expected {expected}, one alpha matte in 0..1 for each "
                         "picture, padded like it")


@torch.no_grad()
def initialise(net: VitMatteForImageMatting) -> None:
    """Fresh weights as ViTDet and ViTMatte are trained from: truncated normal in the transformer, He in convolutions,
    residual blocks that begin as the identity."""
    spread = net.backbone.config.initializer_range
    for name, parameter in net.backbone.named_parameters():
        if parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=spread)
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
