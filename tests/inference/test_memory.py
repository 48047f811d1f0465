"""The memory plan: kept, foreseen, and what happens when memory runs out all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import assert_close, random_net, small_config
from paths import SUPPORT
from rounding import ALPHA

from vitmatte import MattingModel, matte
from vitmatte.inference import bands, frames, plan
from vitmatte.inference.frames import Frame, Setting
from vitmatte.inference.plan import SIDES, Footprint, footprint_of
from vitmatte.inference.planning import MIN_BAND, MIN_CHUNK, MemoryLimitError, make_plan, smaller
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.inference.retry import Policy, compute_with_retries
from vitmatte.model.config import MattingConfig
from vitmatte.model.vitmatte import float32_copy

MODEL = MattingModel(random_net(), Preprocessing())
MEBI = 2**20
TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
@pytest.mark.parametrize("case", [
    {"net": "S", "height": 512, "width": 512},
    {"net": "S", "height": 1024, "width": 1024, "share": 0.15, "limit": 300 * MEBI},
    {"net": "S", "height": 1024, "width": 1024, "share": 0.05, "limit": 100 * MEBI},
    {"net": "tiny", "height": 700, "width": 2048},
    {"net": "tiny", "height": 1024, "width": 1024, "strategy": "grid"},
    {"net": "tiny", "height": 1024, "width": 1024, "strategy": "auto", "margin": 62, "share": 0.1, "limit": 80 * MEBI},
    {"net": "S", "height": 700, "width": 900, "strategy": "local", "share": 0.2},
    {"net": "S", "height": 768, "width": 768, "strategy": "grid"},
    {"net": "MEMatte-S", "height": 700, "width": 900, "share": 0.3},
    {"net": "MEMatte-S", "height": 1024, "width": 1024, "share": 0.1, "limit": 100 * MEBI},
    {"net": "DiffMatte-S", "height": 512, "width": 640},
    {"net": "DiffMatte-S", "height": 700, "width": 512, "share": 0.2, "limit": 90 * MEBI},
    # What the libraries underneath keep of packed weights depends on the processor (0.74 to 1.15 of the plan seen); so
    # do float32 copies without instructions for bfloat16 (0.58 to 1.16 seen).
    {"net": "S", "height": 768, "width": 1024, "share": 0.3, "dtype": "bfloat16"},
], ids=lambda case: "-".join(str(value) for value in case.values()))
def test_the_peak_is_as_planned(case):
    """No run takes more. What an allocator uses again differs from run to run: that one of three takes less is luck."""
    least = 0.75 if TORCH >= (2, 5) else 0.6  # torch 2.4 takes less for some
    least = 0.5 if case.get("dtype") == "bfloat16" else least  # the plan must not be exceeded; less may be taken
    shares: list[float] = []
    while len(shares) < 3 and max(shares, default=0) < least:
        shares.append(share_of_plan(case))
    assert max(shares) >= least, shares


def share_of_plan(case: dict[str, Any], **environment: str) -> float:
    """Of a matte in a process of its own: its peak, which must keep the plan and the limit, by the plan's."""
    command = [sys.executable, str(SUPPORT / "peak.py"), json.dumps(case)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True,
                                      env={**os.environ, **environment}).stdout)
    assert found["measured"] <= 1.25 * min(found["planned"], case.get("limit", found["planned"])), found
    return found["measured"] / found["planned"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
def test_the_peak_keeps_the_limit_with_the_margin_of_a_reach():
    """There the plan has two things at once that follow each other: 0.70 to 0.94 of it were seen."""
    share_of_plan({"net": "tiny", "height": 1024, "width": 1024, "strategy": "auto", "share": 0.1, "limit": 80 * MEBI})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
def test_the_peak_is_as_planned_without_avx2():
    """There transposed convolutions are made of products that are written down: in strips (254 MB of 163 before)."""
    share_of_plan({"net": "DiffMatte-S", "height": 512, "width": 640}, ATEN_CPU_CAPABILITY="default",
                  ONEDNN_MAX_CPU_ISA="SSE41", OMP_NUM_THREADS="1")


def test_copies_in_float32_are_planned_for_where_bfloat16_is_not_native(monkeypatch):
    """191 MB were measured with ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default, 144 MB with AVX2 for both."""
    def planned(dtype: torch.dtype, device: str = "cpu") -> int:
        return make_plan(Footprint(MattingConfig(), 768, 1024, dtype, device)).peak_bytes

    found = {}
    for native in (True, False):
        monkeypatch.setattr(plan, "has_bfloat16", lambda native=native: native)
        found[native] = planned(torch.bfloat16)
        others = planned(torch.float32), planned(torch.bfloat16, "cuda")
        assert found.setdefault("others", others) == others
    assert found[True] < 106e6 and 191e6 / 1.25 <= found[False] <= 144e6 / 0.75


@settings(max_examples=200, deadline=None)
@given(height=st.integers(1, 9000), width=st.integers(1, 9000), limit=st.integers(1, 10**10), count=st.integers(1, 50),
       device=st.sampled_from(["cpu", "cuda"]), dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_a_plan_keeps_the_limit_or_says_what_it_takes(height, width, limit, count, device, dtype):
    footprint = Footprint(MattingConfig(), height, width, dtype, device)
    fastest = make_plan(footprint, count=count)
    try:
        plan = make_plan(footprint, count=count, memory_limit=limit)
    except MemoryLimitError as error:
        least = [int(word.replace(",", "")) for word in str(error).split() if word.replace(",", "").isdigit()][-1]
        assert limit < least
        assert make_plan(footprint, count=count, memory_limit=least).peak_bytes == least
    else:
        assert plan.peak_bytes <= limit
        assert (plan == fastest) == (fastest.peak_bytes <= limit)
        assert 1 <= plan.frames <= count


def test_smaller_plans_end_with_the_smallest():
    footprint = Footprint(MattingConfig(), 256, 256)
    fastest = make_plan(footprint, count=4)
    plans = [fastest, *smaller(fastest, footprint)]
    assert fastest.frames == 4 and plans[-1].frames == 1
    peaks = [plan.peak_bytes for plan in plans]
    assert peaks == sorted(peaks, reverse=True) and len(plans) < 30
    last = plans[-1]
    assert (last.band_bytes, last.chunk_bytes, last.side) == (MIN_BAND, MIN_CHUNK, SIDES[-1])
    assert list(smaller(last, footprint)) == []


def test_larger_frames_take_more():
    def peak(side: int, config: MattingConfig) -> int:
        return make_plan(Footprint(config, side, side)).peak_bytes

    peaks = [peak(side, MattingConfig()) for side in (64, 512, 1024, 2048, 4096, 8192)]
    assert peaks == sorted(peaks) and peaks[-1] > 4 * peaks[-3]
    assert peak(512, small_config().architecture()) < peaks[1]


def test_the_limit_changes_nothing_but_the_memory():
    image, trimap = torch.rand(1, 200, 150, 3), torch.full((1, 200, 150), 0.5)
    footprint = Footprint(MODEL.net.architecture, 200, 150)
    least = list(smaller(make_plan(footprint), footprint))[-1]
    expected = matte(MODEL, image, trimap)
    assert_close(matte(MODEL, image, trimap, memory_limit=least.peak_bytes), expected, ALPHA)
    with pytest.raises(MemoryLimitError, match=r"memory_limit is 1,000 bytes; a frame of 150x200 takes at least"):
        matte(MODEL, image, trimap, memory_limit=1000)


class Fault:
    """Replaces a function: fails as an allocation does until it was called so often, then calls the real one."""

    def __init__(self, real, times, error=None):
        self.real, self.left, self.error = real, times, error or torch.cuda.OutOfMemoryError(OUT_OF_MEMORY)

    def __call__(self, *arguments, **named):
        if self.left:
            self.left -= 1
            raise self.error
        return self.real(*arguments, **named)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", ["attention", "decoder", "both"])
@pytest.mark.parametrize("error", [
    torch.cuda.OutOfMemoryError(OUT_OF_MEMORY), RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory"), MemoryError(),
], ids=["cuda", "cpu", "mps", "python"])
def test_out_of_memory_is_survived_with_the_same_alpha(monkeypatch, place, times, error):
    image, trimap = torch.rand(2, 130, 100, 3), torch.full((130, 100), 0.5)
    expected = matte(MODEL, image, trimap)
    freed, faults = [], []
    if place != "decoder":
        faults.append(Fault(bands.attention, times, error))
        monkeypatch.setattr(bands, "attention", faults[-1])
    if place != "attention":
        faults.append(Fault(frames.decoded_tile, times, error))
        monkeypatch.setattr(frames, "decoded_tile", faults[-1])
    found = matte(MODEL, image, trimap, free_memory=lambda: freed.append(1))
    assert all(fault.left == 0 for fault in faults) and len(freed) == times * len(faults)
    assert_close(found, expected, ALPHA)


def test_other_errors_are_not_swallowed(monkeypatch):
    monkeypatch.setattr(bands, "attention", Fault(bands.attention, 1, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        matte(MODEL, torch.rand(1, 64, 64, 3), torch.full((64, 64), 0.5))


def test_memory_that_never_suffices_is_an_error(monkeypatch):
    fault = Fault(bands.attention, 10**6)
    monkeypatch.setattr(bands, "attention", fault)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        matte(MODEL, torch.rand(1, 64, 64, 3), torch.full((64, 64), 0.5))
    assert 10**6 - fault.left >= 3  # it was tried in smaller pieces first


def test_at_last_the_cpu(monkeypatch, caplog):
    """A stand-in for a full card: whatever runs there fails, and a copy of the net on the CPU does the frame."""
    image, trimap = torch.rand(70, 90, 3), torch.full((70, 90), 0.5)
    expected = matte(MODEL, image[None], trimap)[0]
    footprint = footprint_of(MODEL.net, 70, 90, torch.float16, "cuda")
    setting = Setting(MODEL, torch.device("cuda"), footprint, make_plan(footprint))
    real, devices = frames._compute_group, []

    def compute(setting, group, step):
        devices.append(setting.device.type)
        if setting.device.type == "cuda":
            raise torch.cuda.OutOfMemoryError(OUT_OF_MEMORY)
        assert setting.model.net is not MODEL.net and setting.model.net.dtype == torch.float32
        real(setting, group, step)

    monkeypatch.setattr(frames, "_compute_group", compute)
    out = torch.zeros(70, 90)
    with torch.inference_mode():
        after = compute_with_retries(setting, [Frame(image, trimap, out)], lambda share: None,
                                     Policy(free_memory=lambda: None))
    assert devices.count("cuda") > 3 and devices[-1] == "cpu" and devices.count("cpu") == 1
    assert "on the CPU" in caplog.text
    assert_close(out, expected, ALPHA)
    assert after.device.type == "cuda"  # the next frame has its chance there


def test_the_copy_on_the_cpu_is_the_same_net():
    half = MattingModel(random_net().half(), Preprocessing())
    copy = float32_copy(half.net, "cpu")
    assert copy.dtype == torch.float32 and half.net.dtype == torch.float16
    for name, value in copy.state_dict().items():
        assert value.equal(half.net.state_dict()[name].to(value.dtype)), name


def test_frames_together_are_frames_one_by_one():
    image, trimap = torch.rand(7, 60, 50, 3), torch.randint(0, 3, (7, 60, 50)) / 2
    trimap[3] = 1.0  # one without anything to do
    assert make_plan(Footprint(MODEL.net.architecture, 60, 50), count=7).frames == 7
    together = matte(MODEL, image, trimap)
    single = torch.cat([matte(MODEL, image[i:i + 1], trimap[i:i + 1]) for i in range(7)])
    assert_close(together, single, ALPHA)


def test_bfloat16_is_close():
    generator = torch.Generator().manual_seed(0)
    image, trimap = torch.rand(1, 96, 96, 3, generator=generator), torch.full((96, 96), 0.5)
    half = MattingModel(random_net().bfloat16(), Preprocessing())
    expected, found = matte(MODEL, image, trimap), matte(half, image, trimap)
    assert found.dtype == torch.float32 and not found.equal(expected)
    assert float((found - expected).abs().mean()) < 2 / 255
