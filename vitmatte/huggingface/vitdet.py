"""The transformer with the interface that Hugging Face documents as `VitDetBackbone` and `VitDetModel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..checks import check_pixel_values
from ..inference.bands import run_block
from ..inference.context import Context
from ..inference.local import run_block_within
from ..model.block import VitDetAttention, VitDetLayer
from ..model.vitdet import VitDet
from ..plain import outside_inference_mode
from ..weights.load import Checkpoint
from .net import PretrainedNet
from .outputs import BackboneOutput, TransformerOutput
from .vitdet_config import VitDetConfig


class VitDetBackbone(PretrainedNet, VitDet):
    """The whole transformer.

    Args:
        config: its configuration.
        operations, device, dtype: see `model.vitdet.VitDet`.
    """

    config_class = VitDetConfig

    @outside_inference_mode
    def __init__(self, config: VitDetConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        VitDet.__init__(self, config.architecture(), operations=operations, device=device, dtype=dtype)
        self.config = config
        self.gradient_checkpointing = config.gradient_checkpointing

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """[B, channels, height, width], both sides multiples of the patch size, to `BackboneOutput`.

        Args:
            pixel_values: see there.
            output_hidden_states, output_attentions: also give those; None for what the configuration says.
            return_dict: False for a plain tuple; None for what the configuration says.

        Raises:
            ValueError: for another number of channels, or a size that is no multiple of the patch size; for attentions
                of a net that routes tokens.
        """
        all_blocks = self._asked(output_hidden_states, "output_hidden_states")
        attentions = self._asked(output_attentions, "output_attentions")
        states, probabilities = self._states(pixel_values, attentions=attentions, all_blocks=all_blocks)
        output = BackboneOutput(
            feature_maps=tuple(states[stage] for stage in sorted(set(self.config.out_stages))),
            hidden_states=tuple(states.values()) if all_blocks else None,
            attentions=probabilities,
        )
        return output if self._asked(return_dict, "return_dict") else output.to_tuple()

    def _states(
        self, pixel_values: Tensor, *, attentions: bool, all_blocks: bool
    ) -> tuple[dict[int, Tensor], tuple[Tensor, ...] | None]:
        """({blocks that have run: [B, C, H, W]}, attentions): the stages to give out, or all."""
        check_pixel_values(pixel_values, self.architecture.num_channels, self.architecture.patch_size)
        if attentions and self.architecture.max_routed_tokens is not None:
            raise ValueError("output_attentions is True; expected False: this net routes tokens (MEMatte), and which "
                             "attend to each other differs from picture to picture")
        probabilities: list[Tensor] | None = [] if attentions else None
        wanted = set(self.config.out_stages)
        last = self.config.num_hidden_layers if all_blocks or attentions else max(wanted)
        kept: dict[int, Tensor] = {}
        x = self.embeddings(pixel_values)
        for stage in range(last + 1):
            if stage > 0:
                if stage - 1 in kept and not torch.is_grad_enabled():
                    x = x.clone()  # a block may overwrite its tokens
                x = self._block(cast(VitDetLayer, self.encoder.layer[stage - 1]), x, probabilities)
            if all_blocks or stage in wanted:
                kept[stage] = x.permute(0, 3, 1, 2)
                x = kept[stage].permute(0, 2, 3, 1)  # so that gradients pass through what is given out
        return kept, tuple(probabilities) if probabilities is not None else None

    def _block(self, layer: VitDetLayer, x: Tensor, probabilities: list[Tensor] | None) -> Tensor:
        """A block's tokens [B, H, W, C]; in bounded memory where no gradient is wanted."""
        if probabilities is not None:
            with _recorded(layer.attention, probabilities):
                return layer(x)
        if self.gradient_checkpointing and self.training:
            return checkpoint(layer, x, use_reentrant=False)
        differentiable = torch.is_grad_enabled() and (x.requires_grad or layer.norm1.weight.requires_grad)
        if differentiable or self.training:
            return layer(x)
        reach, x = self.architecture.attention_reach, x.contiguous()
        return run_block(layer, x, Context()) if reach is None else run_block_within(layer, x, reach, Context())

    @classmethod
    def _read(cls, path: Path, state: Mapping[str, Tensor] | None) -> Checkpoint:
        """Also the backbone of a whole net's file."""
        found = super()._read(path, state)
        own = {k.removeprefix("backbone."): v for k, v in found.state.items() if not k.startswith("decoder.")}
        return Checkpoint(found.path, own, found.layout)


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
        asked = self._asked(output_attentions, "output_attentions")
        states, probabilities = self._states(pixel_values, attentions=asked, all_blocks=True)
        hidden = tuple(states.values())
        output = TransformerOutput(
            last_hidden_state=hidden[-1],
            hidden_states=hidden if self._asked(output_hidden_states, "output_hidden_states") else None,
            attentions=probabilities,
        )
        return output if self._asked(return_dict, "return_dict") else output.to_tuple()


@contextmanager
def _recorded(attention: VitDetAttention, probabilities: list[Tensor]) -> Iterator[None]:
    """Appends the attention probabilities [B * windows, heads, N, N] of what runs inside."""
    def record(module: VitDetAttention, given: tuple[Tensor], _: Tensor) -> None:
        x = given[0]
        size = (module.window, module.window) if module.window else (x.shape[1], x.shape[2])
        queries, keys, _ = module.split(x, size)
        found = module.probabilities(queries, keys, size)
        probabilities.append(found.view(-1, module.heads, *found.shape[1:]))

    hook = attention.register_forward_hook(record)
    try:
        yield
    finally:
        hook.remove()
