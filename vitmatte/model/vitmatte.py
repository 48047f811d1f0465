"""ViTMatte: backbone and decoder (Yao et al., arXiv 2305.15272)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_cast
from .casting import CheckedCasts
from .config import MattingConfig, TransformerConfig
from .decoder import DetailCapture
from .dunet import DUNet
from .external import ExternalBackbone
from .vitdet import VitDet


class ViTMatte(CheckedCasts):
    """The net: normalised RGB and trimap in, alpha matte out.

    Args:
        architecture: its configuration. An external backbone given by name becomes, in `self.architecture`, the
            description it has; it is built on the CPU whatever `device` says.
        operations: namespace with Linear, Conv2d and LayerNorm (a DiffMatte: and ConvTranspose2d), default torch.nn;
            ComfyUI passes its own. With any other than torch.nn the weights are not initialised: load some.
        device, dtype: where and how the parameters are made; on "meta" they are not initialised either.

    Attributes:
        external: runs another library's backbone; None where the backbone is the transformer built in.
        casts: whether the layers bring their weights to the input's device and dtype, as ComfyUI's do.

    Raises:
        ImportError, ValueError, OSError: for a backbone that is not to be had; see `external.ExternalBackbone`.
    """

    backbone: nn.Module
    _placed: torch.device | None = None

    def __init__(
        self,
        architecture: MattingConfig,
        *,
        operations: Any = nn,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.casts = operations is not nn
        how: dict[str, Any] = {"operations": operations, "device": device, "dtype": dtype}
        self.external: ExternalBackbone | None = None
        if architecture.transformer is not None:
            self.backbone = self.make_transformer(architecture.transformer, **how)
        else:
            self.external = ExternalBackbone(architecture)
            self.backbone, architecture = self.external.module, replace(architecture, backbone=self.external.config)
            self.place_external(device, dtype)
        self.architecture = architecture
        self.decoder = (DetailCapture if architecture.diffusion is None else DUNet)(architecture, **how)
        if operations is nn and next(self.decoder.parameters()).device.type != "meta":
            initialise_decoder(self.decoder)

    def make_transformer(self, architecture: TransformerConfig, **how: Any) -> VitDet:
        """Makes the transformer built in; a subclass may make its own kind of it."""
        return VitDet(architecture, **how)

    def forward(self, pixel_values: Tensor) -> Any:
        """The alpha mattes of a batch, padding included. A DiffMatte takes all of it for the picture: see `DUNet`.

        Args:
            pixel_values: [B, 4, H, W], normalised RGB and trimap (0 background, 0.5 unknown, 1 foreground); both sides
                multiples of the stride.

        Returns:
            [B, 1, H, W] in 0..1.

        Raises:
            ValueError: for another number of channels or a size that is no multiple.
        """
        features = (self.external or self.backbone)(pixel_values)  # [B, C, H / stride, W / stride]
        return self.decoder(features, pixel_values)

    def fold(self) -> None:
        """Makes the decoder's BatchNorms part of their convolutions, in place, for inference."""
        self.decoder.fold()

    @property
    def folded(self) -> bool:
        """Whether the decoder's BatchNorms are part of their convolutions."""
        return self.decoder.folded

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

    def place_external(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Brings another library's backbone to a device and dtype, with the buffers that are in no checkpoint.

        On "meta" those would be lost, so it is not moved there.
        """
        if self.external is not None:
            away = torch.device(device or "cpu").type == "meta"
            self.backbone.to(device=None if away else device, dtype=dtype)


def float32_copy(net: ViTMatte, device: torch.device | str) -> ViTMatte:
    """A copy of the net in float32 whose layers do what they do; ComfyUI's become torch's own."""
    if net.casts:
        return plain_copy(net, device=device, dtype=torch.float32)
    made: dict[int, object] = {}  # what deepcopy takes instead of copying: the original's device may have no room
    for x in (*net.parameters(), *net.buffers()):
        value = x.detach().to(device, torch.float32 if x.is_floating_point() else None)
        made[id(x)] = nn.Parameter(value, requires_grad=False) if isinstance(x, nn.Parameter) else value
    return deepcopy(net, made)


def plain_copy(net: ViTMatte, *, device: torch.device | str, dtype: torch.dtype) -> ViTMatte:
    """A folded copy for inference made of torch's own layers.

    Args:
        net: in evaluation mode.
        device, dtype: of the copy. Tensors that are there already, and of that dtype, are shared.

    Raises:
        ValueError: for values beyond what `dtype` holds.
    """
    copy = ViTMatte(net.architecture, device="meta")
    if net.folded:
        copy.fold()
    state = {name: value.detach() for name, value in net.state_dict().items()}
    if not net.folded:  # fold in the net's own precision, then cast
        copy.load_state_dict(state, assign=True)
        copy.fold()
        state = copy.state_dict()
    check_cast(state, dtype, "the net", "use float32 or bfloat16")
    copy.load_state_dict({name: value.to(device, dtype if value.is_floating_point() else None)
                          for name, value in state.items()}, assign=True)
    copy.place_external(device, dtype)
    return copy.eval().requires_grad_(False)


@torch.no_grad()
def initialise_decoder(decoder: nn.Module) -> None:
    """Fresh weights as ViTMatte is trained from: He in convolutions. The backbone has its own already."""
    for module in decoder.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
