"""DiffMatte's decoder: a U-Net on picture, trimap and a noisy matte, with the transformer's features at its bottom.

Source: Hu et al., arXiv 2312.05915. Parameter names are the authors'. `model.diffusion` has the steps in which it is
run, `inference.denoise` the same function tile by tile.

Notation: B pictures of H x W pixels; level l has 1 / 2^l of the size; the features stand at level L.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .casting import CheckedCasts
from .config import MattingConfig
from .decoder import MattingHead, fold_into
from .diffusion import INPUTS, DiffusionConfig, condition, given_state, noise, steps_of

MAX_PERIOD = 10_000  # of the time's embedding


class TimedBlock(nn.Module):
    """Two convolutions with the time's embedding added between them, and a way around; halves or doubles the size."""

    def __init__(self, config: MattingConfig, first: Any, inputs: int, outputs: int, *, ops: Any, **at: Any) -> None:
        super().__init__()
        assert config.diffusion is not None
        self.emb_layers = nn.Sequential(ops.Linear(config.diffusion.embedding_channels, outputs, **at), nn.ReLU())
        self.conv1 = first
        self.bn1: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, **at)
        self.conv2 = ops.Conv2d(outputs, outputs, 3, padding=1, bias=False, **at)
        self.bn2: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, **at)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x [B, inputs, H, W] and embedding [B, E] to [B, outputs, half or twice H, W]."""
        inner = self.bn1(self.conv1(x)).relu() + self.emb_layers(embedding)[..., None, None]
        return (self.bn2(self.conv2(inner)) + self.around(x)).relu()

    def around(self, x: Tensor) -> Tensor:
        """The way around the two convolutions, which is halved or doubled as they are."""
        raise NotImplementedError

    def fold(self) -> None:
        """Makes the BatchNorms part of the convolutions before them."""
        for conv, name in ((self.conv1, "bn1"), (self.conv2, "bn2")):
            norm = getattr(self, name)
            if isinstance(norm, nn.BatchNorm2d):
                fold_into(conv, norm)
                setattr(self, name, nn.Identity())


class DownBlock(TimedBlock):
    """Halves the size."""

    def __init__(self, config: MattingConfig, inputs: int, outputs: int, *, ops: Any, **at: Any) -> None:
        first = ops.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False, **at)
        super().__init__(config, first, inputs, outputs, ops=ops, **at)
        self.downsample = nn.ModuleDict({
            "op": ops.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False, **at)})

    def around(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / 2, W / 2]."""
        return self.downsample["op"](x)


class UpBlock(TimedBlock):
    """Doubles the size."""

    def __init__(self, config: MattingConfig, inputs: int, outputs: int, *, ops: Any, **at: Any) -> None:
        first = ops.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False, **at)
        super().__init__(config, first, inputs, outputs, ops=ops, **at)
        self.upsample = nn.ModuleDict({"conv": ops.Conv2d(inputs, outputs, 3, padding=1, bias=False, **at)})

    def around(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, 2H, 2W], enlarged and convolved."""
        return self.upsample["conv"](F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


class DUNet(CheckedCasts):
    """Feature map, picture and noise to the alpha matte, in several runs of one U-Net."""

    def __init__(self, config: MattingConfig, *, operations: Any = nn, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        assert config.diffusion is not None
        self.diffusion: DiffusionConfig = config.diffusion
        at = {"device": device, "dtype": dtype}
        how: dict[str, Any] = {"ops": operations, **at}
        times, inner = self.diffusion.time_channels, self.diffusion.embedding_channels
        self.time_embed = nn.Sequential(operations.Linear(times, inner, **at), nn.ReLU(),
                                        operations.Linear(inner, inner, **at))
        details = [INPUTS, *config.convstream_hidden_sizes]
        features = list(config.fusion_hidden_sizes)
        self.down_blks = nn.ModuleList(DownBlock(config, i, o, **how)
                                       for i, o in zip(details, details[1:], strict=False))
        self.mid_blk = UpBlock(config, config.hidden_size, features[0], **how)
        self.up_blks = nn.ModuleList(UpBlock(config, i + d, o, **how) for i, d, o in
                                     zip(features, reversed(details[1:]), features[1:], strict=False))
        self.matting_head = MattingHead(config, **how)

    def forward(
        self, features: Tensor, pixel_values: Tensor, *, size: tuple[int, int] | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """The alpha mattes of a batch: all steps, everything at once.

        Args:
            features: [B, C, H / 2^L, W / 2^L].
            pixel_values: [B, 4, H, W], normalised RGB and trimap.
            size: (height, width) of the picture without its padding, in which there is no noise; None for all of it.
            start: noise [B, 1, height, width] to begin with; None for `diffusion.noise`.

        Returns:
            [B, 1, H, W] in 0..1.
        """
        height, width = size or pixel_values.shape[-2:]
        if start is None:
            start = noise(height, width, self.diffusion.seed).expand(len(pixel_values), 1, -1, -1)
        state = start.to(pixel_values.device, torch.float32)
        seen = condition(pixel_values, height, width)
        padding = 0, pixel_values.shape[3] - width, 0, pixel_values.shape[2] - height
        logits = state
        for step in steps_of(self.diffusion):
            factors = torch.tensor([given_state(x, self.diffusion) for x in state], dtype=state.dtype,
                                   device=state.device)
            x = F.pad(state * factors.view(-1, 1, 1, 1), padding).to(seen)
            logits = self.logits(features, torch.cat([seen, x], dim=1), step.time)
            found = 2 * torch.sigmoid(logits[..., :height, :width].float()) - 1
            state = step.next_state(state, found)
        return torch.sigmoid(logits)

    def logits(self, features: Tensor, inputs: Tensor, time: float) -> Tensor:
        """One run: features, inputs [B, 7, H, W] and a time in 0..1 to the logits [B, 1, H, W]."""
        embedding = self.embedding(time, inputs)
        details = [inputs]
        for down in self.down_blks:
            details.append(down(details[-1], embedding))
        x = self.mid_blk(features, embedding)
        for up in self.up_blks:
            x = up(torch.cat([x, details.pop()], dim=1), embedding)
        return self.matting_head(x)

    def embedding(self, time: float, like: Tensor) -> Tensor:
        """[1, E] of a time: cosines and sines of it at frequencies from 1 to 1 / 10000, through two layers."""
        channels = self.diffusion.time_channels
        half = channels // 2
        frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(half, dtype=torch.float32) / max(1, half))
        angles = time * frequencies
        waves = F.pad(torch.cat([angles.cos(), angles.sin()]), (0, channels % 2))
        return self.time_embed(waves[None].to(like))

    def fold(self) -> None:
        """Makes each BatchNorm part of its convolution, in place: the same function in evaluation mode."""
        for part in self.modules():
            if isinstance(part, (TimedBlock, MattingHead)):
                part.fold()

    @property
    def folded(self) -> bool:
        """Whether the BatchNorms are part of their convolutions."""
        return not any(isinstance(part, nn.BatchNorm2d) for part in self.modules())
