"""ViTMatte: backbone and decoder (Yao et al., arXiv 2305.15272), with the interface Hugging Face documents."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..checks import check_cast
from ..huggingface.net import Net
from ..huggingface.outputs import ImageMattingOutput
from .config import VitMatteConfig
from .decoder import DetailCapture
from .execution import Execution
from .external import ForeignBackbone
from .loss import matting_loss
from .vitdet import VitDetBackbone


class VitMatteForImageMatting(Net):
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

    config_class = VitMatteConfig
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
        config = deepcopy(config)  # the caller's may change
        config.check()
        self.foreign = None if config.vitdet else ForeignBackbone(config)
        self.config = config = self.foreign.config if self.foreign else config
        self.folded = folded
        self.casts = operations is not nn  # layers which bring their weights to the input's device and dtype
        how: dict[str, Any] = {"operations": operations, "device": device, "dtype": dtype}
        if self.foreign is not None:
            self.backbone = self.foreign.module
            self.place_foreign(device, dtype)
        elif config.vitdet is not None:
            self.backbone = VitDetBackbone(config.vitdet, **how)
        self.decoder = DetailCapture(config, folded=folded, **how)
        if config.gradient_checkpointing:
            self.gradient_checkpointing_enable()
        if operations is nn and next(self.decoder.parameters()).device.type != "meta":
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
            output_hidden_states: also give the feature map before the first and after each block. Where these two and
                return_dict are None, the configuration says.
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
        features = self.features(
            pixel_values,
            output_attentions=self._wanted(output_attentions, "output_attentions"),
            output_hidden_states=self._wanted(output_hidden_states, "output_hidden_states"),
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
        return output if self._wanted(return_dict, "return_dict") else output.to_tuple()

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

    def init_weights(self) -> None:
        """Fresh weights and running statistics, in place; see `initialise`."""
        super().init_weights()
        if isinstance(self.backbone, VitDetBackbone):
            self.backbone.init_weights()
        initialise(self)

    def get_input_embeddings(self) -> nn.Module | None:
        """The layer that turns patches into tokens; another library's backbone may have none to give."""
        if self.config.vitdet is not None:
            return cast(VitDetBackbone, self.backbone).embeddings.projection
        try:
            return self.backbone.get_input_embeddings()  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            return None

    @property
    def features(self) -> VitDetBackbone | ForeignBackbone:
        """What makes the decoder's feature map: the backbone, or what runs another library's."""
        return self.foreign or cast(VitDetBackbone, self.backbone)

    def place_foreign(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Brings another library's backbone to where the rest is, with the buffers that are in no checkpoint; on "meta"
        those would be lost, so there it stays."""
        if self.foreign is not None:
            away = torch.device(device or "cpu").type == "meta"
            self.backbone.to(device=None if away else device, dtype=dtype)


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


def net_of(
    config: VitMatteConfig, state: Mapping[str, Tensor], *, folded: bool, device: torch.device | str, dtype: torch.dtype
) -> VitMatteForImageMatting:
    """A net for inference, of torch's own layers, with these tensors: themselves where they are as wanted already.

    Raises:
        ValueError: for values beyond what `dtype` holds.
    """
    check_cast(state, dtype, "the net", "use float32 or bfloat16")
    net = VitMatteForImageMatting(config, folded=folded, device="meta")
    net.load_state_dict({name: value.to(device, dtype if value.is_floating_point() else None)
                         for name, value in state.items()}, assign=True)
    net.place_foreign(device, dtype)
    return net.eval().requires_grad_(False)


@torch.no_grad()
def initialise(net: VitMatteForImageMatting) -> None:
    """Fresh weights as ViTMatte is trained from: He in convolutions. The backbone has its own already."""
    for module in net.decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
