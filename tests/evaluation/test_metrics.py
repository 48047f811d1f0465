"""The benchmark's errors, against slow literal implementations of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage

from vitmatte.evaluation.metrics import Errors, conn, errors, grad, mse, sad

pytestmark = pytest.mark.numbers


def reference_grad(found, true, area, sigma=1.4):
    """Every pixel's filter sum in two loops over a two-dimensional filter."""
    reach = int(math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 1e-2))))

    def gauss(x):
        return math.exp(-x * x / (2 * sigma * sigma)) / (sigma * math.sqrt(2 * math.pi))

    kernel = np.array([[gauss(i) * (-j * gauss(j) / sigma**2) for j in range(-reach, reach + 1)]
                       for i in range(-reach, reach + 1)])
    kernel /= np.sqrt((kernel**2).sum())

    def magnitude(matte):
        padded = np.pad(matte, reach, mode="edge")
        size = 2 * reach + 1
        result = np.zeros_like(matte)
        for y in range(matte.shape[0]):
            for x in range(matte.shape[1]):
                window = padded[y:y + size, x:x + size]
                result[y, x] = math.sqrt((window * kernel).sum() ** 2 + (window * kernel.T).sum() ** 2)
        return result

    return ((magnitude(found) - magnitude(true)) ** 2)[area].sum() / 1000


def flood(mask):
    """The largest region of four neighbours, by walking."""
    seen, best = np.zeros_like(mask), []
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        region, waiting = [], [start]
        seen[start] = True
        while waiting:
            y, x = waiting.pop()
            region.append((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1] and mask[near] and not seen[near]:
                    seen[near] = True
                    waiting.append(near)
        if len(region) > len(best):
            best = region
    result = np.zeros_like(mask)
    for place in best:
        result[place] = True
    return result


def reference_conn(found, true, area, step=0.1):
    levels = np.full(true.shape, -1.0)
    thresholds = np.arange(0, 1 + step, step)
    for i in range(1, len(thresholds)):
        omega = flood((found >= thresholds[i]) & (true >= thresholds[i]))
        levels[(levels == -1) & ~omega] = thresholds[i - 1]
    levels[levels == -1] = 1
    phi = [1 - (m - levels) * ((m - levels) >= 0.15) for m in (found, true)]
    return np.abs(phi[0] - phi[1])[area].sum() / 1000


def case(seed, height=40, width=51):
    rng = np.random.default_rng(seed)
    true = np.clip(scipy.ndimage.gaussian_filter(rng.standard_normal((height, width)), 3) * 6 + 0.5, 0, 1)
    found = np.clip(true + 0.2 * scipy.ndimage.gaussian_filter(rng.standard_normal((height, width)), 1), 0, 1)
    if seed % 2:  # as from 8-bit files
        true, found = np.round(true * 255) / 255, np.round(found * 255) / 255
    return found, true, scipy.ndimage.binary_dilation((true > 0) & (true < 1), iterations=2)


@pytest.mark.parametrize("seed", range(6))
def test_against_the_definitions(seed):
    found, true, area = case(seed)
    result = errors(found, true, area)
    assert result.sad == pytest.approx(np.abs(found - true)[area].sum() / 1000)
    assert result.mse == pytest.approx(((found - true)[area] ** 2).mean())
    assert result.grad == pytest.approx(reference_grad(found, true, area), rel=1e-9)
    assert result.conn == pytest.approx(reference_conn(found, true, area), rel=1e-9)
    assert min(vars(result).values()) > 0


def test_hand_computed():
    true, found, area = np.ones((10, 10)), np.ones((10, 10)), np.ones((10, 10), bool)
    found[4:6, 4:6] = 0.5
    assert sad(found, true, area) == pytest.approx(4 * 0.5 / 1000)
    assert mse(found, true, area) == pytest.approx(4 * 0.25 / 100)
    # The four pixels hang together with the rest up to 0.5; from there the true matte rises by 0.5, the found by 0.
    assert conn(found, true, area) == pytest.approx(4 * 0.5 / 1000)
    assert grad(found, np.full((10, 10), 0.3), area) == grad(found, true, area) > 0


def test_an_island_is_less_connected():
    true = np.zeros((20, 20))
    true[2:12, 2:12] = 1
    true[15:17, 15:17] = 1
    found = true.copy()
    found[15:17, 15:17] = 0.6
    everything = np.ones_like(true, bool)
    assert conn(found, true, everything) == pytest.approx(4 * 0.4 / 1000)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_perfect_matte(value):
    plane = np.full((12, 9), value)
    assert errors(plane, plane) == Errors(0, 0, 0, 0)


def test_an_empty_area():
    """Nothing to judge is not perfect."""
    with pytest.raises(ValueError, match="area is empty"):
        errors(np.zeros((5, 5)), np.ones((5, 5)), np.zeros((5, 5), bool))


@pytest.mark.parametrize(("found", "true", "area", "message"), [
    (np.zeros((4, 5)), np.zeros((4, 4)), None, "equal shapes"),
    (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), None, "found is uint8"),
    (np.full((4, 4), 2.0), np.zeros((4, 4)), None, "from 2 to 2; expected 0..1"),
    (np.full((4, 4), np.nan), np.zeros((4, 4)), None, "not finite"),
    (np.zeros((4, 4)), np.zeros((4, 4)), np.ones((4, 4)), "area is float64"),
    (np.zeros((0, 4)), np.zeros((0, 4)), None, "expected floating point"),
])
def test_bad_input_is_named(found, true, area, message):
    with pytest.raises(ValueError, match=message):
        errors(found, true, area)
