"""Linear layers on a CPU by oneDNN's product.

torch's own `linear` goes to MKL in float32. oneDNN, which torch for x86 holds too, does the same product in 0.85 to
0.95 of the time on an AMD EPYC, and applies GELU while the result is still in the cache. torch offers it as the
operator that its compiler emits; where this torch has none, or a layer is not in plain float32 on a CPU, the layer is
called as it stands. So it is for what comes after `MOST_SHAPES` other shapes: oneDNN keeps what it makes for each.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# oneDNN keeps a kernel of half a megabyte for each number of rows, inputs and outputs (benchmarks.long_run); MKL none.
# A picture's size takes 10 to 40 of them. A shape stays with what it went to first, so that repeats are equal.
MOST_SHAPES = 192
_shapes: set[tuple[int, ...]] = set()


def linear(layer: Any, x: Tensor) -> Tensor:
    """layer(x) of a linear layer, [..., inputs] to [..., outputs]."""
    return _pointwise(layer, x, "none", "") if _goes_to_onednn(layer, x) else layer(x)


def linear_gelu(layer: Any, x: Tensor, approximate: str) -> Tensor:
    """F.gelu(layer(x), approximate), with `approximate` "none" or "tanh"."""
    if _goes_to_onednn(layer, x):
        return _pointwise(layer, x, "gelu", approximate)
    return F.gelu(layer(x), approximate=approximate)


def _goes_to_onednn(layer: Any, x: Tensor) -> bool:
    if torch.is_grad_enabled() or not isinstance(layer, nn.Linear) or not torch.backends.mkldnn.enabled:
        return False
    if getattr(layer, "weight_function", None):  # ComfyUI changes these weights as they are used
        return False
    plain = all(y.device.type == "cpu" and y.dtype == torch.float32 for y in (x, layer.weight))
    return plain and _onednn_works() and _has_kernel(x.numel() // x.shape[-1], *layer.weight.shape)


def _has_kernel(*shape: int) -> bool:
    if shape not in _shapes and len(_shapes) < MOST_SHAPES:
        _shapes.add(shape)
    return shape in _shapes


def _pointwise(layer: Any, x: Tensor, attribute: str, algorithm: str) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, attribute, [], algorithm)


@cache
def _onednn_works() -> bool:
    """Whether this torch has the operator, for this machine, and it does what it does in torch 2.13."""
    try:
        with torch.no_grad():
            layer, x = nn.Linear(3, 2, device="meta"), torch.arange(12.0).view(2, 2, 3) / 6 - 1
            layer.load_state_dict({"weight": x.view(4, 3)[:2] * 2, "bias": x[0, 0, :2]}, assign=True)  # draws nothing
            pairs = [(_pointwise(layer, x, "none", ""), layer(x))]
            for how in ("none", "tanh"):
                pairs.append((_pointwise(layer, x, "gelu", how), F.gelu(layer(x), approximate=how)))
        return all(torch.allclose(found, expected, atol=1e-5) for found, expected in pairs)
    except (AttributeError, RuntimeError, TypeError):
        return False
