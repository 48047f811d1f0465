"""Holes and specks: connected areas of a mask that are too small to be meant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..steps import Step, ignore, part, strips

ROWS = 512  # of a picture at a time: each such strip has a seam to be joined


def small_areas(marked: Tensor, area: int, *, diagonal: bool, step: Step = ignore) -> Tensor:
    """The connected areas of at most `area` pixels.

    SciPy finds them on the CPU in one pass; in PyTorch it would take as many passes as the longest path has pixels.

    Args:
        marked: [B, H, W], bool.
        area: pixels.
        diagonal: whether pixels that touch at a corner are connected.
        step: called between the parts of the computation.

    Returns:
        [B, H, W], bool, a part of `marked`.
    """
    return _select(marked, marked, lambda counts: counts <= area, diagonal, step)


def connected_to(marked: Tensor, seeds: Tensor, step: Step = ignore) -> Tensor:
    """The connected areas of `marked` (also at corners) that hold a pixel of `seeds`; both [B, H, W], bool."""
    return _select(marked, seeds, lambda counts: counts > 0, True, step)


def _select(
    marked: Tensor, counted: Tensor, wanted: Callable[[np.ndarray], np.ndarray], diagonal: bool, step: Step
) -> Tensor:
    """The connected areas of `marked` that are `wanted` by how many pixels of `counted` they hold."""
    from scipy import ndimage

    neighbours = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    found = np.empty(marked.shape, dtype=bool)
    frames = len(marked)
    for i, (frame, inside) in enumerate(zip(marked.cpu().numpy(), counted.cpu().numpy(), strict=True)):
        labels = np.empty(frame.shape, dtype=np.int32)
        held = [np.zeros(1, dtype=np.int64)]  # of `counted` in each label; 0 is what is not marked
        first = 0
        here = part(step, i / frames, (i + 1) / frames)
        for rows in strips(len(frame), part(here, 0, 0.7), ROWS):
            some, count = ndimage.label(frame[rows], neighbours)
            held.append(np.bincount(some[inside[rows] & (some > 0)], minlength=count + 1)[1:])
            labels[rows] = np.where(some > 0, some + first, 0)
            first += count
        areas = _joined(labels, first + 1, diagonal)
        chosen = wanted(np.bincount(areas, weights=np.concatenate(held)))[areas]
        chosen[0] = False
        for rows in strips(len(frame), part(here, 0.7, 1), ROWS):
            found[i, rows] = chosen[labels[rows]]
    return torch.from_numpy(found).to(marked.device)


def _joined(labels: np.ndarray, count: int, diagonal: bool) -> np.ndarray:
    """[count]: the number of the area that each label belongs to, where areas go on across the seams of the strips."""
    from scipy.sparse import coo_array, csgraph

    width = labels.shape[1]
    pairs = []
    for seam in range(ROWS, len(labels), ROWS):
        above, below = labels[seam - 1], labels[seam]
        for shift in (-1, 0, 1) if diagonal else (0,):
            upper, lower = above[max(0, shift):width + min(0, shift)], below[max(0, -shift):width + min(0, -shift)]
            touching = (upper > 0) & (lower > 0)
            pairs.append(np.unique(np.stack([upper[touching], lower[touching]]), axis=1))
    if not pairs:
        return np.arange(count)
    one, other = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(count, count))
    areas: np.ndarray = csgraph.connected_components(graph, directed=False)[1]
    return areas
