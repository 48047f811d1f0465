"""How decoded frames are brought upright."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)

Turning = tuple[bool, bool, bool]  # swap rows and columns, then flip left and right, then upside down


def turning(frame: Any, name: str) -> Turning:
    """How a frame is brought upright, by its display matrix: 3 x 3, of which the first two columns of the first two
    rows say where (x, y) of the stored frame is shown, x' = a x + c y, y' = b x + d y."""
    for data in frame.side_data:
        if getattr(data.type, "name", "") == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
            if a == d == 0 and b and c:
                return True, bool(c < 0), bool(b < 0)
            if b == c == 0 and a and d:
                return False, bool(a < 0), bool(d < 0)
            log.warning("%s: it is to be shown at an angle; its frames are taken as they are stored", name)
    return False, False, False


def turned(image: Tensor, by: Turning) -> Tensor:
    """A frame [H, W, ...] upright."""
    swap, mirror, upset = by
    image = image.transpose(0, 1) if swap else image
    dims = [dim for dim, flip in ((1, mirror), (0, upset)) if flip]
    return torch.flip(image, dims) if dims else image.contiguous()
