"""ViTMatte with the interface that Hugging Face documents as `VitMatteForImageMatting`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..checks import NO_WEIGHTS
from ..model.config import TransformerConfig
from ..model.loss import matting_loss
from ..model.vitmatte import ViTMatte
from ..plain import outside_inference_mode
from ..weights.config_file import described_transformer
from ..weights.load import Checkpoint, fill, find_weights, naming, read_checkpoint
from .config import VitMatteConfig
from .net import PretrainedNet
from .outputs import ImageMattingOutput
from .vitdet import VitDetBackbone
from .vitdet_config import VitDetConfig


class VitMatteForImageMatting(ViTMatte, PretrainedNet):
    """The net: normalised RGB and trimap in, alpha matte out.

    Args:
        config: see `VitMatteConfig`. A `config.backbone` by name becomes the configuration it has in `self.config`.
        operations, device, dtype: see `model.vitmatte.ViTMatte`.

    Raises:
        ImportError, ValueError, OSError: for a backbone that is not to be had; see `model.external.ExternalBackbone`.
    """

    config_class = VitMatteConfig

    @outside_inference_mode
    def __init__(
        self,
        config: VitMatteConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        config = deepcopy(config)  # the caller's may change
        ViTMatte.__init__(self, config.architecture(), operations=operations, device=device, dtype=dtype)
        if self.external is not None:
            config = replace(config, backbone=None, backbone_config=dict(self.external.config.described or {}),
                             use_pretrained_backbone=False, use_timm_backbone=False, backbone_kwargs=None)
        elif config.vitdet is not None:
            cast(VitDetBackbone, self.backbone).config = config.vitdet
        self.config = config
        if config.gradient_checkpointing:
            self.gradient_checkpointing_enable()

    def make_transformer(self, architecture: TransformerConfig, **how: Any) -> VitDetBackbone:
        """The documented kind of the transformer."""
        return VitDetBackbone(VitDetConfig.from_dict(described_transformer(architecture)), **how)

    def forward(
        self,
        pixel_values: Tensor,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> ImageMattingOutput | tuple[Any, ...]:
        """The alpha mattes of a batch, padding included.

        Args:
            pixel_values: [B, 4, H, W] from `VitMatteImageProcessor`; both sides multiples of the patch size.
            output_attentions: also give every block's attention probabilities; takes memory for all scores.
            output_hidden_states: also give the feature map before the first and after each block. Where these two and
                return_dict are None, the configuration says.
            labels: [B, 1, H, W], the true alphas in 0..1: the output's loss is then `loss.matting_loss` with the
                paper's weights; unknown is where the input's last channel is neither 0 nor 1.
            return_dict: False for a plain tuple (loss, alphas, hidden_states, attentions).

        Returns:
            `ImageMattingOutput` with alphas [B, 1, H, W].

        Raises:
            TypeError: for what is no tensor. ValueError: for a shape, type or device the net cannot take, or labels of
            another shape than the alphas. Values are taken as they are: NaN in, NaN out.
        """
        self._check_place(pixel_values)
        if labels is not None:
            _check_labels(labels, pixel_values)
        feature, states, attentions = self._features(
            pixel_values,
            attentions=self._asked(output_attentions, "output_attentions"),
            hidden_states=self._asked(output_hidden_states, "output_hidden_states"),
        )
        alphas = self.decoder(feature, pixel_values)
        loss = None
        if labels is not None:
            trimap = pixel_values[:, -1:]
            loss, _ = matting_loss(alphas, labels, (trimap > 0) & (trimap < 1))
        output = ImageMattingOutput(
            loss=loss, alphas=alphas, hidden_states=states, attentions=attentions
        )
        return output if self._asked(return_dict, "return_dict") else output.to_tuple()

    def _check_place(self, pixel_values: Tensor) -> None:
        """Raises TypeError or ValueError unless the weights can take the tensor where it is and as it is."""
        if not isinstance(pixel_values, Tensor):
            raise TypeError(f"pixel_values is a {type(pixel_values).__name__}; expected a torch.Tensor, which "
                            "VitMatteImageProcessor gives with return_tensors=\"pt\"")
        weight = next(self.parameters(), None)
        if weight is None or self.casts:
            return
        if weight.is_meta and not pixel_values.is_meta:
            raise ValueError(NO_WEIGHTS)
        dtype, device = pixel_values.dtype, pixel_values.device
        same = device == weight.device and (dtype == weight.dtype or _autocast_is_on(device))
        if not same or not pixel_values.is_floating_point():
            raise ValueError(f"pixel_values is {dtype} on {device}, and the net's weights are {weight.dtype} on "
                             f"{weight.device}: give pixel_values.to({str(weight.device)!r}, {weight.dtype})")

    def _features(self, pixel_values: Tensor, *, attentions: bool, hidden_states: bool) -> tuple[Tensor, Any, Any]:
        """(map for the decoder, hidden states, attentions)."""
        if self.external is not None:
            return self.external.outputs(pixel_values, hidden_states=hidden_states, attentions=attentions)
        found = cast(VitDetBackbone, self.backbone)(
            pixel_values, output_hidden_states=hidden_states, output_attentions=attentions, return_dict=True
        )
        return found.feature_maps[-1], found.hidden_states, found.attentions

    @classmethod
    def _read(cls, path: Path, state: Mapping[str, Tensor] | None) -> Checkpoint:
        """Weights in any layout."""
        return read_checkpoint(path) if state is None else Checkpoint(find_weights(path), dict(state), "hub")

    @classmethod
    def _from_file(cls, checkpoint: Checkpoint) -> VitMatteConfig:
        """What config.json says, or else the tensors' shapes."""
        if (beside := checkpoint.described_by) is not None:
            return VitMatteConfig.from_json_file(beside)
        with naming(str(checkpoint.path)):
            return VitMatteConfig.from_architecture(checkpoint.config())

    def placed_at(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Brings another library's backbone along."""
        self.place_external(device, dtype)


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


@outside_inference_mode
def load_net(
    path: str | os.PathLike[str],
    *,
    config: VitMatteConfig | None = None,
    operations: Any = nn,
    folded: bool = False,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
) -> VitMatteForImageMatting:
    """Loads a net with the documented interface, in evaluation mode; arguments and errors as in
    `weights.load.load_net`, where `folded` is called `fold`."""
    checkpoint = read_checkpoint(path)
    with naming(str(checkpoint.path)):
        net = VitMatteForImageMatting(config or VitMatteForImageMatting._from_file(checkpoint), device="meta",
                                      operations=operations)
    return fill(net, checkpoint, fold=folded, dtype=dtype, device=device)
