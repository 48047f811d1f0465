"""Any other backbone in ViTDet's place: what transformers and timm have, brought to what the decoder takes.

The decoder takes one map of `hidden_size` channels at 1/16 of the size. The rule:

1. Maps. `hidden_size` equal to the channels of the last feature map: that one, as transformers does. Equal to the sum
   over all maps that the backbone gives out: all of them, each brought to 1/16, one behind the other. Else an error.
2. Input. Zeros below and to the right up to a multiple of every map's stride (14 for DINOv2 with patches of 14).
3. Stride 16 passes as it is. A stride that divides 16 (ConvNeXt's first maps): the mean of the places inside. Any other
   (14, 32): bilinear, at the centres of the decoder's places in pixels. What lies beyond the picture is cut off.
4. A backbone for three channels gets a fourth, the trimap; see `external_libraries.widen`.

Such a backbone runs whole pictures in the way its library does: its memory grows with the picture, and `memory_limit`
holds for the decoder only. Progress and interruption reach inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_pixel_values
from ..padding import SizeContract
from .config import MattingConfig
from .external_libraries import TIMM_ARGUMENTS, TimmBackbone, build

PROBE_SIZE = 224  # pixels, where the configuration names no size: a multiple of 14 and of 32


class ExternalBackbone:
    """Runs a backbone of another library for a ViTMatte. Not a module itself, so that `module` keeps the parameter
    names that transformers' checkpoints have.

    Args:
        architecture: the net's; its backbone is an `ExternalConfig`.

    Attributes:
        module: the backbone; `to`, `state_dict` and training act on it.
        config: the backbone's description, also where a name was given.
        strides: pixels to a place, for each feature map.
        widths: channels of each.
        largest: values in the largest tensor that a layer makes, per pixel of the input.

    Raises:
        ImportError, ValueError, OSError: see `external_libraries.build`. ValueError also for a `hidden_size` that fits
        neither the last map nor all of them, and for maps that lie on no regular grid.
    """

    def __init__(self, architecture: MattingConfig) -> None:
        assert architecture.external is not None
        self.config, self.module = build(architecture.external)
        self.channels, self.stride = self.config.num_channels, architecture.stride
        self.calls = 0
        self._probe()
        width = architecture.hidden_size
        self.all_maps = len(self.widths) > 1 and width == sum(self.widths)
        if width != self.widths[-1] and not self.all_maps:
            both = f" (the last one's), or {sum(self.widths)} (all of them together)" if len(self.widths) > 1 else ""
            raise ValueError(f"hidden_size is {width}; expected {self.widths[-1]}{both}: the backbone's feature maps "
                             f"have {self.widths} channels")
        self.contract = SizeContract(math.lcm(*self.strides))

    def forward(self, pixel_values: Tensor, step: Callable[[int], None] | None = None) -> Tensor:
        """[B, channels, height, width], both sides multiples of the decoder's stride, to the map for the decoder.

        Args:
            pixel_values: see above.
            step: called after each layer with a share of the multiply-adds.

        Returns:
            [B, hidden_size, height / stride, width / stride].

        Raises:
            ValueError: for a shape the net cannot take.
        """
        return self.outputs(pixel_values, step=step)[0]

    __call__ = forward

    def outputs(
        self, pixel_values: Tensor, *, hidden_states: bool = False, attentions: bool = False,
        step: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Any, Any]:
        """`forward`, with what the backbone's library gives besides: (map, hidden states, attentions).

        The last two are None where not asked for or not to be had; timm's hidden states are its feature maps.

        Raises:
            ValueError: for a shape the net cannot take, or attentions of timm.
        """
        check_pixel_values(pixel_values, self.channels, (self.stride, self.stride))
        if attentions and isinstance(self.module, TimmBackbone):
            raise ValueError("output_attentions is True, but timm's backbones do not give their attentions")
        weight = next(self.module.parameters())
        padded = self.contract.pad(pixel_values).to(weight.device, weight.dtype)
        with self._watched(step, pixel_values):
            maps, states, probabilities = self._run(padded, hidden_states, attentions)
        height, width = pixel_values.shape[-2] // self.stride, pixel_values.shape[-1] // self.stride
        wanted = range(len(maps)) if self.all_maps else [len(maps) - 1]
        brought = [SizeContract.crop(self._brought(maps[i], self.strides[i]), height, width) for i in wanted]
        feature = torch.cat(brought, dim=1) if len(brought) > 1 else brought[0]
        return feature.to(pixel_values), states, probabilities

    def macs(self, grid: tuple[int, int]) -> int:
        """About the multiply-adds of one picture of a grid (H, W) of the decoder: every weight once per place."""
        return sum(p.numel() for p in self.module.parameters()) * grid[0] * grid[1]

    def _run(self, x: Tensor, states: bool, attentions: bool) -> tuple[list[Tensor], Any, Any]:
        if isinstance(self.module, TimmBackbone):
            maps = list(self.module(x))
            return maps, tuple(maps) if states else None, None
        with self._probabilities() if attentions else nullcontext():
            output = self.module.forward_with_filtered_kwargs(  # type: ignore[operator]
                x, output_hidden_states=states, output_attentions=attentions
            )
        return list(output.feature_maps), output.hidden_states, getattr(output, "attentions", None)

    @contextmanager
    def _probabilities(self) -> Iterator[None]:
        """transformers' attention in the form that has probabilities to give out."""
        config: Any = self.module.config
        before = getattr(config, "_attn_implementation", None)
        if before in (None, "eager") or not hasattr(self.module, "set_attn_implementation"):
            yield
            return
        self.module.set_attn_implementation("eager")  # type: ignore[operator]
        try:
            yield
        finally:
            self.module.set_attn_implementation(before)  # type: ignore[operator]

    def _brought(self, x: Tensor, stride: int) -> Tensor:
        """A map [B, C, h, w] to the decoder's stride, beginning in the same corner."""
        if stride == self.stride:
            return x
        if self.stride % stride == 0:
            return F.avg_pool2d(x, self.stride // stride)
        return F.interpolate(x, scale_factor=stride / self.stride, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def _probe(self) -> None:
        """Runs a blank picture to see what the backbone gives out."""
        described = self.config.described or {}
        side = described.get("image_size") or described.get(TIMM_ARGUMENTS, {}).get("img_size") or PROBE_SIZE
        height, width = (side, side) if isinstance(side, int) else (side[-2], side[-1])
        training, largest = self.module.training, 0

        def seen(output: Tensor) -> None:
            nonlocal largest
            self.calls += 1
            largest = max(largest, output.numel())

        self.module.eval()
        with self._hooked(seen):
            maps, _, _ = self._run(torch.zeros(1, self.channels, height, width), False, False)
        self.module.train(training)
        for x in maps:
            if x.ndim != 4 or height % x.shape[2] or width % x.shape[3] or height // x.shape[2] != width // x.shape[3]:
                raise ValueError(f"the backbone makes a feature map {list(x.shape)} of a picture of {height}x{width}; "
                                 "expected [batch, channels, height / stride, width / stride]")
        self.strides = [height // x.shape[2] for x in maps]
        self.widths = [x.shape[1] for x in maps]
        self.largest = largest / (height * width)

    @contextmanager
    def _watched(self, step: Callable[[int], None] | None, pixel_values: Tensor) -> Iterator[None]:
        """Reports the arithmetic while the backbone runs, a share for each layer."""
        if step is None:
            yield
            return
        batch, _, height, width = pixel_values.shape
        share = batch * self.macs((height // self.stride, width // self.stride)) // max(1, self.calls)
        with self._hooked(lambda output: step(share)):
            yield

    @contextmanager
    def _hooked(self, seen: Callable[[Tensor], None]) -> Iterator[None]:
        """Calls `seen` with what each layer gives out."""
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                seen(output)

        layers = [part for part in self.module.modules() if next(part.children(), None) is None]
        hooks = [layer.register_forward_hook(hook) for layer in layers]
        try:
            yield
        finally:
            for each in hooks:
                each.remove()
