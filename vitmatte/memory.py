"""How much memory a matte takes, in whole numbers, before anything runs."""

from __future__ import annotations

import torch

from .config import VitMatteConfig
from .execution import SCORE_BYTES
from .processing import DIVISOR
from .size import SizeContract


def activation_bytes(config: VitMatteConfig, height: int, width: int, dtype: torch.dtype) -> int:
    """An upper bound of the memory that one frame takes besides the weights.

    Counts the largest maps alive at once: in the decoder, at full size, the last fusion's upsampled, joined and
    convolved features and the head's inner layer; in the backbone a few copies of the tokens' queries, keys, values.
    """
    contract = SizeContract(DIVISOR)
    pixels = contract.padded(height) * contract.padded(width)
    streams, fusions = config.convstream_hidden_sizes, config.fusion_hidden_sizes
    channels = config.vitdet.num_channels
    last = fusions[-2] + (channels + fusions[-2]) + fusions[-1] + 2 * 16  # at full size
    details = channels + sum(size / 4 ** (i + 1) for i, size in enumerate(streams))
    tokens = pixels / 4 ** len(fusions)
    backbone = tokens * config.hidden_size * 3 * 4
    return int((pixels * (last + details) + backbone) * dtype.itemsize) + 2 * SCORE_BYTES
