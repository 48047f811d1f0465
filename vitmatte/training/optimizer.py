"""Muon for the weight matrices, AdamW for everything else.

Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest
semi-orthogonal matrix, found by Newton-Schulz iteration, and learns in clearly fewer steps than AdamW. Its step is
scaled to the size of AdamW's, so that both share one learning rate (Liu et al., arXiv 2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values to about 0.7 .. 1.2 in five rounds
ROUNDS = 5
LIKE_ADAMW = 0.2  # root mean square of AdamW's step, in learning rates (Liu et al., section 2.2)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The semi-orthogonal factor U V^T of [rows, columns], roughly, in the matrix's dtype."""
    a, b, c = QUINTIC
    # Half precision is enough, but torch has no fast products of it for these shapes on a CPU.
    x = matrix.float() if matrix.device.type == "cpu" else matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.t().contiguous() if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.t()
        x = a * x + (b * square + c * square @ square) @ x
    return (x.t() if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay; weights of more than two dimensions are flattened.

    Args:
        lr: learning rate, of AdamW's size. momentum: of the gradient. weight_decay: times the learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95,
                 weight_decay: float = 0.0) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the orthogonalised momentum."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                mean: Tensor = state["momentum"]
                mean.lerp_(weight.grad, 1 - group["momentum"])
                ahead = torch.lerp(weight.grad, mean, group["momentum"]).flatten(1)
                scale = LIKE_ADAMW * max(ahead.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonalised(ahead).view_as(weight), alpha=-group["lr"] * scale)


def split_parameters(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(matrices between hidden layers, other weights, parameters without weight decay).

    What reads the picture, what writes the alpha, and position tables count as other weights.
    """
    hidden, other, free = [], [], []
    for name, parameter in net.named_parameters():
        outer = any(part in name for part in ("embeddings", "rel_pos", "convs.0.conv", "matting_convs.3"))
        if parameter.ndim < 2 or "rel_pos" in name or "position_embeddings" in name:
            free.append(parameter)
        elif outer:
            other.append(parameter)
        else:
            hidden.append(parameter)
    return hidden, other, free


def make_optimizers(net: nn.Module, kind: str, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """The optimizers of a net; kind is "muon" or "adamw"."""
    hidden, other, free = split_parameters(net)
    if kind == "adamw":
        other, hidden = hidden + other, []
    groups = [{"params": other, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))]
    if hidden:
        made.append(Muon(hidden, lr=rate, weight_decay=weight_decay))
    return made
