"""DiffMatte's transposed convolutions in bounded memory, also where a processor makes them of matrix products.

oneDNN without AVX2 (its form gemm), and torch without oneDNN, multiply all places with all taps first and write that
down, sixteen numbers for each place and output channel, and then add up what belongs together: four times the result.
In strips of rows there is only a strip's.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

TAPS = 4 * 4
UNFOLDED = 4 * 2**20  # bytes of a strip's products


@lru_cache(maxsize=1)
def unfolds() -> bool:
    """Whether products are written down here: a processor without AVX2, or told to do without by oneDNN's variables."""
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    has_avx2 = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX") and limited not in ("SSE41", "AVX")
    return not (has_avx2 and torch.backends.mkldnn.is_available())


def doubled(conv: Any, x: Tensor) -> Tensor:
    """A transposed convolution, 4x4 with stride 2 and padding 1, of x [1, C, H, W]: [1, outputs, 2H, 2W].

    Output rows 2y and 2y + 1 see the input's rows y - 1 to y + 1, so a strip takes one row more on either side.
    """
    height, width = x.shape[2:]
    rows = max(1, UNFOLDED // (TAPS * conv.weight.shape[1] * width * 4))
    if x.device.type != "cpu" or not unfolds() or rows >= height:
        return conv(x)
    result: Tensor | None = None
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        first, last = max(0, start - 1), min(height, stop + 1)
        part = conv(x[:, :, first:last])
        if result is None:
            result = torch.empty(x.shape[0], part.shape[1], 2 * height, 2 * width, dtype=part.dtype,
                                 memory_format=torch.channels_last)
        result[:, :, 2 * start:2 * stop] = part[:, :, 2 * (start - first):2 * (stop - first)]
    assert result is not None
    return result
