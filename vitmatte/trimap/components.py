"""Holes and specks: connected areas of a mask that are too small to be meant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def small_areas(marked: Tensor, area: int, *, diagonal: bool) -> Tensor:
    """The connected areas of at most `area` pixels.

    SciPy finds them on the CPU in one pass; in PyTorch it would take as many passes as the longest path has pixels.

    Args:
        marked: [B, H, W], bool.
        area: pixels.
        diagonal: whether pixels that touch at a corner are connected.

    Returns:
        [B, H, W], bool, a part of `marked`.
    """
    return _select(marked, diagonal, lambda labels: np.bincount(labels.ravel()) <= area)


def connected_to(marked: Tensor, seeds: Tensor) -> Tensor:
    """The connected areas of `marked` (also at corners) that hold a pixel of `seeds`; both [B, H, W], bool."""
    places = iter(seeds.cpu().numpy())

    def touched(labels: np.ndarray) -> np.ndarray:
        found = np.zeros(labels.max() + 1, dtype=bool)
        found[labels[next(places)]] = True
        return found

    return _select(marked, True, touched)


def _select(marked: Tensor, diagonal: bool, choose: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """The areas whose number `choose` marks: it gets labels [H, W], 0 = not marked, and gives one bool per number."""
    from scipy import ndimage

    neighbours = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    frames = []
    for frame in marked.cpu().numpy():
        labels = ndimage.label(frame, neighbours)[0]
        chosen = choose(labels)
        chosen[0] = False
        frames.append(torch.from_numpy(chosen[labels]))
    return torch.stack(frames).to(marked.device)
