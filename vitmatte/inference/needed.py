"""Which tokens must be computed, block by block, so that the features that unknown pixels see come out right.

Going back from the needed features: a residual block's 3x3 convolution sees one token more on every side, a global
block's attention sees the keys within its reach, and a window block whole windows. So the arithmetic follows the
unknown area and not the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..model.config import TransformerConfig
from ..padding import touched

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


def distance_to_known(foreground: Tensor, background: Tensor, stride: int, least: int, most: int) -> int:
    """How far the unknown tokens of a frame are from what is known on either side, in tokens.

    Args:
        foreground, background: bool [h, w], the known areas; what is neither is unknown.
        stride: pixels on a token's side.
        least, most: bounds of the answer.

    Returns:
        The least distance, in rows and in columns, within which the share SEEING of the unknown tokens finds a token
        with known foreground and one with known background; `most` where there is none.
    """
    unknown = touched(~(foreground | background), stride)
    sides = [grown(touched(area, stride), least) for area in (foreground, background)]
    total = int(unknown.sum())
    for distance in range(least, most):
        if int((unknown & sides[0] & sides[1]).sum()) >= SEEING * total:
            return distance
        sides = [grown(area, 1) for area in sides]
    return most


def grown(mask: Tensor, by: int) -> Tensor:
    """bool [H, W], grown by so many tokens in rows and in columns."""
    if by == 0:
        return mask
    x = mask[None, None].float()
    x = F.max_pool2d(x, (2 * by + 1, 1), stride=1, padding=(by, 0))
    return F.max_pool2d(x, (1, 2 * by + 1), stride=1, padding=(0, by))[0, 0] > 0


def whole_windows(mask: Tensor, side: int) -> Tensor:
    """bool [H, W]: every window of side x side tokens that holds a marked one, whole."""
    return touched(mask, side).repeat_interleave(side, 0).repeat_interleave(side, 1)[:mask.shape[0], :mask.shape[1]]
