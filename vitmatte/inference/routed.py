"""MEMatte's global blocks in bounded memory: the function of `VitDetLayer.routed`, and of the MLP after it.

Besides the tokens there are at full size, one after the other: the router's inside; queries, keys and values of the
routed tokens of a picture; what is added to all tokens. The light block goes down the picture in bands, each of which
hands its last rows on, so that nothing is computed twice.

A token whose margin is within rounding of zero (or, at the limit, of another token's) may be routed with one order of
sums and not with another. But for that, the result does not depend on the sizes of bands and chunks beyond rounding.

Notation as in `model.routing`; M of the R routed tokens are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..model.block import VitDetAttention, VitDetLayer
from ..model.routing import LIGHT_RATIO, LIGHT_REACH, LightBlock, Router, mean_token
from .attention import attention
from .context import Context
from .macs import attention_macs, decision_macs, expected_routed, light_macs
from .shortcuts import finish

# Routed tokens go through a layer in multiples of this: libraries underneath keep a kernel for each number.
STEP = 64


def run_routed(layer: VitDetLayer, x: Tensor, context: Context, place: Tensor | None = None) -> None:
    """What a block with a router makes of its tokens, but for the residual convolutions.

    Args:
        layer: in evaluation mode.
        x: tokens [B, H, W, C]; overwritten.
        context: sizes of bands and chunks, and what to call between them.
        place: the tokens whose result is wanted, by their numbers; the others' are left as they are. None: all.
    """
    assert layer.router is not None and layer.efficient_block is not None
    batch, height, width, channels = x.shape
    tokens = x.view(batch, height * width, channels)
    wanted = torch.ones(height * width, dtype=torch.bool, device=x.device)
    if place is not None:
        wanted = torch.zeros_like(wanted).index_fill(0, place, True)
    routed = routed_tokens(layer.router, x, context).flatten(1)
    expected = expected_routed(height * width, layer.router.limit)
    attended = [_attended(layer, *each, wanted, expected, context) for each in zip(tokens, routed, strict=True)]
    added = _light(layer.efficient_block, x, context).view(tokens.shape)
    for picture, (at, values) in zip(added, attended, strict=True):
        picture[at] = values
    del attended
    count = height * width if place is None else len(place)
    for start, stop in context.bands(count, batch * 3 * channels * x.element_size()):
        some = slice(start, stop) if place is None else place[start:stop]
        tokens[:, some] = finish(layer, tokens[:, some], added[:, some], context)


def routed_tokens(router: Router, x: Tensor, context: Context) -> Tensor:
    """`Router.routed` of `Router.forward`: bool [B, H, W] of tokens [B, H, W, C]."""
    batch, height, width, channels = x.shape
    inner, margins = torch.empty_like(x), x.new_empty(batch, height, width)
    row = batch * width * 3 * channels * x.element_size()
    for top, bottom in context.bands(height, row):
        inner[:, top:bottom] = router.in_conv(x[:, top:bottom])
        context.step(batch * (bottom - top) * width * channels * channels)
    whole = mean_token(inner[..., router.local:])
    for top, bottom in context.bands(height, row):
        margins[:, top:bottom] = router.margins(inner[:, top:bottom], whole)
        context.step(batch * (bottom - top) * width * decision_macs(channels))
    context.watch_halves(margins)  # a comparison would hide it
    return router.routed(margins)


def _attended(
    layer: VitDetLayer, tokens: Tensor, routed: Tensor, wanted: Tensor, expected: int, context: Context
) -> tuple[Tensor, Tensor]:
    """What attention gives to the routed tokens of a picture that are wanted.

    Args:
        tokens: [N, C]. routed, wanted: bool [N].
        expected: how many tokens progress takes to be routed.

    Returns:
        (their places [M], what is added to them [M, C]).
    """
    place, channels = routed.nonzero().squeeze(1), tokens.shape[1]
    at = place[wanted[place]]
    share = int(wanted.sum()) / len(wanted)
    told = _paced(context.step, attention_macs(channels, int(expected * share), expected),
                  attention_macs(channels, len(at), len(place)))
    result = tokens.new_empty(len(at), channels)
    if len(at):
        context = replace(context, step=told)
        queries, keys, values = _queries_keys_values(layer, tokens, place, wanted[place], context)
        count = len(at), len(place)
        attention(queries[:, :count[0]], keys[:, :count[1]], values[:, :count[1]], None, (1, count[1]),
                  context=context, out=queries[:, :count[0]])
        del keys, values
        _project(layer.attention, queries, result, context)
    return at, result


def _queries_keys_values(
    layer: VitDetLayer, tokens: Tensor, place: Tensor, asking: Tensor, context: Context
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [h, M', d] of those that ask (bool [R]) among the tokens at some places [R], and keys and values
    [h, R', d] of all of them; M' and R' are M and R in steps of STEP, with anything at the end."""
    attend, channels = layer.attention, tokens.shape[1]
    padded = torch.cat([place, place[-1:].expand(-len(place) % STEP)])
    asking = torch.cat([asking, asking.new_zeros(len(padded) - len(place))])
    count = int(asking.sum())
    keys, values = (tokens.new_empty(attend.heads, len(padded), attend.dim) for _ in range(2))
    queries = tokens.new_zeros(attend.heads, count + -count % STEP, attend.dim)
    filled = 0
    for start, stop in context.bands(len(padded), 3 * channels * tokens.element_size()):
        found = attend.qkv(layer.norm1(tokens[padded[start:stop]])).unflatten(1, (3, attend.heads, attend.dim))
        some, keys[:, start:stop], values[:, start:stop] = found.permute(1, 2, 0, 3)
        some = some[:, asking[start:stop]]
        queries[:, filled:filled + some.shape[1]] = some
        filled += some.shape[1]
        context.step(max(0, min(stop, len(place)) - start) * 3 * channels * channels)
    return queries, keys, values


def _project(attend: VitDetAttention, attended: Tensor, out: Tensor, context: Context) -> None:
    """Writes what `VitDetAttention.join` makes of [h, M', d] to out [M, C]."""
    count, channels = out.shape
    for start, stop in context.bands(attended.shape[1], 2 * channels * out.element_size()):
        found = attend.proj(attended[:, start:stop].transpose(0, 1).flatten(1))
        filled = max(0, min(stop, count) - start)
        out[start:stop] = found[:filled]
        context.step(filled * channels * channels)


def _light(block: LightBlock, x: Tensor, context: Context) -> Tensor:
    """`LightBlock.forward` in bands of rows."""
    batch, height, width, channels = x.shape
    result = torch.empty_like(x)
    total = torch.zeros_like(mean_token(x[:, :1]))
    kept: Tensor | None = None  # the last rows of the inside, which the next band sees too
    done = 0  # rows whose inside was computed
    row = batch * width * 2 * LIGHT_RATIO * channels * x.element_size()  # two of the inside are there at once
    for top, bottom in context.bands(height, row):
        ahead = min(height, bottom + LIGHT_REACH)
        inner = block.widened(x[:, done:ahead])  # of no rows at the end, where bands are short
        inner = inner if kept is None else torch.cat([kept, inner], dim=1)
        first, done = ahead - inner.shape[1], ahead
        found = block.mixed(inner)[:, top - first:bottom - first]
        context.watch_halves(found)  # the channel attention's sigmoid would hide it
        result[:, top:bottom] = found
        total += mean_token(found) * (bottom - top)
        kept = inner[:, max(0, bottom - LIGHT_REACH - first):]
        context.step(batch * (bottom - top) * width * light_macs(channels))
    return result.mul_(block.eca(total / height).to(result))


def _paced(step: Callable[[int], None], expected: int, macs: int) -> Callable[[int], None]:
    """A step for `macs` multiply-adds that reports `expected` in all, as the work goes on; at once where there is
    none."""
    done = told = 0
    if macs == 0:
        step(expected)

    def report(more: int) -> None:
        nonlocal done, told
        done += more
        now = expected * done // macs
        step(now - told)
        told = now

    return report
