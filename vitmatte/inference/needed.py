"""Which tokens must be computed, block by block, so that the features that unknown pixels see come out right.

Going back from the needed features: a residual block's 3x3 convolution sees one token more on every side, a global
block's attention sees the keys within its reach, and a window block whole windows. So the arithmetic follows the
unknown area and not the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..model.config import TransformerConfig
from ..padding import touched
from ..steps import ROWS, strips
from ..trimap.known import known_areas

# Of the unknown tokens, the share that must see known ones of either side: an island of unknown far from the subject
# need not widen the reach of the whole frame.
SEEING = 0.95


@dataclass(frozen=True)
class BlockTokens:
    """Which tokens of a grid a block deals with; bool [H, W] each, every one a part of the next.

    Args:
        wanted: those whose result is wanted.
        attending: those that attend: wanted, and what the residual convolution sees beside them.
        seen: those that are attended to.
    """

    wanted: Tensor
    attending: Tensor
    seen: Tensor


def tokens_by_block(
    needed: Tensor, config: TransformerConfig, reach: int, margin: int | None
) -> list[BlockTokens]:
    """What each block that runs deals with, the first block's first.

    Args:
        needed: bool [H, W], the tokens whose features are wanted.
        config: the transformer's.
        reach: of global blocks, in tokens.
        margin: tokens further than this from every needed one do not exist, except that windows are whole; None: all
            exist.
    """
    window = config.window_size if config.window_block_indices else 1
    exists = torch.ones_like(needed) if margin is None else whole_windows(grown(needed, margin), max(1, window))
    found: list[BlockTokens] = []
    wanted = needed
    for block in reversed(range(config.depth)):
        attending = grown(wanted, 1) & exists if block in config.residual_block_indices else wanted
        side = config.window_of(block)
        seen = whole_windows(attending, side) if side else grown(attending, reach) & exists
        found.append(BlockTokens(wanted, attending, seen))
        wanted = seen
    return found[::-1]


@dataclass(frozen=True)
class Areas:
    """What a trimap [H, W] says of its pixels, and which tokens have such pixels.

    Args:
        pixels: bool [H, W], unknown ones.
        unknown, foreground, background: bool [rows, columns] of tokens.
    """

    pixels: Tensor
    unknown: Tensor
    foreground: Tensor
    background: Tensor


def areas(trimap: Tensor, stride: int) -> Areas:
    """The areas of a trimap [H, W] in 0..1, with tokens of `stride` pixels a side."""
    pixels = torch.empty(trimap.shape, dtype=torch.bool, device=trimap.device)
    tokens = []
    for rows in strips(len(trimap), rows=-(-ROWS // stride) * stride):  # what lies between stays in a CPU's cache
        foreground, background = known_areas(trimap[rows])
        unknown = torch.logical_or(foreground, background, out=pixels[rows]).logical_not_()
        tokens.append([touched(area, stride) for area in (unknown, foreground, background)])
    return Areas(pixels, *map(torch.cat, zip(*tokens, strict=True)))


def distance_to_known(found: Areas, least: int, most: int) -> int:
    """How far the unknown tokens of a frame are from what is known on either side, in tokens.

    Args:
        found: of the frame.
        least, most: bounds of the answer.

    Returns:
        The least distance, in rows and in columns, within which the share SEEING of the unknown tokens finds a token
        with known foreground and one with known background; `most` where there is none.
    """
    sides = [grown(area, least) for area in (found.foreground, found.background)]
    total = int(found.unknown.sum())
    for distance in range(least, most):
        if int((found.unknown & sides[0] & sides[1]).sum()) >= SEEING * total:
            return distance
        sides = [grown(area, 1) for area in sides]
    return most


def grown(mask: Tensor, by: int) -> Tensor:
    """bool [H, W], grown by so many tokens in rows and in columns."""
    for axis in (0, 1):
        length, done = mask.shape[axis], 0
        while done < by:  # a mask grown by d, shifted by at most d + 1 to either side, covers all between, edges too
            shift = min(by - done, done + 1)
            done += shift
            common = length - shift
            if common <= 0:  # whatever is marked is seen from everywhere
                mask = mask.any(dim=axis, keepdim=True).expand(mask.shape)
                break
            wider = mask.clone()
            wider.narrow(axis, 0, common).logical_or_(mask.narrow(axis, shift, common))
            wider.narrow(axis, shift, common).logical_or_(mask.narrow(axis, 0, common))
            mask = wider
    return mask


def whole_windows(mask: Tensor, side: int) -> Tensor:
    """bool [H, W]: every window of side x side tokens that holds a marked one, whole."""
    return touched(mask, side).repeat_interleave(side, 0).repeat_interleave(side, 1)[:mask.shape[0], :mask.shape[1]]
