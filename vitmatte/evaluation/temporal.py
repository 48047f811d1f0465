"""How much a matte flickers: dtSSD and MESSDdt.

Source: M. Erofeev, Y. Gitman, D. Vatolin, A. Fedorov, J. Wang, "Perceptually Motivated Benchmark for Video Matting",
BMVC 2015. With a the found and g the true matte, and v the motion from a frame to the next, they are

    dtSSD   = sqrt( sum_p ( (a_p(t+1) - a_p(t)) - (g_p(t+1) - g_p(t)) )^2 ),
    MESSDdt = sum_p | (a_p(t) - g_p(t))^2 - (a_(p+v)(t+1) - g_(p+v)(t+1))^2 |

for each two frames. Sums grow with the picture; as is usual since, they are means over the pixels that count, and the
clip's figure is the mean over its pairs of frames. dtSSD looks at one pixel at a time, so an error that moves with the
subject counts as change; MESSDdt follows the motion, and does not count it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .metrics import checked_area, checked_matte


@dataclass(frozen=True)
class Flicker:
    """dtssd, messddt: means over a clip's pairs of frames, messddt None without motion; pairs: how many counted."""

    dtssd: float
    messddt: float | None
    pairs: int


class Clip:
    """Takes the frames of a clip one after the other, and gives their flicker; it keeps one frame."""

    def __init__(self) -> None:
        self._before: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._dtssd: list[float] = []
        self._messddt: list[float] = []

    def push(self, found: np.ndarray, true: np.ndarray, area: np.ndarray | None = None,
             motion: np.ndarray | None = None) -> None:
        """Takes the next frame.

        Args:
            found, true: [H, W], floating point in 0..1.
            area: [H, W], bool, what counts; default everything. Pairs of frames without such a pixel are left out:
                for dtSSD that of the later frame counts, for MESSDdt that of the earlier one.
            motion: [H, W, 2], along x and y in pixels, from the frame before to this one; needed for MESSDdt.

        Raises:
            TypeError: for what is no array. ValueError: for other shapes, types or ranges; the frame is not taken then.
        """
        found, true = checked_matte(found, "found"), checked_matte(true, "true")
        area = checked_area(area, found, true, empty=True)
        before = self._before
        if before is not None and before[0].shape != found.shape:
            raise ValueError(f"found is {found.shape} and that of the frame before {before[0].shape}; expected one "
                             "size for all frames of a clip")
        motion = None if motion is None else np.asarray(motion)
        if motion is not None and (motion.shape != (*found.shape, 2) or not np.isfinite(motion).all()):
            raise ValueError(f"motion is {motion.shape}; expected {(*found.shape, 2)} finite numbers of pixels: a "
                             "displacement (x, y) for each pixel of the frame before")
        self._before = (found.copy(), true.copy(), area.copy())
        if before is None:
            return
        if area.any():
            self._dtssd.append(dtssd(before[:2], (found, true), area))
        if motion is None:
            return
        value = messddt(before[:2], (found, true), before[2], motion)
        if value is not None:
            self._messddt.append(value)

    def flicker(self) -> Flicker:
        """The clip's figures.

        Raises:
            ValueError: no pair of frames has a pixel that counts.
        """
        if not self._dtssd:
            raise ValueError("no two frames that follow each other have an unknown area: there is no flicker to judge")
        mean = float(np.mean(self._messddt)) if self._messddt else None
        return Flicker(float(np.mean(self._dtssd)), mean, len(self._dtssd))


Pair = tuple[np.ndarray, np.ndarray]  # the found and the true matte of a frame, [H, W]


def dtssd(before: Pair, now: Pair, area: np.ndarray) -> float:
    """The root mean square difference of the changes from one frame to the next, over an area [H, W], bool."""
    change = (now[0] - before[0]) - (now[1] - before[1])
    return float(np.sqrt(np.square(change)[area].mean()))


def messddt(before: Pair, now: Pair, area: np.ndarray, motion: np.ndarray) -> float | None:
    """The mean difference of the squared errors along the motion, over the area [H, W], bool, of the earlier frame.

    Values between pixels are linear; pixels that move out of the picture are left out. None where none is left.
    """
    from scipy.ndimage import map_coordinates

    first, second = (np.square(found - true) for found, true in (before, now))
    rows, columns = np.nonzero(area)
    y, x = rows + motion[rows, columns, 1], columns + motion[rows, columns, 0]
    inside = (y >= 0) & (x >= 0) & (y <= area.shape[0] - 1) & (x <= area.shape[1] - 1)
    if not inside.any():
        return None
    moved = map_coordinates(second, [y[inside], x[inside]], order=1)
    return float(np.abs(first[rows, columns][inside] - moved).mean())
