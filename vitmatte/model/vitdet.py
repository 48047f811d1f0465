"""The plain vision transformer of ViTMatte: ViTDet with windowed, global and residual blocks.

Tokens are [B, H, W, C] throughout; a feature map [B, C, H, W] is a view of them. Parameter names are the
hub's. Sources: Li et al., arXiv 2203.16527 (ViTDet), Yao et al., arXiv 2305.15272 (residual blocks).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..checks import check_pixel_values
from ..huggingface.net import Net
from ..huggingface.outputs import BackboneOutput, TransformerOutput
from ..inference.macs import transformer_work
from .block import VitDetLayer, VitDetResidual
from .execution import Execution, Region
from .vitdet_config import VitDetConfig, pair


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


class VitDetBackbone(Net):
    """The whole transformer.

    Args:
        config: its configuration.
        operations: namespace with Linear, Conv2d and LayerNorm, default torch.nn; ComfyUI passes its own.
        device, dtype: where and how the parameters are made.
    """

    config_class = VitDetConfig
    base_model_prefix = "vitdet"

    def __init__(self, config: VitDetConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        config.check()
        self.config = config
        self.gradient_checkpointing = config.gradient_checkpointing
        self.embeddings = VitDetEmbeddings(config, operations, device=device, dtype=dtype)
        self.encoder = VitDetEncoder(config, operations, device=device, dtype=dtype)
        if operations is nn and next(self.parameters()).device.type != "meta":
            initialise(self)

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        *,
        run: Execution | None = None,
    ) -> Any:
        """[B, channels, height, width], both sides multiples of the patch size, to `BackboneOutput`.

        Args:
            pixel_values: see there.
            output_hidden_states, output_attentions: also give those; None for what the configuration says.
            return_dict: False for a plain tuple; None for what the configuration says.
            run: how to run.

        Raises:
            ValueError: for another number of channels, or a size that is no multiple of the patch size.
        """
        all_blocks = self._wanted(output_hidden_states, "output_hidden_states")
        attentions = self._wanted(output_attentions, "output_attentions")
        states, probabilities = self._blocks(pixel_values, run or Execution(), attentions, all_blocks=all_blocks)
        output = BackboneOutput(
            feature_maps=tuple(states[stage] for stage in sorted(set(self.config.out_stages))),
            hidden_states=tuple(states.values()) if all_blocks else None,
            attentions=probabilities,
        )
        return output if self._wanted(return_dict, "return_dict") else output.to_tuple()

    def _blocks(
        self, pixel_values: Tensor, run: Execution, attentions: bool, *, all_blocks: bool
    ) -> tuple[dict[int, Tensor], tuple[Tensor, ...] | None]:
        """({blocks that have run: [B, C, H, W]}, attentions): the stages to give out, or all."""
        check_pixel_values(pixel_values, self.config.num_channels, pair(self.config.patch_size))
        probabilities: list[Tensor] | None = [] if attentions else None
        wanted = set(self.config.out_stages)
        last = self.config.num_hidden_layers if all_blocks or attentions else max(wanted)
        kept: dict[int, Tensor] = {}
        x = self.embeddings(pixel_values)
        for stage in range(last + 1):
            if stage > 0 and self.gradient_checkpointing and self.training:
                x = checkpoint(_run_layer, self.encoder.layer[stage - 1], x, probabilities, use_reentrant=False)
            elif stage > 0:
                x = self.encoder.layer[stage - 1](x, run, probabilities)
            if all_blocks or stage in wanted:
                kept[stage] = x.permute(0, 3, 1, 2)
                x = kept[stage].permute(0, 2, 3, 1)  # so that gradients pass through what is given out
        return kept, tuple(probabilities) if probabilities is not None else None

    @property
    def stage_names(self) -> list[str]:
        """See `VitDetConfig`."""
        return self.config.stage_names

    @property
    def out_features(self) -> list[str]:
        """See `VitDetConfig`."""
        return self.config.out_features

    @property
    def out_indices(self) -> list[int]:
        """See `VitDetConfig`."""
        return self.config.out_indices

    @property
    def num_features(self) -> list[int]:
        """Channels after each stage."""
        return [self.config.hidden_size] * len(self.stage_names)

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels by the stage's name."""
        return dict(zip(self.stage_names, self.num_features, strict=True))

    @property
    def channels(self) -> list[int]:
        """Channels of each feature map."""
        return [self.out_feature_channels[name] for name in self.out_features]

    def init_weights(self) -> None:
        """Fresh weights, in place; see `initialise`."""
        super().init_weights()
        initialise(self)

    def get_input_embeddings(self) -> nn.Module:
        """The layer that turns patches into tokens."""
        return self.embeddings.projection

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


def _run_layer(layer: nn.Module, x: Tensor, probabilities: list[Tensor] | None) -> Tensor:
    """A block with relative tables of its own, so that computing it again does the same."""
    return layer(x, Execution(), probabilities)


class VitDetModel(VitDetBackbone):
    """The same transformer, giving out what comes after the last block."""

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As `VitDetBackbone.forward`, to `TransformerOutput`."""
        if pixel_values is None:
            raise ValueError("pixel_values is None; expected [batch, channels, height, width]")
        states, probabilities = self._blocks(
            pixel_values, Execution(), self._wanted(output_attentions, "output_attentions"), all_blocks=True
        )
        hidden = tuple(states.values())
        output = TransformerOutput(
            last_hidden_state=hidden[-1],
            hidden_states=hidden if self._wanted(output_hidden_states, "output_hidden_states") else None,
            attentions=probabilities,
        )
        return output if self._wanted(return_dict, "return_dict") else output.to_tuple()


@torch.no_grad()
def initialise(net: VitDetBackbone) -> None:
    """Fresh weights as ViTDet is trained from: truncated normal, residual blocks that begin as the identity."""
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=net.config.initializer_range)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in net.modules():
        if isinstance(module, VitDetResidual):
            for conv in (module.conv1, module.conv2, module.conv3):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.norm3.weight)
