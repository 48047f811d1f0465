"""The loss's parts, against values computed by hand."""

from __future__ import annotations

import pytest
import torch
from nets import random_input, small_config

from vitmatte import VitMatteForImageMatting
from vitmatte.model.loss import LossWeights, gradient_difference, laplacian_difference, masked_difference, matting_loss

pytestmark = pytest.mark.numbers


def plane(*rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_masked_difference():
    found, true = plane([0.2, 0.6, 1.0, 0.5]), plane([0.0, 1.0, 1.0, 0.0])
    mask = torch.tensor([[[[True, True, False, False]]]])
    assert float(masked_difference(found, true, mask)) == pytest.approx((0.2 + 0.4) / 2)
    assert float(masked_difference(found, true, ~mask)) == pytest.approx((0.0 + 0.5) / 2)
    assert float(masked_difference(found, true, torch.zeros_like(mask))) == 0


def test_gradient_of_a_ramp():
    """A ramp of 0.1 a pixel against a flat plane: Sobel gives 0.8 along the row and nothing along the column."""
    ramp = torch.arange(6.0).mul(0.1).expand(1, 1, 6, 6)
    inside = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    inside[..., 2:4, 2:4] = True
    flat = torch.zeros_like(ramp)
    assert float(gradient_difference(ramp, flat, inside)) == pytest.approx(0.8 + 0.01 * 0.8, rel=1e-5)
    assert float(gradient_difference(flat, ramp, inside)) == pytest.approx(0.8, rel=1e-5)


def test_laplacian_of_a_constant():
    """A constant difference is in no level but, as far as the pyramid goes, the first ones are 0."""
    found = torch.full((1, 1, 64, 64), 0.75)
    assert float(laplacian_difference(found, torch.zeros_like(found))) == pytest.approx(0, abs=1e-6)


def test_laplacian_of_one_pixel():
    """One level by hand: x minus its blurred, decimated, enlarged self; a 4x4 plane has no second level."""
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    x[..., 0, 0] = 1
    # Blur with [1 4 6 4 1] / 16 and reflection (2 1 | 0 1 2 3 | 2 1): matrix K of one axis, for places 0..3.
    kernel = torch.tensor([[6, 8, 2, 0], [4, 7, 4, 1], [1, 4, 7, 4], [0, 2, 8, 6]], dtype=torch.float64) / 16
    small = (kernel @ x[0, 0] @ kernel.t())[::2, ::2]
    spread = torch.zeros(4, 4, dtype=torch.float64)
    spread[::2, ::2] = small
    expected = (x[0, 0] - 4 * kernel @ spread @ kernel.t()).abs().mean() / 5
    assert float(laplacian_difference(x, torch.zeros_like(x))) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("size", [(3, 3), (4, 7), (33, 65), (96, 32)])
def test_laplacian_of_any_size(size):
    difference = torch.rand(2, 1, *size)
    value = laplacian_difference(difference, torch.zeros_like(difference))
    assert torch.isfinite(value) and value >= 0


def test_the_sum_is_weighted():
    found, true = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    unknown = torch.rand(2, 1, 32, 32) > 0.5
    total, parts = matting_loss(found, true, unknown)
    assert float(total) == pytest.approx(float(sum(parts.values())), rel=1e-6)
    total, parts = matting_loss(found, true, unknown, LossWeights(known=0, laplacian=0.5, gradient=0))
    assert float(total) == pytest.approx(float(parts["unknown"] + 0.5 * parts["laplacian"]), rel=1e-6)


def test_labels_give_the_loss_and_its_gradient():
    net = VitMatteForImageMatting(small_config()).train()
    pixels, labels = random_input(64, 96, batch=2), torch.rand(2, 1, 64, 96)
    output = net(pixels, labels=labels)
    expected, _ = matting_loss(output.alphas, labels, pixels[:, 3:] == 0.5)
    assert output.keys()[:2] == ["loss", "alphas"] and torch.equal(output.loss, expected)
    output.loss.backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A residual block begins as the identity: its last norm's weight is 0 and holds the gradient back.
    assert [name for name in without if ".residual." not in name] == ["backbone.embeddings.position_embeddings"] or \
        [name for name in without if ".residual." not in name] == []
    before = float(output.loss.detach())
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
    assert float(net(pixels, labels=labels).loss.detach()) < before


def test_labels_of_another_shape():
    net = VitMatteForImageMatting(small_config()).train()
    with pytest.raises(ValueError, match=r"labels is \[1, 64, 64\]; expected \[1, 1, 64, 64\]"):
        net(random_input(64, 64), labels=torch.zeros(1, 64, 64))
