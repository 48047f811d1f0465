"""`matte` with `refine`: the refinement of its own matte, within its memory, also where memory runs out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nets import random_net

from vitmatte import MattingModel, load_model, matte, refine_matte
from vitmatte.inference import retry
from vitmatte.inference.frames import Frame, Setting
from vitmatte.inference.plan import footprint_of
from vitmatte.inference.planning import make_plan
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.inference.retry import Policy, refine_with_retries
from vitmatte.model.vitmatte import ViTMatte
from vitmatte.refinement.refine import MIN_MEMORY

MODEL = MattingModel(random_net(), Preprocessing())
RANDOM = torch.Generator().manual_seed(2)
IMAGE = torch.nn.functional.interpolate(torch.rand(2, 3, 12, 9, generator=RANDOM), scale_factor=8, mode="bicubic")
IMAGE = IMAGE.clamp(0, 1).permute(0, 2, 3, 1).contiguous()
TRIMAP = torch.zeros(1, 96, 72)
TRIMAP[:, 20:70, 10:50] = 1
TRIMAP[:, 15:40, 20:60] = 0.5


def test_0_is_off_to_the_bit():
    assert matte(MODEL, IMAGE, TRIMAP, refine=0).equal(matte(MODEL, IMAGE, TRIMAP))


@pytest.mark.parametrize("how", [{}, {"memory_limit": 60 * 2**20}, {"refine": 5}])
def test_it_is_the_refinement_of_the_nets_matte(how):
    strength = how.pop("refine", 1)
    plain = matte(MODEL, IMAGE, TRIMAP, **how)
    shown = []
    found = matte(MODEL, IMAGE, TRIMAP, refine=strength, **how,
                  on_frame=lambda i, alpha: shown.append((i, alpha.clone())))
    assert found.equal(refine_matte(IMAGE, plain, TRIMAP, strength=strength)) and not found.equal(plain)
    assert found[(TRIMAP != 0.5).expand_as(found)].equal(TRIMAP[TRIMAP != 0.5].repeat(2))
    assert [i for i, _ in shown] == [0, 1] and all(alpha.equal(found[i]) for i, alpha in shown)


def test_progress_and_cancel():
    seen, asked = [], []
    matte(MODEL, IMAGE, TRIMAP, refine=1, on_progress=lambda *now: seen.append(now),
          check_interrupt=lambda: asked.append(1))
    assert seen == sorted(set(seen)) and seen[-1] == (200, 200) and len(seen) > 20
    calls = 0

    def cancel() -> None:
        nonlocal calls
        calls += 1
        if calls == len(asked) - 5:  # within the refinement
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matte(MODEL, IMAGE, TRIMAP, refine=1, check_interrupt=cancel)
    assert calls == len(asked) - 5


def test_unless_asked_for_it_is_as_the_configuration_says():
    plain = matte(MODEL, IMAGE, TRIMAP, refine=0)
    for own in (0.0, 2.0):
        net = ViTMatte(replace(MODEL.net.architecture, refine=own))
        net.load_state_dict(MODEL.net.state_dict())
        found = matte(MattingModel(net.eval(), MODEL.preprocessing), IMAGE, TRIMAP)
        assert found.equal(refine_matte(IMAGE, plain, TRIMAP, strength=own) if own else plain)
    assert load_model().net.architecture.refine == 1


@pytest.mark.parametrize(("refine", "said"), [(-0.1, "refine is -0.1; expected a number from 0"), (1e6, "refine is"),
                                              ("on", "refine is 'on'")])
def test_what_is_refused(refine, said):
    with pytest.raises(ValueError, match=said):
        matte(MODEL, IMAGE, TRIMAP, refine=refine)


@pytest.mark.parametrize("times", [1, 2])
def test_out_of_memory_is_tried_again_in_less_and_then_on_the_cpu(monkeypatch, caplog, times):
    """A stand-in for a full card."""
    net_alpha = matte(MODEL, IMAGE[:1], TRIMAP)[0]
    expected = refine_matte(IMAGE[:1], net_alpha, TRIMAP)[0]
    real, tried, freed = retry.refine_frame, [], []

    def faulty(image, given, trimap, out, *, device, memory_limit, **how):
        tried.append((device.type, memory_limit))
        if len(tried) <= times:
            out.fill_(7)  # half done
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        real(image, given, trimap, out, device=torch.device("cpu"), memory_limit=memory_limit, **how)

    monkeypatch.setattr(retry, "refine_frame", faulty)
    footprint = footprint_of(MODEL.net, 96, 72, torch.float32, "cuda")
    setting = Setting(MODEL, torch.device("cuda"), footprint, make_plan(footprint))
    frame = Frame(IMAGE[0], TRIMAP[0], net_alpha.clone())
    refine_with_retries(setting, frame, 1.0, lambda share: None, Policy(free_memory=lambda: freed.append(1)))
    assert tried[0][0] == "cuda" and tried[0][1] > MIN_MEMORY
    assert tried[1:] == [("cuda", MIN_MEMORY), ("cpu", MIN_MEMORY)][:times] and len(freed) == times
    assert frame.out.equal(expected) and "out of memory in the refinement" in caplog.text


def test_a_lack_of_memory_that_is_the_callers_is_not_ours():
    def step() -> None:
        raise MemoryError("the caller's")

    frame = Frame(IMAGE[0], TRIMAP[0], TRIMAP[0].clone())
    footprint = footprint_of(MODEL.net, 96, 72, torch.float32, "cpu")
    setting = Setting(MODEL, torch.device("cpu"), footprint, make_plan(footprint))
    with pytest.raises(MemoryError, match="the caller's"):
        refine_with_retries(setting, frame, 1.0, lambda share: step(), Policy())
