"""The plain vision transformer of ViTMatte: ViTDet with windowed, global and residual blocks.

Notation: B pictures of height x width pixels, H x W tokens of C channels. Tokens are [B, H, W, C]; a feature map
[B, C, H, W] is a view of them. Parameter names are the hub's. Sources: Li et al., arXiv 2203.16527 (ViTDet),
Yao et al., arXiv 2305.15272 (residual blocks).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_pixel_values
from .block import VitDetLayer, VitDetResidual
from .casting import CheckedCasts
from .config import TransformerConfig


class VitDetEmbeddings(nn.Module):
    """Patches to tokens, with absolute positions resized to the picture's grid."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.pretrain_grid = config.pretrain_grid
        self.projection = ops.Conv2d(config.num_channels, config.hidden_size, config.patch_size,
                                     stride=config.patch_size, **at)
        if config.use_absolute_position_embeddings:
            places = config.pretrain_grid[0] * config.pretrain_grid[1] + 1  # one more for the class token
            self.position_embeddings = nn.Parameter(torch.zeros(1, places, config.hidden_size, **at))
        else:
            self.register_parameter("position_embeddings", None)

    def positions(self, height: int, width: int) -> Tensor:
        """[1, H, W, C], without the class token's; bicubic where the grid is another than in pre-training."""
        grid = self.position_embeddings[:, 1:].unflatten(1, self.pretrain_grid)  # [1, G, G, C]
        if (height, width) == self.pretrain_grid:
            return grid
        maps = grid.float().permute(0, 3, 1, 2)  # [1, C, G, G]
        return F.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, channels, height, width] to tokens [B, H, W, C]."""
        tokens = self.projection(pixel_values).permute(0, 2, 3, 1)
        if self.position_embeddings is not None:
            tokens = tokens + self.positions(*tokens.shape[1:3]).to(tokens)
        return tokens


class VitDetEncoder(nn.Module):
    """The blocks; a module of its own for the hub's parameter names."""

    def __init__(self, config: TransformerConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(VitDetLayer(config, i, ops, **at) for i in range(config.num_hidden_layers))


class VitDet(CheckedCasts):
    """The whole transformer.

    Args:
        architecture: its configuration.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own. With any
            other than torch.nn the weights are not initialised: load some.
        device, dtype: where and how the parameters are made; on "meta" they are not initialised either.
    """

    def __init__(self, architecture: TransformerConfig, *, operations: Any = nn, device: Any = None,
                 dtype: Any = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.embeddings = VitDetEmbeddings(architecture, operations, device=device, dtype=dtype)
        self.encoder = VitDetEncoder(architecture, operations, device=device, dtype=dtype)
        if operations is nn and next(self.parameters()).device.type != "meta":
            initialise_transformer(self)

    def forward(self, pixel_values: Tensor) -> Any:
        """[B, channels, height, width], both sides multiples of the patch size, to the feature map [B, C, H, W].

        Raises:
            ValueError: for another number of channels, or a size that is no multiple of the patch size.
        """
        check_pixel_values(pixel_values, self.architecture.num_channels, self.architecture.patch_size)
        x = self.embeddings(pixel_values)  # [B, H, W, C]
        for layer in self.encoder.layer[:self.architecture.depth]:
            x = layer(x)
        return x.permute(0, 3, 1, 2)  # [B, C, H, W]


@torch.no_grad()
def initialise_transformer(net: VitDet) -> None:
    """Fresh weights as ViTDet is trained from: truncated normal, residual blocks that begin as the identity."""
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=net.architecture.initializer_range)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, VitDetResidual):
            for conv in (module.conv1, module.conv2, module.conv3):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.norm3.weight)
