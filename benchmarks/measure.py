"""Time and peak memory of a call, and what the machine could do at best."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")
MEBI = 2**20


def resident() -> int:
    """Bytes of memory this process holds now (Linux; elsewhere 0)."""
    if not STATUS.exists():
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free(device: str) -> int:
    """Bytes that can be taken without harm: of the GPU's memory, or of the machine's (where that is known)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return found[0] - 2**30 if found else 2**33


class Peak:
    """The most memory held while the block runs, above what was held before: of a GPU where there is one.

    On Linux the kernel's own high-water mark, which misses nothing; elsewhere unknown (0).
    """

    def __init__(self, device: str) -> None:
        self.device, self.bytes = device, 0

    def __enter__(self) -> Peak:
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return self
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # what the heap keeps for reuse would hide what the call takes
        self.before = resident()
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self._sample)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
            self.marked = True
        except OSError:
            self.marked = False
            self.sampler.start()
        return self

    def _sample(self) -> None:
        while not self.stop.wait(0.002):
            self.bytes = max(self.bytes, resident() - self.before)

    def __exit__(self, *error: object) -> None:
        if self.device == "cuda":
            self.bytes = torch.cuda.max_memory_allocated() - self.before
        elif self.marked:
            lines = STATUS.read_text().splitlines()
            mark = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
            self.bytes = max(0, mark - self.before)
        else:
            self.stop.set()
            self.sampler.join()


def processor_seconds(call: Callable[[], Any]) -> float:
    """Of all threads, which other work on the machine does not add to."""
    start = time.process_time()
    call()
    return time.process_time() - start


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall time of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def product_rate(device: str, dtype: torch.dtype) -> float:
    """Multiply-adds a second of the machine's own matrix product, 2048 x 2048: the best of ten."""
    a, b = (torch.randn(2048, 2048, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    return 2048**3 / min(seconds(lambda: torch.mm(a, b), device) for _ in range(10))


def machine(device: str) -> str:
    """The class of machine, in words."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = models[0] if models else platform.processor() or platform.machine()
        name = f"{processor}, {torch.get_num_threads()} threads"
    return f"{name}; {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
