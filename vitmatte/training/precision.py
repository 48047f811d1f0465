"""Which precision a run computes in: as the recipe says, or for "auto" the one that this machine is fastest in.

Processors with AMX or AVX512-BF16 differ in how well they run bfloat16, and others run it at half the speed of
float32; so it is measured, not looked up.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..inference.context import PRECISIONS
from .recipe import Crops, Recipe

log = logging.getLogger(__name__)

AUTO = "auto"
GAIN = 1.1  # bf16 must be so much faster than fp32 to be chosen
ROUNDS = 3  # timed per precision, after one that is not
BATCH = 4  # crops measured with, at most


def choose_precision(recipe: Recipe, net: nn.Module, device: torch.device) -> str:
    """The name of the precision: the recipe's, or for "auto" bf16 where it is clearly faster than fp32, else fp32.

    Raises:
        ValueError: fp16 elsewhere than on CUDA, where small gradients would be lost unscaled.
    """
    if recipe.precision == "fp16" and device.type != "cuda":
        raise ValueError(f"precision is 'fp16' on {device}; expected auto, bf16 or fp32 there")
    if recipe.precision != AUTO:
        return recipe.precision
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        log.info("precision fp32: this GPU has no bf16")
        return "fp32"
    crops = max(recipe.crops_at(0), key=lambda kind: kind.weight)
    seconds = {name: measured(net, crops, device, name) for name in ("fp32", "bf16")}
    chosen = "bf16" if seconds["fp32"] > GAIN * seconds["bf16"] else "fp32"
    log.info("precision %s: forward and backward on crops of %d take %.2f s in fp32, %.2f s in bf16", chosen,
             crops.size, seconds["fp32"], seconds["bf16"])
    return chosen


def measured(net: nn.Module, crops: Crops, device: torch.device, precision: str) -> float:
    """Seconds of the fastest of a few forward and backward passes of a copy of the net.

    On a CPU the seconds that its cores worked, since what else runs on them would count in the clock's.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    net = copy.deepcopy(net).train()
    x = torch.zeros(min(crops.batch, BATCH), 4, crops.size, crops.size, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    dtype, found = PRECISIONS[precision], []
    for _ in range(1 + ROUNDS):
        began = clock()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            alphas = net(x)
        alphas.float().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(clock() - began)
    return min(found[1:])


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers below 2^-126 are 0 on this thread, and on those that torch starts while it lasts.

    Many of attention's weights are that small, and processors compute many times slower with such numbers: in float32
    a step of the bundled net's recipe took an eighth more time. To be entered before torch has started its threads.
    """
    before = float(torch.full((1,), 2.0**-126) / 2) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
