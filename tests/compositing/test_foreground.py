"""Foreground colours: the formula, what stays exact, and that it is better than leaving the picture's colours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import U

from vitmatte import estimate_foreground
from vitmatte.compositing.foreground import _estimate
from vitmatte.compositing.relaxation import BLOCK, EDGE_WEIGHT, SMOOTHNESS, _strips, neighbour_weights, update
from vitmatte.steps import ignore

pytestmark = pytest.mark.numbers

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32 - 1))


def picture(height: int, width: int, seed: int = 0):
    """(image, alpha, foreground): smooth colours mixed by a matte with soft edges and strands."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    red, green, blue = torch.tensor([0.8, 0.3, 0.2]), torch.tensor([0.1, 0.7, 0.2]), torch.tensor([0.1, 0.1, 0.3])
    foreground = (red + blue * (x + 0 * y)[..., None]).clamp(0, 1)
    background = (green + blue * (y + 0 * x)[..., None]).clamp(0, 1)
    alpha = (3 - 8 * torch.hypot(x - 0.5, y - 0.5) + 0.5 * torch.rand(height, width, generator=generator)).clamp(0, 1)
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return image[None], alpha[None], foreground[None]


@given(SHAPES)
@settings(max_examples=30, deadline=None)
def test_any_size_and_batches(shape):
    batch, height, width, seed = shape
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, height, width, 3, generator=generator)
    alpha = torch.rand(batch, height, width, generator=generator).mul(2).sub(0.5).clamp(0, 1)
    foreground, background = estimate_foreground(image, alpha, return_background=True)
    for found, known in ((foreground, alpha == 1), (background, alpha == 0)):
        assert found.shape == image.shape and found.dtype == torch.float32
        assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
        assert found[known].equal(image[known])
    for i in range(batch):
        assert estimate_foreground(image[i:i + 1], alpha[i]).equal(foreground[i:i + 1])
        assert estimate_foreground(image[i:i + 1], alpha).shape == image.shape


def test_an_update_minimises_its_pixels_energy():
    """Against the energy itself, by its gradient, for pixels of one row with their neighbours fixed."""
    generator = torch.Generator().manual_seed(1)
    image, alpha = torch.rand(3, 6, 7, generator=generator), torch.rand(6, 7, generator=generator)
    framed = torch.zeros(6, 8, 9)
    framed[:, 1:-1, 1:-1] = torch.rand(6, 6, 7, generator=generator)
    before = framed.clone()
    for strip in _strips(image, alpha, neighbour_weights(alpha), 0, True):
        strip = strip._replace(image=strip.image * 0 + 0.5)  # far from the ends of 0..1, where it is clipped
        update(framed, strip)
    for y in (0, 2, 4):
        for x in range(7):
            both = framed[:, y + 1, x + 1].double().requires_grad_()
            if bool(((both <= 0) | (both >= 1)).any()):
                continue
            share = alpha[y, x].double()
            energy = ((share * both[:3] + (1 - share) * both[3:] - 0.5) ** 2).sum()
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < 6 and 0 <= u < 7:
                    weight = SMOOTHNESS + EDGE_WEIGHT * (alpha[v, u] - share).abs()
                    energy = energy + weight * ((both - before[:, v + 1, u + 1].double()) ** 2).sum()
            energy.backward()
            # Colours below 1 of some 30 roundings; the gradient is 2 (S + alpha^2 + (1 - alpha)^2) < 3 times that.
            assert both.grad.abs().max() < 3 * 30 * U


def test_colours_come_out_of_the_mixture():
    image, alpha, truth = picture(150, 201)
    soft = (alpha > 0) & (alpha < 1)
    before = (image - truth)[soft].abs().mean()
    after = (estimate_foreground(image, alpha) - truth)[soft].abs().mean()
    assert after < 0.12 * before, (after, before)


def test_work_is_done_only_along_the_mattes_edge():
    alpha = torch.zeros(8 * BLOCK, 8 * BLOCK)
    alpha[3 * BLOCK + 5:4 * BLOCK - 5, :] = 0.5
    strips = list(_strips(torch.rand(3, *alpha.shape), alpha, neighbour_weights(alpha), 0, False))
    assert len(strips) == 1 and strips[0].alpha.shape == (BLOCK // 2, 8 * BLOCK)


def test_far_from_the_subject_colours_are_the_subjects():
    image = torch.zeros(1, 300, 300, 3)
    image[:, 140:160, 140:160] = torch.tensor([0.9, 0.2, 0.1])
    alpha = torch.zeros(1, 300, 300)
    alpha[:, 140:160, 140:160] = 1
    assert (estimate_foreground(image, alpha) - torch.tensor([0.9, 0.2, 0.1])).abs().max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types(dtype):
    image, alpha, _ = picture(40, 50)
    found = estimate_foreground(image.to(dtype), alpha.to(dtype))
    assert found.dtype == torch.float32
    assert (found - estimate_foreground(image.to(dtype).float(), alpha.to(dtype).float())).abs().max() < 16 * U


def test_noncontiguous_and_unchanged_inputs():
    image, alpha, _ = picture(30, 40)
    kept = image.clone(), alpha.clone()
    turned = estimate_foreground(image.transpose(1, 2), alpha.mT)
    assert turned.equal(estimate_foreground(image.transpose(1, 2).contiguous(), alpha.mT.contiguous()))
    assert image.equal(kept[0]) and alpha.equal(kept[1])
    assert _estimate(image[0].permute(2, 0, 1), alpha[0], ignore).shape == (6, 30, 40)


@pytest.mark.parametrize(("image", "alpha", "said"), [
    (torch.rand(1, 4, 4), torch.rand(1, 4, 4), r"image has shape \[1, 4, 4\]"),
    (torch.rand(1, 4, 4, 3), torch.rand(1, 5, 4), "image is 4x4 and alpha 4x5"),
    (torch.rand(3, 4, 4, 3), torch.rand(2, 4, 4), "3 of image and 2 of alpha"),
    (torch.rand(1, 4, 4, 3) * 255, torch.rand(1, 4, 4), "image has values"),
    (torch.rand(1, 4, 4, 3), torch.rand(1, 4, 4) - 3, "alpha has values"),
    (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), torch.rand(1, 4, 4), "image is torch.uint8"),
    (torch.rand(1, 0, 4, 3), torch.rand(1, 0, 4), "it is empty"),
])
def test_refusals(image, alpha, said):
    with pytest.raises(ValueError, match=said):
        estimate_foreground(image, alpha)


def test_no_worse_than_pymatting():
    pymatting = pytest.importorskip("pymatting")
    image, alpha, truth = picture(160, 190)
    soft = (alpha > 0) & (alpha < 1)
    theirs = pymatting.estimate_foreground_ml(image[0].double().numpy(), alpha[0].double().numpy())
    ours = (estimate_foreground(image, alpha) - truth)[soft].abs().mean()
    assert ours <= 1.01 * (torch.from_numpy(theirs)[None] - truth)[soft].abs().mean()
