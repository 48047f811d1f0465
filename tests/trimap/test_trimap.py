"""Trimaps: exact Euclidean distances, whatever the mask, the radius and the size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vitmatte import make_trimap
from vitmatte.trimap.distance import FINENESS, within, within_contour
from vitmatte.trimap.known import lacking


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


@pytest.mark.parametrize("radius", [62.5, 63.0, 126.0, 127.0, 128.0, 255.0, 256.0, 16383.0, 20000.5])
@pytest.mark.parametrize("turned", [False, True])
def test_wide_whole_numbers_for_large_radii(radius, turned):
    """Around these radii wider types take over; a straight edge between columns 299 and 300 tells all distances."""
    mask = torch.zeros(1, 3, 21000)
    mask[..., 300:] = 1
    column, given_mask = torch.arange(21000), mask.mT if turned else mask
    hard = make_trimap(given_mask, inner=radius, outer=radius)
    smooth = make_trimap(given_mask, inner=radius, outer=radius, low=0.5, high=0.5)
    for trimap, away in ((hard, (column - 299.5).abs() + 0.5), (smooth, (column - 299.5).abs())):
        unknown = ((trimap.mT if turned else trimap) == 0.5)[0]
        assert unknown.equal((away <= radius).expand(3, -1))


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


def brute_force_contour(values: np.ndarray, level: float, radius: float) -> np.ndarray:
    """Pixels at most `radius` from a crossing between two neighbours, by comparing every two."""
    places = []
    for y, x in np.ndindex(values.shape):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < values.shape[0] and u < values.shape[1] and (values[y, x] >= level) != (values[v, u] >= level):
                share = np.float32(level - values[y, x]) / np.float32(values[v, u] - values[y, x])
                share = np.round(share * FINENESS) / FINENESS
                places.append((y + (v - y) * share, x + (u - x) * share))
    y, x = np.indices(values.shape)
    near = np.zeros(values.shape, bool)
    for v, u in places:
        near |= (y - v) ** 2 + (x - u) ** 2 <= radius**2 * (1 + 1e-12)
    return near


@given(MASKS, st.floats(0.05, 0.95), st.integers(0, 24 * FINENESS).map(lambda n: n / FINENESS))
@settings(max_examples=100, deadline=None)
def test_contours_equal_brute_force(mask, level, radius):
    height, width, share, seed = mask
    values = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    values = np.where(values < share, np.round(values), values).astype(np.float32)
    level = float(np.float32(level))
    found = within_contour(torch.from_numpy(values)[None], level, radius)[0].numpy()
    assert (found == brute_force_contour(values, level, radius)).all()


def test_smooth_edges_lie_between_pixels():
    """A shape's edge at column 10.25, drawn with the share of the pixel that it covers."""
    mask = torch.zeros(1, 7, 24)
    mask[..., 11:] = 1
    mask[..., 10] = 0.25  # the edge is 10.25 pixels from the right of column 0's centre, after half a pixel
    row = make_trimap(mask, inner=2.0, outer=2.0, low=0.5, high=0.5)[0, 3]
    edge = 10 + (0.5 - 0.25) / 0.75
    unknown = [abs(x - edge) <= 2.0 for x in range(24)]
    assert (row == 0.5).tolist() == unknown and row[11 + 2] == 1 and row[7] == 0


def test_thresholds():
    mask = torch.tensor([[0.05, 0.0625, 0.3, 0.9375, 0.95]])
    assert make_trimap(mask, inner=0, outer=0, low=0.0625, high=0.9375).tolist() == [[0, 0, 0.5, 1, 1]]
    assert make_trimap(mask, inner=0, outer=0, low=0.5, high=0.5).tolist() == [[0, 0, 0, 1, 1]]
    assert make_trimap(1 - mask, inner=0, outer=0, low=0.0625, high=0.9375, invert=True).tolist() == [[0, 0, 0.5, 1, 1]]


def test_percent_of_each_frames_subject():
    masks = torch.zeros(2, 60, 60)
    masks[0, 20:30, 20:30] = 1
    masks[1, 10:50, 10:50] = 1
    found = make_trimap(masks, inner=10, outer=20, unit="percent")
    for mask, trimap, size in zip(masks, found, (10, 40), strict=True):
        assert trimap.equal(make_trimap(mask, inner=size / 10, outer=size / 5))


def test_holes_and_specks_by_area():
    mask = torch.zeros(1, 40, 40)
    mask[:, 5:35, 5:35] = 1
    mask[:, 10:12, 10:12] = 0  # a hole of 4
    mask[:, 20:24, 20:24] = 0  # a hole of 16
    mask[:, 1, 1] = mask[:, 2, 2] = 1  # a speck of 2, joined at a corner
    plain = {"inner": 0, "outer": 0}
    assert make_trimap(mask, **plain).equal(mask)
    found = make_trimap(mask, **plain, fill_holes=4, remove_specks=2)
    assert found[0, 10, 10] == 1 and found[0, 21, 21] == 0 and found[0, 1, 1] == 0 and found[0, 2, 2] == 0
    assert make_trimap(mask, **plain, fill_holes=3, remove_specks=1).equal(mask)
    assert make_trimap(mask, **plain, fill_holes=16)[0, 21, 21] == 1


def test_marks_overrule_the_mask():
    mask = torch.zeros(2, 10, 10)
    mask[:, 3:7, 3:7] = 1
    here, sure, never = torch.zeros(10, 10), torch.zeros(2, 10, 10), torch.zeros(1, 10, 10)
    here[0], sure[1, 0, 0], never[0, 4, 4] = 1, 1, 1
    found = make_trimap(mask, inner=1, outer=1, unknown=here, foreground=sure, background=never)
    assert found[0, 0].eq(0.5).all() and found[1, 0, 0] == 1 and found[1, 0, 1] == 0.5 and found[:, 4, 4].eq(0).all()


def test_strands_are_followed_and_steps_are_not():
    image = torch.full((1, 120, 120, 3), 0.8)
    image[:, :, :40] = 0.2
    for row in range(50, 70, 4):
        image[:, row:row + 2, 40:80] = 0.2
    image[:, 100:, :] = 0.3  # a step: no strand
    mask = torch.zeros(1, 120, 120)
    mask[:, :, :40] = 1
    tight = make_trimap(mask, inner=2, outer=3)
    wide = make_trimap(mask, inner=2, outer=3, image=image, strands=30)
    assert wide[0, 50:66, 42:70].eq(0.5).all() and wide[0, 60, 80:].eq(0).all()
    assert wide[0, :40].equal(tight[0, :40]) and wide[0, 85:].equal(tight[0, 85:])


def test_what_is_lacking_is_said(caplog):
    make_trimap(torch.zeros(3, 8, 8), inner=1, outer=1)
    assert "no unknown area in 3 of 3 frames (0, 1, 2)" in caplog.text and "no foreground in 3" in caplog.text
    assert lacking(torch.tensor([[0.0, 0.5, 1.0]])) == []
    assert [said.split(":")[0] for said in lacking(torch.full((2, 2), 0.5))] == ["no foreground", "no background"]


@pytest.mark.parametrize(("options", "said"), [
    ({"unit": "cm"}, "unit is 'cm'; expected one of pixels, percent"),
    ({"low": 0.6, "high": 0.4}, "low is 0.6 and high 0.4"),
    ({"fill_holes": -1}, "fill_holes is -1"),
    ({"strands": 5}, "strands need the image"),
    ({"strands": 5, "image": torch.rand(1, 4, 4, 3)}, "the image is 4x4 and the mask 6x5"),
    ({"strands": 5, "image": torch.rand(4, 5, 6, 3)}, "4 frames of the image and 2 of the mask"),
    ({"unknown": torch.zeros(64, 64)}, "the unknown mask is 64x64 and the mask 6x5"),
    ({"background": torch.zeros(3, 5, 6)}, "3 frames of the background mask and 2"),
    ({"foreground": torch.ones(5, 6), "background": torch.ones(5, 6)}, "overlap"),
])
def test_refused_options(options, said):
    with pytest.raises(ValueError, match=said):
        make_trimap(torch.zeros(2, 5, 6), inner=1, outer=1, **options)


@given(MASKS, st.integers(1, 3), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
@settings(max_examples=25, deadline=None)
def test_all_options_at_any_size_batches_and_types(mask, batch, dtype):
    height, width, share, seed = mask
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, height, width, generator=generator)
    values = torch.where(values < share, values.round(), values).to(dtype)
    image = torch.rand(batch, height, width, 3, generator=generator)
    options = {"inner": 1.5, "outer": 5.0, "unit": "percent", "fill_holes": 2, "remove_specks": 2, "strands": 4.0}
    for low, high in ((0.0, 1.0), (0.5, 0.5)):
        found = make_trimap(values, **options, low=low, high=high, image=image)
        assert found.shape == values.shape and set(found.unique().tolist()) <= {0.0, 0.5, 1.0}
        for i in range(batch):
            assert make_trimap(values[i], **options, low=low, high=high, image=image[i:i + 1]).equal(found[i])


@pytest.mark.parametrize("flat", [True, False])
def test_one_mask_serves_several_pictures(flat):
    """With strands each picture has a trimap of its own, else one is enough; ViTMatte Matting takes either."""
    mask = torch.zeros(40, 48)
    mask[10:30, 10:30] = 1
    images = torch.rand(3, 40, 48, 3, generator=torch.Generator().manual_seed(0))
    given = mask if flat else mask[None]
    found = make_trimap(given, inner=2, outer=2, strands=8, image=images)
    assert found.shape == (3, 40, 48)
    for picture, trimap in zip(images, found, strict=True):
        assert trimap.equal(make_trimap(mask, inner=2, outer=2, strands=8, image=picture[None]))
    plain = make_trimap(given, inner=2, outer=2, image=images)
    assert plain.equal(make_trimap(given, inner=2, outer=2)) and plain.shape == given.shape
    with pytest.raises(ValueError, match="expected equal sizes"):
        make_trimap(given[..., 1:], inner=2, outer=2, image=images)
