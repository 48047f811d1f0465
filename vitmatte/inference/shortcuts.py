"""What every block ends with: the two sums beside its shortcuts."""

from __future__ import annotations

from torch import Tensor

from ..model.block import VitDetLayer
from .context import Context


def finish(layer: VitDetLayer, x: Tensor, attended: Tensor, context: Context) -> Tensor:
    """Both shortcuts of a part x [..., C]: the attention's result, and the MLP, whose middle is cut smaller."""
    x = (x + attended).contiguous()  # a picture one token wide may come out in another order
    tokens = x.view(-1, x.shape[-1])
    for start, stop in context.bands(tokens.shape[0], layer.mlp.hidden * x.element_size()):
        tokens[start:stop] += layer.mlp(layer.norm2(tokens[start:stop]))
        context.step((stop - start) * 2 * layer.mlp.hidden * x.shape[-1])
    return x
