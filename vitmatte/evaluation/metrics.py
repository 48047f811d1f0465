"""The four errors of the matting benchmarks: SAD, MSE, Grad and Conn.

Source: Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009; constants and
scales as in the evaluation code given out with Composition-1k (Xu et al., CVPR 2017). Two points on which copies of
that code differ: a component never is the background (copies that count label 0 find other Conn values), and mattes
are taken as they are, not stretched to 0..1 before Grad.

All take the found and the true matte [H, W] in 0..1 and the area [H, W], bool, that is counted: the unknown area
for Composition-1k, everything for Distinctions-646. `errors` checks its arrays; the others trust theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..checks import check_range

SIGMA = 1.4  # of the Gaussian derivative, in pixels
CUT_OFF = 1e-2  # the filter ends where the Gaussian falls below this
STEP = 0.1  # between the thresholds of the connectivity error
SLACK = 0.15  # a pixel further than this above its connected level counts as less connected


@dataclass(frozen=True)
class Errors:
    """sad, grad, conn: in thousands; mse: a mean. All 0 for a perfect matte."""

    sad: float
    mse: float
    grad: float
    conn: float


def errors(found: np.ndarray, true: np.ndarray, area: np.ndarray | None = None) -> Errors:
    """All four errors.

    Args:
        found, true: [H, W], floating point in 0..1; overshoot (less than 1) counts as 0 and 1, as everywhere here.
        area: [H, W], bool, not empty; default everything.

    Raises:
        TypeError: for what is no array. ValueError: for shapes that differ, arrays that are not as described, or an
            area without a pixel, which would make any matte look perfect.
    """
    found, true = checked_matte(found, "found"), checked_matte(true, "true")
    area = checked_area(area, found, true)
    return Errors(sad(found, true, area), mse(found, true, area), grad(found, true, area), conn(found, true, area))


def _array(given: object, name: str) -> np.ndarray:
    try:
        return np.asarray(given)
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor of a graph, or on a GPU
        raise TypeError(f"{name} is a {type(given).__name__} that is no array ({str(error).splitlines()[0]}); expected "
                        "a NumPy array, of a tensor .detach().float().cpu().numpy()") from error


def checked_area(area: object, found: np.ndarray, true: np.ndarray, *, empty: bool = False) -> np.ndarray:
    """The area [H, W] that counts, everything for None; ValueError unless it is bool, all shapes are equal, and it has
    a pixel or may be empty."""
    plane = np.ones(true.shape, bool) if area is None else _array(area, "area")
    if found.shape != true.shape or plane.shape != true.shape:
        raise ValueError(f"found is {found.shape}, true {true.shape} and area {plane.shape}; expected equal shapes")
    if plane.dtype != np.bool_:
        raise ValueError(f"area is {plane.dtype}; expected bool")
    if not empty and not plane.any():
        raise ValueError("area is empty: there is nothing to judge")
    return plane


def checked_matte(given: object, name: str) -> np.ndarray:
    """A matte [H, W] as float64 in 0..1; TypeError or ValueError for what is none."""
    matte = _array(given, name)
    if matte.ndim != 2 or not matte.size or not np.issubdtype(matte.dtype, np.floating):
        raise ValueError(f"{name} is {matte.dtype} of shape {matte.shape}; expected floating point [height, width]")
    check_range(float(matte.min()), float(matte.max()), name, "scale it first")
    return matte.astype(np.float64).clip(0.0, 1.0)


def sad(found: np.ndarray, true: np.ndarray, area: np.ndarray) -> float:
    """Sum of absolute differences, in thousands."""
    return float(np.abs(found.astype(np.float64) - true)[area].sum()) / 1000


def mse(found: np.ndarray, true: np.ndarray, area: np.ndarray) -> float:
    """Mean squared difference; 0 for an empty area."""
    return float(np.square(found.astype(np.float64) - true)[area].mean()) if area.any() else 0.0


def grad(found: np.ndarray, true: np.ndarray, area: np.ndarray) -> float:
    """Sum of squared differences of the gradients' magnitudes, in thousands."""
    return float(np.square(_magnitude(found) - _magnitude(true))[area].sum()) / 1000


def _magnitude(matte: np.ndarray) -> np.ndarray:
    """Of the gradient by Gaussian derivatives; the filter has unit norm, and the border is continued."""
    from scipy.ndimage import correlate1d

    reach = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * CUT_OFF)))
    place = np.arange(-reach, reach + 1)
    smooth = np.exp(-(place**2) / (2 * SIGMA**2)) / (SIGMA * math.sqrt(2 * math.pi))
    slope = place * smooth / SIGMA**2
    norm = math.sqrt((smooth**2).sum() * (slope**2).sum())
    along, across = (
        correlate1d(correlate1d(matte, slope / norm, axis, mode="nearest"), smooth, 1 - axis, mode="nearest")
        for axis in (1, 0)
    )
    return np.hypot(along, across)


def conn(found: np.ndarray, true: np.ndarray, area: np.ndarray) -> float:
    """Connectivity error, in thousands.

    A pixel's level is the highest threshold at which it still hangs together with the largest region (of four
    neighbours) that both mattes share; how far the two mattes rise above it is compared.
    """
    from scipy.ndimage import label

    thresholds = np.arange(0, 1 + STEP, STEP)
    level = np.full(true.shape, -1.0)
    both = np.minimum(found, true)
    for below, threshold in zip(thresholds, thresholds[1:], strict=False):
        regions, count = label(both >= threshold)
        sizes = np.bincount(regions.ravel(), minlength=2)
        sizes[0] = 0  # the background
        largest = (regions == sizes.argmax()) & (regions > 0)
        level[(level < 0) & ~largest] = below
        if count == 0:
            break
    level[level < 0] = 1.0
    return float(np.abs(_connectedness(found - level) - _connectedness(true - level))[area].sum()) / 1000


def _connectedness(rise: np.ndarray) -> np.ndarray:
    return 1 - rise * (rise >= SLACK)
