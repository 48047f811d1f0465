"""Faults in the middle: memory that runs out, interrupts, callbacks that fail, threads and processes, and repeats."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from drawn import drawn
from hypothesis import event, given
from hypothesis import strategies as st
from nets import assert_close
from rounding import ALPHA
from test_tensors import MODEL
from torch.utils._python_dispatch import TorchDispatchMode

from vitmatte import cut_out, estimate_foreground, load_model, make_trimap, matte, refine_matte, replace_background

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.rand(3, 70, 50, 3, generator=GENERATOR)
TRIMAP = (torch.rand(3, 70, 50, generator=GENERATOR) * 3).floor() / 2
TRIMAP[1] = 1.0  # one frame without anything to do
CALLS: dict[str, Callable[[], torch.Tensor]] = {
    "matte": lambda: matte(MODEL, IMAGE, TRIMAP),
    "grid": lambda: matte(MODEL, IMAGE, TRIMAP, strategy="grid"),
    "refined": lambda: matte(MODEL, IMAGE, TRIMAP, refine=0.1),
    "refine_matte": lambda: refine_matte(IMAGE, IMAGE[..., 0], TRIMAP, strength=0.1),
    "make_trimap": lambda: make_trimap(TRIMAP, inner=2, outer=3, image=IMAGE, strands=3, fill_holes=5),
    "estimate_foreground": lambda: estimate_foreground(IMAGE, TRIMAP),
    "cut_out": lambda: cut_out(IMAGE, TRIMAP, despill="green"),
    "replace_background": lambda: replace_background(IMAGE, TRIMAP, IMAGE[:1, :9], linear=True),
}
EXPECTED = {name: call() for name, call in CALLS.items()}
GIVEN = IMAGE.clone(), TRIMAP.clone()
WEIGHTS = {name: value.clone() for name, value in MODEL.net.state_dict().items()}


class Fault(TorchDispatchMode):
    """Raises at the n-th of torch's operations, and again at the next ones until it has been raised so often."""

    def __init__(self, at: int, times: int, error: BaseException | None) -> None:
        super().__init__()
        self.at, self.left, self.error, self.count = at, times, error, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        if self.count > self.at and self.left and self.error is not None:
            self.left -= 1
            raise self.error
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], Any]) -> int:
    with Fault(0, 0, None) as counted:
        call()
    return counted.count


COUNTS = {name: operations(call) for name, call in CALLS.items()}
LACKS = {"cuda": lambda: torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
         "cpu": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
         "python": MemoryError}


def nothing_is_left(name: str) -> None:
    """Arguments and weights are what they were, and the same call gives the same bits."""
    assert IMAGE.equal(GIVEN[0]) and TRIMAP.equal(GIVEN[1])
    assert all(value.equal(WEIGHTS[key]) for key, value in MODEL.net.state_dict().items())
    assert CALLS[name]().equal(EXPECTED[name])


@drawn(30)
@given(name=st.sampled_from(["matte", "matte", "grid", *CALLS]), share=st.floats(0, 1, exclude_max=True),
       times=st.sampled_from([1, 1, 2, 5, 40]), lack=st.sampled_from(list(LACKS)))
def test_out_of_memory_anywhere(name, share, times, lack):
    """At any operation: the right result in smaller pieces, or that very error; and nothing is left behind."""
    error = LACKS[lack]()
    try:
        with Fault(int(share * COUNTS[name]), times, error) as fault:
            found = CALLS[name]()
    except (RuntimeError, MemoryError) as raised:
        assert raised is error
        event(f"{name}: error")
    else:
        assert fault.left == 0
        assert_close(found, EXPECTED[name], ALPHA)
        event(f"{name}: recovered")
    nothing_is_left(name)


def test_out_of_memory_is_survived_wherever_the_net_runs():
    """Of all operations of a matte, only those before and after the net's own may end the call."""
    survived = 0
    for at in range(3, COUNTS["matte"], 47):
        try:
            with Fault(at, 1, LACKS["cpu"]()):
                found = CALLS["matte"]()
        except RuntimeError:
            continue
        survived += 47
        assert_close(found, EXPECTED["matte"], ALPHA)
    assert survived / COUNTS["matte"] > 0.85


class Stop(BaseException):
    """What a host might raise."""


@drawn(25)
@given(name=st.sampled_from(list(CALLS)), share=st.floats(0, 1, exclude_max=True),
       kind=st.sampled_from([KeyboardInterrupt, SystemExit, Stop]))
def test_interrupted_anywhere(name, share, kind):
    """Ctrl+C at any operation comes out as it is."""
    error = kind()
    with pytest.raises(kind) as raised, Fault(int(share * COUNTS[name]), 1, error):
        CALLS[name]()
    assert raised.value is error
    nothing_is_left(name)


WITH_CALLBACKS: dict[str, Callable[..., Any]] = {
    "matte": lambda **how: matte(MODEL, IMAGE, TRIMAP, **how),
    "cut_out": lambda **how: cut_out(IMAGE, TRIMAP, despill="green", **how),
    "replace_background": lambda **how: replace_background(IMAGE, TRIMAP, IMAGE[:1, :9], linear=True, **how),
}


@drawn(25)
@given(data=st.data(), name=st.sampled_from(["matte", "matte", *WITH_CALLBACKS]),
       error=st.sampled_from([ValueError("mine"), KeyError("x"), KeyboardInterrupt(), Stop(), MemoryError(), OSError(5),
                              RuntimeError("out of memory"), torch.cuda.OutOfMemoryError("CUDA out of memory")]))
def test_callbacks_that_raise(data, name, error):
    """At any call of any callback: what it raises comes out unchanged and at once, and the model goes on working."""
    kinds = ["on_progress", "check_interrupt", *(["on_frame"] if name == "matte" else [])]
    kind = data.draw(st.sampled_from(kinds))
    calls = []
    WITH_CALLBACKS[name](**{kind: lambda *_: calls.append(1)})
    at, seen = data.draw(st.integers(0, len(calls) - 1)), []

    def callback(*_: Any) -> None:
        seen.append(1)
        if len(seen) > at:
            raise error

    with pytest.raises(type(error)) as raised:
        WITH_CALLBACKS[name](**{kind: callback})
    assert raised.value is error and len(seen) == at + 1
    event(f"{name} {kind}")
    nothing_is_left(name)


def test_two_threads_on_one_model():
    """Mattes at once are the mattes one after the other, to the bit."""
    scenes = [(torch.rand(1, 60 + 5 * i, 50, 3), torch.full((60 + 5 * i, 50), 0.5)) for i in range(4)]
    expected = [matte(MODEL, *scene) for scene in scenes]
    start = threading.Barrier(4)

    def work(i: int) -> list[torch.Tensor]:
        start.wait()
        return [matte(MODEL, *scenes[i], memory_limit=None if turn % 2 else 10**9) for turn in range(6)]

    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(work, range(4))):
            assert all(alpha.equal(expected[i]) for alpha in found)


def test_loading_in_threads():
    expected = matte(load_model(), IMAGE, TRIMAP)
    with ThreadPoolExecutor(4) as pool:
        for model in pool.map(lambda _: load_model(), range(8)):
            assert matte(model, IMAGE, TRIMAP).equal(expected)


@pytest.mark.parametrize("name", list(CALLS))
def test_repeats_are_equal_to_the_bit(name):
    for _ in range(3):
        assert CALLS[name]().equal(EXPECTED[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_repeats_of_the_bundled_model_are_equal_to_the_bit(dtype):
    first, second = (matte(load_model(dtype=dtype), IMAGE, TRIMAP) for _ in range(2))
    assert first.equal(second)


def test_copies_are_the_same_model():
    assert matte(pickle.loads(pickle.dumps(MODEL)), IMAGE, TRIMAP).equal(EXPECTED["matte"])


class Mattes(torch.utils.data.Dataset):
    """A data set whose workers compute mattes."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __len__(self) -> int:
        return len(IMAGE)

    def __getitem__(self, index: int) -> torch.Tensor:
        return matte(self.model, IMAGE[index:index + 1], TRIMAP[index])[0]


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_workers_of_a_data_loader():
    """Processes forked after the parent has used the model; torch gives each of them one thread."""
    loader = torch.utils.data.DataLoader(Mattes(MODEL), num_workers=2, multiprocessing_context="fork", timeout=60)
    assert_close(torch.cat(list(loader)), EXPECTED["matte"], ALPHA)


def test_a_spawned_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(matte, (MODEL, IMAGE, TRIMAP)).get(timeout=120)
    assert_close(found, EXPECTED["matte"], ALPHA)
