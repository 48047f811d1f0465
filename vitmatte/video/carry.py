"""Interim: the interface only; the branch `motion` brings what it does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Carried:
    """See `Carry.trimap`."""

    trimap: Tensor
    lost: float


class Carry:
    """Carries masks on by motion."""

    def start(self, image: Tensor, alpha: Tensor, trimap: Tensor) -> None:
        """Takes a frame with its matte."""

    def trimap(self, image: Tensor) -> Carried:
        """The trimap of the next frame."""
        raise ValueError("carrying masks on is not here yet")
