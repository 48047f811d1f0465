"""An exponential moving average of a net's weights and running statistics: what is validated and published."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Follows a net with `update` after every step.

    Args:
        net: its values at the start.
        decay: of the average, once it is warm; before that it is (1 + n) / (10 + n) after n updates.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state: dict[str, Tensor] = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Moves the average towards the net's present values."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value.detach(), 1 - keep)
            else:
                self.state[name].copy_(value)
