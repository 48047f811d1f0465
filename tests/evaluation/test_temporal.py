"""dtSSD and MESSDdt, against slow literal implementations and figures found by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vitmatte.evaluation.temporal import Clip, Flicker, dtssd, messddt

pytestmark = pytest.mark.numbers


def reference_dtssd(found, true, area):
    total, count = 0.0, 0
    for y, x in zip(*np.nonzero(area), strict=True):
        total += ((found[1][y, x] - found[0][y, x]) - (true[1][y, x] - true[0][y, x])) ** 2
        count += 1
    return math.sqrt(total / count)


def reference_messddt(found, true, area, motion):
    def between(plane, y, x):
        top, left = min(int(y), plane.shape[0] - 2), min(int(x), plane.shape[1] - 2)
        down, right = y - top, x - left
        rows = [(1 - right) * plane[top + i, left] + right * plane[top + i, left + 1] for i in (0, 1)]
        return (1 - down) * rows[0] + down * rows[1]

    total, count = 0.0, 0
    for y, x in zip(*np.nonzero(area), strict=True):
        u, v = x + motion[y, x, 0], y + motion[y, x, 1]
        if 0 <= u <= area.shape[1] - 1 and 0 <= v <= area.shape[0] - 1:
            total += abs((found[0][y, x] - true[0][y, x]) ** 2 - between((found[1] - true[1]) ** 2, v, u))
            count += 1
    return total / count


@pytest.mark.parametrize("seed", range(4))
def test_against_the_definitions(seed):
    rng = np.random.default_rng(seed)
    found, true = rng.random((2, 3, 12, 17))
    areas, motion = rng.random((3, 12, 17)) < 0.4, rng.normal(0, 3, (2, 12, 17, 2))
    clip = Clip()
    for i in range(3):
        clip.push(found[i], true[i], areas[i], motion[i - 1] if i else None)
    pairs = [slice(i, i + 2) for i in range(2)]
    assert clip.flicker().dtssd == pytest.approx(
        np.mean([reference_dtssd(found[p], true[p], areas[p][1]) for p in pairs]))
    assert clip.flicker().messddt == pytest.approx(
        np.mean([reference_messddt(found[p], true[p], areas[p][0], m) for p, m in zip(pairs, motion, strict=True)]))
    assert clip.flicker().pairs == 2


def test_hand_computed():
    """An error of 0.5 that comes in one pixel of four: its change is 0.5, and so is dtSSD's root of 0.25 / 4 = 0.25."""
    true, area = np.zeros((2, 2)), np.ones((2, 2), bool)
    wrong = true.copy()
    wrong[0, 1] = 0.5
    assert dtssd((true, true), (wrong, true), area) == pytest.approx(math.sqrt(0.25 / 4))
    assert messddt((true, true), (wrong, true), area, np.zeros((2, 2, 2))) == pytest.approx(0.25 / 4)


def test_an_error_that_moves_along_is_no_flicker_for_messddt():
    true, area = np.zeros((4, 6)), np.ones((4, 6), bool)
    first, second = true.copy(), true.copy()
    first[1, 2], second[1, 3] = 0.5, 0.5
    right = np.zeros((4, 6, 2))
    right[..., 0] = 1
    assert messddt((first, true), (second, true), area, right) == 0
    assert dtssd((first, true), (second, true), area) == pytest.approx(math.sqrt(2 * 0.25 / 24))


def test_a_constant_error_and_a_perfect_clip_do_not_flicker():
    rng = np.random.default_rng(0)
    clip = Clip()
    for true in rng.random((3, 5, 5)) / 2:
        clip.push(true + 0.25, true, None, np.zeros((5, 5, 2)))
    assert clip.flicker() == Flicker(pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12), 2)


def test_what_moves_out_and_what_has_no_area_does_not_count():
    plane, area = np.full((3, 3), 0.5), np.ones((3, 3), bool)
    assert messddt((plane, plane), (plane, plane), area, np.full((3, 3, 2), 9.0)) is None
    clip = Clip()
    for i in range(3):
        clip.push(plane, plane / 2, area if i == 1 else ~area)
    assert clip.flicker() == Flicker(0.0, None, 1)


def test_bad_input_is_named():
    plane = np.full((3, 3), 0.5)
    clip = Clip()
    with pytest.raises(ValueError, match="found is float64 of shape"):
        clip.push(np.zeros((1, 3, 3)), plane)
    clip.push(plane, plane)
    with pytest.raises(ValueError, match="no two frames"):
        clip.flicker()
    with pytest.raises(ValueError, match="expected one size"):
        clip.push(np.zeros((4, 3)), np.zeros((4, 3)))
    clip = Clip()
    clip.push(plane, plane)
    with pytest.raises(ValueError, match=r"motion is \(3, 3\)"):
        clip.push(plane, plane, None, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="no two frames"):  # what was refused does not count
        clip.flicker()
    clip.push(plane, plane)
    assert clip.flicker() == Flicker(0.0, None, 1)


def test_a_frame_that_is_refused_leaves_the_clip_as_it_was():
    clip, plane = Clip(), np.full((3, 3), 0.5)
    clip.push(plane, plane)
    plane[:] = 1  # the caller's own again
    for bad in (np.zeros((4, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match="expected one size|not finite"):
            clip.push(bad, np.zeros(bad.shape))
    clip.push(np.full((3, 3), 0.75), np.full((3, 3), 0.5))
    assert clip.flicker().dtssd == pytest.approx(0.25)
