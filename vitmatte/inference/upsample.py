"""Enlarging features by two and convolving them: together with the detail map, or before the enlargement.

The enlargement is torch's bilinear one without aligned corners: 3/4 of the place below and 1/4 of its neighbour on
that side, which at the edge is itself. Convolution and enlargement are both linear, so each of a 3x3 convolution's nine
taps, a product at every place, may come first, at a quarter of the places; what is left is to enlarge the nine results,
shift them and add. That is a quarter of the multiplications, and the same function up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.plain import is_called, is_plain
from .context import Context

# From this many channels on the products saved are worth more than the additions made, on a CPU (benchmarks/parts.py).
TAPS_CHANNELS = 64


def by_taps(features: Tensor, conv: Any) -> bool:
    """Whether `convolved` is the faster form and as exact: a plain layer on a CPU, float32, many channels."""
    if features.shape[0] != 1 or features.shape[1] < TAPS_CHANNELS or not is_plain(conv) or is_called(conv):
        return False
    return all(x.device.type == "cpu" and x.dtype == torch.float32 for x in (features, conv.weight))


def joined(details: Tensor, features: Tensor, context: Context) -> Tensor:
    """details [B, D, 2H, 2W] and features [B, F, H, W], enlarged by two, as one map [B, D + F, 2H, 2W].

    The map is in scratch memory.
    """
    coarse = features.permute(0, 2, 3, 1)
    (batch, height, width, fine), channels = coarse.shape, details.shape[1]
    size = batch * 2 * height * 2 * width * (channels + fine)
    memory = context.scratch(size + batch * height * 2 * width * fine, details.dtype, details.device)
    both = memory[:size].view(batch, 2 * height, 2 * width, channels + fine)
    both[..., :channels] = details.permute(0, 2, 3, 1)
    wide = memory[size:].view(batch, height, 2 * width, fine)
    _enlarge(coarse, wide[:, :, 0::2], wide[:, :, 1::2], axis=2)
    _enlarge(wide, both[:, 0::2, :, channels:], both[:, 1::2, :, channels:], axis=1)
    return both.permute(0, 3, 1, 2)


def convolved(details: Tensor, features: Tensor, conv: Any, context: Context) -> Tensor:
    """conv of `joined`, whose enlarged features are never there.

    Args:
        details: [1, D, 2H, 2W].
        features: [1, F, H, W].
        conv: a 3x3 convolution with padding 1 of D + F channels.
        context: lends memory, and keeps the rearranged weights.

    Returns:
        [1, outputs, 2H, 2W].
    """
    own, _ = _weights(conv, details.shape[1], context)
    result = F.conv2d(details, own, conv.bias, padding=1)
    add_enlarged(result, features, conv, context)
    return result


def add_enlarged(result: Tensor, features: Tensor, conv: Any, context: Context) -> None:
    """Adds what a 3x3 convolution with padding 1 makes of enlarged features, which are never there; not its bias.

    Args:
        result: [1, outputs, 2H, 2W], which is added to.
        features: [1, F, H, W].
        conv: of D + F channels, the first D of which are left out here.
        context: lends memory, and keeps the rearranged weights.
    """
    (_, inputs, height, width), outputs = features.shape, conv.weight.shape[0]
    _, taps = _weights(conv, conv.weight.shape[1] - inputs, context)
    sizes = [height * width * 9 * outputs, height * 2 * width * 3 * outputs, height * 2 * width * 3 * outputs]
    products, wide, spare = context.scratch(sum(sizes), features.dtype, features.device).split(sizes)
    places = features[0].permute(1, 2, 0).reshape(height * width, inputs)
    products = torch.mm(places, taps, out=products.view(height * width, -1)).view(height, width, 3, 3 * outputs)
    wide = wide.view(height, 2 * width, 3 * outputs)
    _enlarge(products[:, :, 1], wide[:, 0::2], wide[:, 1::2], axis=1)
    _add_shifted(wide, products[:, :, 0], products[:, :, 2], spare.view(wide.shape), axis=1)
    rows = wide.view(height, 2 * width, 3, outputs)
    spare = spare[:2 * height * 2 * width * outputs].view(2 * height, 2 * width, outputs)
    _enlarge(rows[:, :, 1], spare[0::2], spare[1::2], axis=0)
    fine = result[0].permute(1, 2, 0)
    fine += spare
    _add_shifted(fine, rows[:, :, 0], rows[:, :, 2], spare, axis=0)


def taps_scratch(places: int, outputs: int) -> int:
    """Numbers of scratch memory that `convolved` takes for so many places of features."""
    return places * outputs * (9 + 6 + 6)


def _weights(conv: Any, details: int, context: Context) -> tuple[Tensor, Tensor]:
    """The details' weights [outputs, D, 3, 3], and the features' taps [F, columns * rows * outputs]."""
    key = id(conv.weight), details
    if key not in context.tables:
        weight = conv.weight.detach()
        context.tables[key] = weight[:, :details].contiguous(memory_format=torch.channels_last)
        taps = weight[:, details:].permute(1, 3, 2, 0)  # [F, column, row, outputs]
        context.tables[key[0], -1] = taps.reshape(taps.shape[0], -1)
    return context.tables[key], context.tables[key[0], -1]


def _add_shifted(total: Tensor, before: Tensor, after: Tensor, spare: Tensor, axis: int) -> None:
    """Adds to each place of total the enlarged `before` of the place before it and `after` of the one after it."""
    count = total.shape[axis] - 1
    for x, target, source in ((before, 1, 0), (after, 0, 1)):
        even, odd = (spare[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
        _enlarge(x, even, odd, axis)
        total.narrow(axis, target, count).add_(spare.narrow(axis, source, count))


def _enlarge(x: Tensor, even: Tensor, odd: Tensor, axis: int) -> None:
    """Writes the even and the odd places of x, enlarged by two along an axis."""
    count = x.shape[axis] - 1
    first, after = x.narrow(axis, 0, count), x.narrow(axis, 1, count)
    torch.lerp(after, first, 0.25, out=even.narrow(axis, 1, count))
    torch.lerp(first, after, 0.25, out=odd.narrow(axis, 0, count))
    even.select(axis, 0).copy_(x.select(axis, 0))
    odd.select(axis, -1).copy_(x.select(axis, -1))
