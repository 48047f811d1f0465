"""Where motion can be trusted, and where a clip is cut.

Opacity propagation (Z. Tang, Z. Miao, Y. Wan, J. Li, "Video Matting via Opacity Propagation", The Visual Computer 28,
2012) moves mattes from frame to frame along flow and keeps what agrees; so does this. Flow is wrong in places in just
the regions that matting is about (DVM, arXiv 2104.11208), so three things must agree before a moved matte counts:
the motion there and back, the colours at both ends, and the frame's own trimap, which is never overruled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .field import Flow
from .flow import Levels

RETURN = 0.75  # pixels: how far from its start a point may come back; more for longer ways
RETURN_SHARE = 0.05  # of the way's length
COLOUR = 0.06  # how far colours of the subject may differ, root of the channels' mean square
LEAST_TRUST = 0.1  # what is trusted less is not trusted at all
THUMBNAIL = 32  # pixels of the shorter side at which cuts are looked for
SEARCH = 3  # pixels of the thumbnail that what is seen may have moved
CUT, CHANGE = 0.5, 0.03  # see `is_cut`


@dataclass(frozen=True)
class Moved:
    """Points of a frame as another frame has them, each [N].

    Args:
        x, y: where they are there, in pixels.
        off: how far from its start the motion back brings a point, in pixels.
        trust: 0..1.
    """

    x: Tensor
    y: Tensor
    off: Tensor
    trust: Tensor


def move(x: Tensor, y: Tensor, there: Flow, back: Flow) -> Moved:
    """Points [N] moved by a flow, and trusted by how near the other flow brings them back.

    The trust is exp(-e^2 / 2 s^2) with e the distance between start and return and s = RETURN + RETURN_SHARE |v|; 0
    outside of the frame.
    """
    dx, dy = there.at(x, y)
    u, v = x + dx, y + dy
    bx, by = back.at(u, v)
    off = torch.hypot(dx + bx, dy + by)
    width = RETURN + RETURN_SHARE * torch.hypot(dx, dy)
    trust = torch.exp(-(off / width).square() / 2)
    height, wide = there.size
    inside = (u >= -0.5) & (v >= -0.5) & (u <= wide - 0.5) & (v <= height - 0.5)
    return Moved(u, v, off, trust * inside)


def agreement(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """[N] in 0..1: exp(-(share d)^2 / 2 COLOUR^2), d being the root mean square difference of colours [3, N].

    share: [N], the subject's: where it has none, what moved behind it says nothing about it.
    """
    off = (one - other).square().mean(0) * share.square()
    return torch.exp(-off / (2 * COLOUR * COLOUR))


def settled(trust: Tensor) -> Tensor:
    """The trust with 0 for what is trusted too little to count."""
    return trust.masked_fill(trust < LEAST_TRUST, 0.0)


def is_cut(first: Levels, second: Levels) -> bool:
    """Whether two frames are of different shots.

    Of small pictures of both, each pixel of the second is compared with all pixels of the first that lie within
    `SEARCH`; the least differences' mean is what motion cannot explain. It is compared with the same for the first
    picture turned by 180 degrees, which has the same colours in other places: a cut leaves more than the share CUT of
    it, and more than CHANGE (so that noise on an even picture is no cut).
    """
    one, two = (_thumbnail(levels) for levels in (first, second))
    left, turned = _unexplained(one, two), _unexplained(one.flip(-1, -2), two)
    return left > CHANGE and left > CUT * turned


def _thumbnail(levels: Levels) -> Tensor:
    height, width = levels.size
    scale = THUMBNAIL / min(height, width)
    small = F.adaptive_avg_pool2d(levels.pictures[-1], (math.ceil(height * scale), math.ceil(width * scale)))
    return small


def _unexplained(one: Tensor, two: Tensor) -> float:
    height, width = one.shape[-2:]
    around = F.pad(one, (SEARCH,) * 4, mode="replicate")
    least = torch.full_like(two[:, :1], math.inf)
    for down in range(2 * SEARCH + 1):
        for right in range(2 * SEARCH + 1):
            off = (around[..., down:down + height, right:right + width] - two).abs().mean(1, keepdim=True)
            least = torch.minimum(least, off)
    return float(least.mean())
