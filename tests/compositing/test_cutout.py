"""Cut-outs and new backgrounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import U, gamma

from vitmatte import cut_out, estimate_foreground, replace_background
from vitmatte.compositing.blend import FITS, composite, fit, without_spill
from vitmatte.compositing.overlay import tint
from vitmatte.srgb import to_linear, to_srgb

pytestmark = pytest.mark.numbers

IMAGE, ALPHA = torch.rand(2, 20, 30, 3), torch.rand(2, 20, 30)


def test_srgb_is_the_standards():
    codes = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert (to_srgb(to_linear(codes)) - codes).abs().max() < 1e-7  # the standard's two pieces do not meet more exactly
    expected = {0.0: 0.0, 0.04045: 0.04045 / 12.92, 0.5: 0.2140411, 1.0: 1.0}  # IEC 61966-2-1
    for code, light in expected.items():
        assert abs(float(to_linear(torch.tensor(code, dtype=torch.float64))) - light) < 1e-6


def test_composite_in_light_and_in_code():
    white, black, half = torch.ones(1, 1, 1, 3), torch.zeros(1, 1, 1, 3), torch.full((1, 1, 1), 0.5)
    assert composite(white, half, black).unique().tolist() == [0.5]
    assert abs(float(composite(white, half, black, linear=True).max()) - 0.7353570) < 16 * U
    for alpha, kept in ((torch.ones(1, 1, 1), white), (torch.zeros(1, 1, 1), black)):
        assert (composite(white, alpha, black, linear=True) - kept).abs().max() < 16 * U


def test_over_a_background_with_alpha():
    scene = torch.rand(2, 20, 30, 4)
    scene[:, :5, :, 3] = 0
    found = composite(IMAGE, ALPHA, scene)
    premultiplied = IMAGE * ALPHA[..., None] + scene[..., :3] * (scene[..., 3] * (1 - ALPHA))[..., None]
    assert (found[..., :3] * found[..., 3:] - premultiplied).abs().max() < 16 * U
    assert found[:, :5, :, 3].equal(ALPHA[:, :5])


SIZES = st.integers(1, 40)


@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from(FITS))
@settings(max_examples=100, deadline=None)
def test_fits_give_the_size_and_stay_in_range(old_height, old_width, height, width, how):
    background = torch.rand(1, old_height, old_width, 3)
    found = fit(background, height, width, how)
    assert found.shape == (1, height, width, 3) and found.min() >= 0 and found.max() <= 1
    assert fit(torch.full((1, old_height, old_width, 3), 0.25), height, width, how, fill=torch.full((3,), 0.25)).sub(
        0.25).abs().max() < 0.25 * gamma(2 * 4 * (2 + max(old_height, old_width)))  # weights that add up to 1, twice


def test_fits_are_what_they_are_called():
    left_right = torch.zeros(1, 10, 40, 3)
    left_right[:, :, 20:] = 1
    cover = fit(left_right, 20, 20, "cover")
    assert cover[:, :, 2].max() < 0.05 and cover[:, :, -3].min() > 0.95
    contain = fit(left_right, 20, 20, "contain", fill=torch.tensor([1.0, 0.0, 0.0]))
    assert contain[0, 0, 3].tolist() == [1, 0, 0] and contain[0, 10, -3].min() > 0.95 and contain[0, 10, 2].max() < 0.05
    assert fit(left_right, 20, 20, "stretch")[0, 0, :, 0].sub((torch.arange(20) >= 10).float()).abs().mean() < 0.1
    assert fit(left_right, 25, 90, "tile")[0, :, :, 0].equal(((torch.arange(90) % 40) >= 20).float().expand(25, -1))
    with pytest.raises(ValueError, match="fit is 'crop'; expected one of cover"):
        fit(left_right, 5, 5, "crop")


def test_cutouts():
    found = cut_out(IMAGE, ALPHA)
    assert found[..., :3].equal(estimate_foreground(IMAGE, ALPHA)) and found[..., 3].equal(ALPHA)
    plain = cut_out(IMAGE, ALPHA, estimate=False)
    assert plain[..., :3].equal(IMAGE)
    assert cut_out(IMAGE[:1], ALPHA)[1:].equal(cut_out(IMAGE[:1], ALPHA[1]))
    rgba = torch.cat([IMAGE, torch.rand(2, 20, 30, 1)], dim=-1)
    assert cut_out(rgba.half(), ALPHA.half()).dtype == torch.float32


def test_despill():
    green = cut_out(torch.tensor([0.2, 0.9, 0.4]).expand(1, 3, 3, 3), torch.ones(1, 3, 3), despill="green")
    assert (green[..., :3] - torch.tensor([0.2, 0.4, 0.4])).abs().max() < 16 * U
    red = torch.tensor([0.9, 0.3, 0.1]).expand(1, 3, 3, 3)
    assert without_spill(red, "green").equal(red) and without_spill(red, "blue").equal(red)
    with pytest.raises(ValueError, match="despill is 'red'"):
        cut_out(IMAGE, ALPHA, despill="red")


def test_backgrounds():
    behind = torch.rand(3, 7, 9, 3)
    many = replace_background(IMAGE[:1], ALPHA[:1], behind, estimate=False)
    assert many.shape == (3, 20, 30, 3)
    for i in range(3):
        assert replace_background(IMAGE[:1], ALPHA[0], behind[i:i + 1], estimate=False).equal(many[i:i + 1])
    plain = replace_background(IMAGE, ALPHA, torch.tensor([0.0, 1.0, 0.0]), estimate=False)
    assert (plain - composite(IMAGE, ALPHA, torch.tensor([0.0, 1.0, 0.0]))).abs().max() < 4 * U
    clear = replace_background(IMAGE, ALPHA, torch.zeros(1, 5, 5, 4), fit="contain")
    assert clear.shape[-1] == 4 and (clear[..., 3] - ALPHA).abs().max() < 4 * U
    boxed = replace_background(IMAGE, ALPHA, torch.zeros(1, 5, 5, 4), fit="contain", fill=torch.ones(3))
    assert boxed[:, 0, 0, 3].min() == 1


def test_progress_and_interruption():
    seen = []
    cut_out(IMAGE, ALPHA, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (200, 200) and len(set(seen)) == len(seen) > 20

    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_background(IMAGE, ALPHA, torch.ones(3), check_interrupt=cancel)


@pytest.mark.parametrize(("background", "said"), [
    (torch.rand(3, 4, 4, 3), "2 images, 2 of alpha and 3 of background"),
    (torch.rand(4, 4, 3), "background has shape"),
    (torch.rand(1, 4, 4, 3) + 2, "background has values"),
    (torch.rand(2), "background has shape"),
])
def test_refused_backgrounds(background, said):
    with pytest.raises(ValueError, match=said):
        replace_background(IMAGE, ALPHA, background)


def test_tints_tell_the_areas_apart():
    trimap = torch.tensor([[[0.0, 0.5, 1.0]]])
    shown = tint(torch.full((1, 1, 3, 3), 0.5), trimap)[0, 0]
    assert shown[0].argmax() == 2 and shown[2].argmax() == 1 and shown[1, 2] < shown[1, 0] - 0.1
    assert tint(torch.rand(2, 1, 3, 4), trimap).shape == (2, 1, 3, 3)


@pytest.mark.parametrize("low_high", [(0.0, 40.0), (-0.3, 1.0), (-0.3, 7.5)])
def test_high_range_is_the_same_in_another_scale(low_high):
    """The estimate is that of the picture brought into 0..1, and the picture's own values stay where alpha is 1."""
    low, high = low_high
    bright = IMAGE * (high - low) + low
    bright[:, 0, 0], bright[:, 0, 1] = low, high
    alpha = torch.where(ALPHA < 0.3, 1.0, ALPHA)
    found = cut_out(bright, alpha, high_range=True)
    plain = cut_out((bright - low) / (high - low), alpha)
    assert torch.equal(found[..., 3], plain[..., 3])
    assert (found[..., :3] - (plain[..., :3] * (high - low) + low)).abs().max() < 1e-5 * (high - low)
    own = alpha == 1
    assert torch.equal(found[..., :3][own], bright[own])
    assert torch.equal(cut_out(bright, alpha, estimate=False, high_range=True)[..., :3], bright)
    scene = torch.tensor([0.1, 0.2, 0.3])
    new = replace_background(bright, alpha, scene, linear=True, high_range=True)
    assert (new[own] - bright[own]).abs().max() < 1e-4 * high
    if high > 2:
        with pytest.raises(ValueError, match="tone-map high dynamic range first"):
            cut_out(bright, alpha)
    bright[0, 5, 5, 1] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        cut_out(bright, alpha, high_range=True)
