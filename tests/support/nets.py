"""Nets for tests: small configurations, and weights that make the alpha spread."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from vitmatte import VitDetConfig, VitMatteConfig, VitMatteForImageMatting

N = TypeVar("N", bound=torch.nn.Module)
SPREAD = 0.03  # a fresh net gives a constant; comparing two constants proves nothing


def small_config(**changes: Any) -> VitMatteConfig:
    """A net with everything the real ones have, in miniature, and nothing at their usual numbers."""
    backbone: dict[str, Any] = {
        "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3, "image_size": 96,
        "pretrain_image_size": 80, "num_channels": 4, "window_size": 3, "window_block_indices": [0, 2],
        "residual_block_indices": [1, 3], "use_relative_position_embeddings": True, **changes,
    }
    return VitMatteConfig(backbone_config=VitDetConfig(**backbone), hidden_size=backbone["hidden_size"],
                          convstream_hidden_sizes=[8, 12, 16], fusion_hidden_sizes=[24, 16, 12, 8])


@torch.no_grad()
def randomise(net: N, seed: int = 0) -> N:
    """Random weights, norms, running statistics and relative tables, at scales that keep every part at work."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("matting_convs.3.weight"):
            noise -= noise.mean()  # the alpha is to spread around the middle, not to stick to 0 or 1
        if name.endswith("running_var"):
            value.copy_(0.5 + 0.5 * noise.abs())
        elif "rel_pos" in name or "position_embeddings" in name:
            value.copy_(0.2 * noise)
        elif name.endswith("matting_convs.3.bias"):
            value.zero_()
        elif value.ndim == 1:
            value.copy_(0.2 * noise + (1 if name.endswith("weight") else 0))
        else:
            value.copy_(noise * (2 / value[0].numel()) ** 0.5)
    return net.eval()


def random_net(config: VitMatteConfig | None = None, seed: int = 0) -> VitMatteForImageMatting:
    """A net with random weights, in evaluation mode."""
    return randomise(VitMatteForImageMatting(config or small_config()), seed)


def random_input(height: int, width: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    """[batch, 4, height, width]: noise, and a trimap of 0, 0.5 and 1."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(batch, 4, height, width, generator=generator)
    pixels[:, 3] = torch.randint(0, 3, (batch, height, width), generator=generator) / 2
    return pixels


def assert_close(found: torch.Tensor, expected: torch.Tensor, most: float | torch.Tensor) -> None:
    """Equal to `most`, a number (see `rounding`) or one for each place; else says where and how the differences are
    spread."""
    assert found.shape == expected.shape, f"shape {list(found.shape)}, expected {list(expected.shape)}"
    difference, bound = (found.double() - expected.double()).abs(), torch.as_tensor(most, dtype=torch.float64)
    if bool((difference <= bound).all()):
        return
    share = (difference / bound).nan_to_num(nan=float("inf"))
    place = tuple(int(i) for i in torch.unravel_index(share.argmax(), share.shape))
    steps = [0, 1, 10, 100, float("inf")]
    counts = [int(((share > a) & (share <= b)).sum()) for a, b in zip(steps, steps[1:], strict=False)]
    raise AssertionError(f"difference {difference[place]:.3g} at {list(place)}, allowed "
                         f"{bound.expand(share.shape)[place]:.3g}; values in (0, 1x], (1x, 10x], (10x, 100x], beyond: "
                         f"{counts} of {difference.numel()}")
