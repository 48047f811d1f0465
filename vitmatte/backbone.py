"""The plain vision transformer of ViTMatte: ViTDet with windowed, global and residual blocks.

Tokens are [B, H, W, C] throughout; a feature map [B, C, H, W] is a view of them. Parameter names are the
hub's. Sources: Li et al., arXiv 2203.16527 (ViTDet), Yao et al., arXiv 2305.15272 (residual blocks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .block import VitDetLayer
from .execution import Execution, Region
from .vitdet_config import VitDetConfig, pair
from .work import transformer_work


@dataclass
class BackboneOutput:
    """feature_maps: one [B, C, H, W] per stage of the configuration; the others by request.

    hidden_states: [B, C, H, W] before the first and after each block; attentions: per block
    [pictures (times windows), heads, tokens, tokens].
    """

    feature_maps: tuple[Tensor, ...]
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class VitDetEmbeddings(nn.Module):
    """Patches to tokens, with absolute positions resized to the picture's grid."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.pretrain_grid = config.pretrain_grid
        patch = pair(config.patch_size)
        self.projection = ops.Conv2d(config.num_channels, config.hidden_size, patch, stride=patch, **at)
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
        maps = grid.float().permute(0, 3, 1, 2)
        return F.interpolate(maps, size=(height, width), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, channels, height, width] to tokens [B, H, W, C]."""
        tokens = self.projection(pixel_values).permute(0, 2, 3, 1)
        if self.position_embeddings is not None:
            tokens = tokens + self.positions(*tokens.shape[1:3]).to(tokens)
        return tokens

    def infer(self, region: Region, batch: int, grid: tuple[int, int], run: Execution) -> Tensor:
        """Tokens [B, H, W, C] of a picture that is read in bands of rows."""
        patch, hidden = self.projection.kernel_size, self.projection.out_channels
        tokens, positions = None, None
        per_row = batch * grid[1] * patch[1] * max(self.projection.in_channels * patch[0], hidden) * 4
        for top, bottom in run.pieces(grid[0], per_row):
            band = self.projection(region((top * patch[0], bottom * patch[0]), (0, grid[1] * patch[1])))
            band = band.permute(0, 2, 3, 1)
            if tokens is None:
                tokens = band.new_empty(batch, *grid, hidden)
            if positions is None and self.position_embeddings is not None:
                positions = self.positions(*grid).to(band)
            tokens[:, top:bottom] = band if positions is None else band + positions[:, top:bottom]
            run.step(band.numel() * self.projection.in_channels * patch[0] * patch[1])
        assert tokens is not None
        return tokens


class VitDetEncoder(nn.Module):
    """The blocks; a module of its own for the hub's parameter names."""

    def __init__(self, config: VitDetConfig, ops: Any, **at: Any) -> None:
        super().__init__()
        self.layer = nn.ModuleList(VitDetLayer(config, i, ops, **at) for i in range(config.num_hidden_layers))


class VitDetBackbone(nn.Module):
    """The whole transformer.

    Args:
        config: its configuration.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own.
        device, dtype: where and how the parameters are made.
    """

    def __init__(self, config: VitDetConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.config = config
        self.embeddings = VitDetEmbeddings(config, operations, device=device, dtype=dtype)
        self.encoder = VitDetEncoder(config, operations, device=device, dtype=dtype)

    def forward(
        self,
        pixel_values: Tensor,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        run: Execution | None = None,
    ) -> BackboneOutput:
        """[B, channels, height, width], both sides multiples of the patch size, to feature maps.

        Raises:
            ValueError: for another number of channels, or a size that is no multiple of the patch size.
        """
        self._check(pixel_values)
        run = run or Execution()
        probabilities: list[Tensor] | None = [] if output_attentions else None
        wanted = set(self.config.out_stages)
        last = self.config.num_hidden_layers if output_hidden_states or output_attentions else max(wanted)
        states = [self.embeddings(pixel_values)]
        features: dict[int, Tensor] = {}
        for stage in range(last + 1):
            x = states[-1]
            if stage > 0:
                x = self.encoder.layer[stage - 1](x, run, probabilities)
                states = [*states, x] if output_hidden_states else [x]
            if stage in wanted:
                features[stage] = x.permute(0, 3, 1, 2)
        return BackboneOutput(
            feature_maps=tuple(features[stage] for stage in sorted(wanted)),
            hidden_states=tuple(x.permute(0, 3, 1, 2) for x in states) if output_hidden_states else None,
            attentions=tuple(probabilities) if probabilities is not None else None,
        )

    @torch.no_grad()
    def infer(
        self, region: Region, batch: int, grid: tuple[int, int], run: Execution, needed: Tensor | None = None
    ) -> Tensor:
        """The last feature map of `forward`, in bounded memory.

        Args:
            region: reads the input; see `execution.Region`.
            batch: pictures that `region` gives.
            grid: (H, W), tokens of a picture.
            run: how to run.
            needed: bool [H, W], the tokens whose features are wanted; the others' come out as anything.

        Returns:
            [B, C, H, W].
        """
        x = self.embeddings.infer(region, batch, grid, run)
        last = max(self.config.out_stages)
        for stage, layer in enumerate(self.encoder.layer[:last], start=1):
            x = cast(VitDetLayer, layer).infer(x, run, needed if stage == last else None)
        return x.permute(0, 3, 1, 2)

    def work(self, grid: tuple[int, int], needed: int, strided: bool) -> int:
        """Multiply-adds of one frame; see `work.transformer_work`."""
        return transformer_work(self.config, grid, needed, strided)

    def _check(self, pixel_values: Tensor) -> None:
        patch = pair(self.config.patch_size)
        if pixel_values.ndim != 4 or pixel_values.shape[1] != self.config.num_channels:
            raise ValueError(f"pixel_values is {list(pixel_values.shape)}; expected [batch, "
                             f"{self.config.num_channels}, height, width] (RGB and trimap)")
        height, width = pixel_values.shape[-2:]
        if height % patch[0] or width % patch[1] or not height or not width:
            raise ValueError(f"pixel_values is {height}x{width}; expected multiples of {patch[0]}x{patch[1]}: "
                             "VitMatteImageProcessor pads to that")
