"""DiffMatte's noise, steps and conditions, and its decoder as a plain function."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from diffmatte_nets import diffmatte_config, random_diffmatte
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPREAD, assert_close, random_input
from rounding import ALPHA, U64, U

from vitmatte.model.diffusion import DiffusionConfig, Step, condition, given_state, noise, steps_of


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 2**70))
def test_noise_depends_on_the_place_alone(height, width, seed):
    assert noise(height, width, seed).equal(noise(height + 70, width + 3, seed)[:height, :width])


def test_noise_is_the_same_everywhere():
    """By Python's whole numbers: what any machine has to give."""
    import math

    def mixed(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    found, key = noise(70, 5, 3), mixed(3)
    for row, column in ((0, 0), (0, 4), (1, 0), (69, 2)):
        bits = mixed(mixed((row * 2**32 + column + key) % 2**64) ^ key)
        first, second = ((bits >> 32) + 0.5) / 2**32, bits % 2**32 / 2**32
        value = math.sqrt(-2 * math.log(first)) * math.cos(2 * math.pi * second)
        assert float(found[row, column]) == pytest.approx(value, rel=1e-6, abs=1e-7)


def test_noise_is_normal_and_no_two_seeds_or_neighbours_go_together():
    first, second = noise(400, 500, 0).numpy(), noise(400, 500, 1).numpy()
    count = first.size
    assert abs(first.mean()) < 4 / count**0.5 and abs(first.std() - 1) < 3 / count**0.5
    assert abs((first**3).mean()) < 4 * 15**0.5 / count**0.5 and abs((first**4).mean() - 3) < 4 * 96**0.5 / count**0.5
    for other in (second, np.roll(first, 1, 0), np.roll(first, 1, 1), np.roll(first, (1, 1), (0, 1))):
        assert abs((first * other).mean()) < 4 / count**0.5


def test_steps_end_with_the_matte_itself():
    steps = steps_of(DiffusionConfig())
    assert len(steps) == 10 and steps[0].time == 1 and steps[-1].time == pytest.approx(0.1)
    assert steps[-1].next_matte == pytest.approx(0.2) and steps[-1].next_noise == 0
    for step, after in zip(steps, steps[1:], strict=False):
        assert (step.next_matte, step.next_noise) == (after.matte, after.noise)
        assert (step.matte / 0.2) ** 2 + step.noise**2 == pytest.approx(1)
        assert (step.matte / 0.2) ** 2 == pytest.approx(1 - step.time, abs=1e-6)


def test_a_step_keeps_the_noise():
    """Of a state that is matte and noise, the step that is told the matte gives the same two in other shares."""
    step = Step(0.5, 0.14, 0.7, 0.17, 0.5)
    matte, grain = torch.rand(3, 4) * 2 - 1, torch.randn(3, 4)
    assert_close(step.next_state(0.14 * matte + 0.7 * grain, matte), 0.17 * matte + 0.5 * grain, 1e-6)


def test_the_states_spread():
    state = torch.randn(50, 40) * 3
    assert given_state(state, DiffusionConfig(scale=1)) == 1
    assert float((state * given_state(state, DiffusionConfig())).std(correction=0)) == pytest.approx(1)
    assert given_state(torch.zeros(4, 4), DiffusionConfig()) == pytest.approx(1e5)


def test_conditions_are_doubled_and_zero_in_the_padding():
    pixels = random_input(6, 5)
    found = condition(pixels, 4, 3)
    assert found[..., :4, :3].shape == (1, 6, 4, 3) and not found[..., 4:, :].any() and not found[..., 3:].any()
    assert found[0, :3, :4, :3].equal(2 * pixels[0, :3, :4, :3] - 1)
    assert set(found[0, 3:, :4, :3].flatten().tolist()) == {-1, 1}
    assert found[0, 3:, :4, :3].argmax(0).equal((pixels[0, 3, :4, :3] * 2).long())


def test_folding_is_exact_in_double_precision():
    net = random_diffmatte().double()
    folded = deepcopy(net)
    folded.fold()
    assert folded.folded and not any("bn" in name or "running" in name for name in folded.state_dict())
    pixels = random_input(64, 32).double()
    alphas = net(pixels)
    assert alphas.std() > SPREAD
    assert_close(folded(pixels), alphas, ALPHA * U64 / U)


def test_a_batch_is_its_pictures():
    net, pixels = random_diffmatte(diffmatte_config(steps=2)), random_input(64, 32, batch=3)
    together = net(pixels)
    for i in range(3):
        assert_close(together[i:i + 1], net(pixels[i:i + 1]), ALPHA)


@pytest.mark.parametrize("default", [torch.float16, torch.float64])
def test_a_default_dtype_changes_nothing(default):
    net = random_diffmatte()
    pixels, steps = random_input(64, 64), steps_of(DiffusionConfig())
    with torch.no_grad():
        expected = net(pixels)
        torch.set_default_dtype(default)
        try:
            assert steps_of(DiffusionConfig()) == steps
            found = net(pixels)
        finally:
            torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))
