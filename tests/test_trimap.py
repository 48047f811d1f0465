"""Trimaps: exact Euclidean distances, whatever the mask, the radius and the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitmatte import make_trimap
from vitmatte.distance import within


def brute_force(marked: np.ndarray, radius: float) -> np.ndarray:
    """Pixels at most `radius` from a marked one, by comparing every two."""
    rows, columns = np.nonzero(marked)
    y, x = np.indices(marked.shape)
    if rows.size == 0:
        return np.zeros_like(marked)
    return (np.hypot(y[..., None] - rows, x[..., None] - columns) <= radius).any(axis=-1)


MASKS = st.tuples(st.integers(1, 24), st.integers(1, 24), st.floats(0, 1), st.integers(0, 2**32 - 1))
RADII = st.one_of(st.floats(0, 40), st.integers(0, 40), st.integers(0, 900).map(lambda n: n**0.5))


@given(MASKS, RADII)
@settings(max_examples=300, deadline=None)
def test_within_equals_brute_force(mask, radius):
    height, width, share, seed = mask
    marked = np.random.default_rng(seed).random((height, width)) < share
    found = within(torch.from_numpy(marked)[None], float(radius))[0].numpy()
    assert (found == brute_force(marked, radius)).all()


@given(MASKS, RADII, RADII)
@settings(max_examples=100, deadline=None)
def test_trimap_is_its_definition(mask, inner, outer):
    height, width, share, seed = mask
    random = np.random.default_rng(seed)
    values = np.where(random.random((height, width)) < share, 1.0, 0.0)
    values[random.random((height, width)) < 0.05] = 0.3
    expected = np.where(values > 0, 1.0, 0.0)
    unknown = (values > 0) & (values < 1)
    unknown |= (values == 1) & brute_force(values < 1, inner)
    unknown |= (values == 0) & brute_force(values > 0, outer)
    expected[unknown] = 0.5
    found = make_trimap(torch.from_numpy(values), inner=inner, outer=outer)
    assert found.dtype == torch.float32 and (found.numpy() == expected).all()


def test_radii_are_per_side_and_count_pixels():
    mask = torch.zeros(1, 9, 30)
    mask[..., 15:] = 1
    row = make_trimap(mask, inner=2, outer=5)[0, 4].tolist()
    assert row == [0] * 10 + [0.5] * 7 + [1] * 13
    assert make_trimap(mask, inner=0, outer=0).equal(mask)


def test_diagonals_are_euclidean():
    mask = torch.zeros(21, 21)
    mask[10, 10] = 1
    trimap = make_trimap(mask, inner=0, outer=5)
    assert trimap[13, 14] == trimap[7, 6] == 0.5 and trimap[14, 14] == 0  # 3-4-5, and 4-4 is further
    assert make_trimap(mask, inner=0, outer=32**0.5)[14, 14] == 0.5


def test_the_border_is_no_edge():
    mask = torch.zeros(1, 20, 20)
    mask[:, :, 10:] = 1
    trimap = make_trimap(mask, inner=3, outer=3)
    assert (trimap[0, :, 13:] == 1).all() and (trimap[0, :, :7] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_masks_of_one_kind_have_no_unknown(value):
    assert make_trimap(torch.full((1, 5, 6), value), inner=9, outer=9).eq(value).all()


def test_an_eight_bit_step_is_no_softness():
    """ComfyUI 0.33 loads white of an 8-bit grey file as 65280/65535; JPEG files and resizing round likewise."""
    mask = torch.tensor([[0.0, 1 / 255, 2 / 255, 0.5, 253 / 255, 254 / 255, 65280 / 65535, 1.0]])
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        trimap = make_trimap(mask.to(dtype), inner=0, outer=0)
        assert trimap.tolist() == [[0, 0, 0.5, 0.5, 0.5, 1, 1, 1]], dtype


def test_batches_equal_single_masks_and_types_do_not_matter():
    masks = (torch.rand(4, 17, 23) > 0.7).float()
    together = make_trimap(masks, inner=1.5, outer=3)
    for i in range(4):
        assert make_trimap(masks[i], inner=1.5, outer=3).equal(together[i])
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.bool):
        assert make_trimap(masks.to(dtype), inner=1.5, outer=3).equal(together)


def test_radii_beyond_the_picture():
    mask = torch.zeros(1, 3, 400)
    mask[0, 1, 0] = 1
    assert (make_trimap(mask, inner=0, outer=1e9)[0].flatten() == 0.5).sum() == 3 * 400 - 1


@pytest.mark.parametrize(("mask", "radii", "said"), [
    (torch.zeros(1, 1, 4, 4), (1, 1), r"mask has shape \[1, 1, 4, 4\]"),
    (torch.zeros(0, 4, 4), (1, 1), "it is empty"),
    (torch.zeros(4, 4, dtype=torch.uint8), (1, 1), "mask is torch.uint8; .* divide by 255"),
    (torch.full((4, 4), float("nan")), (1, 1), "not finite"),
    (torch.full((4, 4), 255.0), (1, 1), "values from 255 to 255; expected 0..1"),
    (torch.zeros(4, 4), (-1, 1), "inner is -1"),
    (torch.zeros(4, 4), (1, float("inf")), "outer is inf"),
    (torch.zeros(4, 4), (1, "2"), "outer is '2'"),
])
def test_refusals(mask, radii, said):
    with pytest.raises(ValueError, match=said):
        make_trimap(mask, inner=radii[0], outer=radii[1])
