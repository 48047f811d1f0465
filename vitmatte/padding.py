"""The one place that pads pictures to a multiple and crops them back, or asks of their cells."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

Span = tuple[int, int]  # start and stop of places along one axis


@dataclass(frozen=True)
class SizeContract:
    """Sizes a net accepts: both sides a multiple of `divisor`, padded at the bottom and the right.

    Args:
        divisor: pixels (or tokens) that both sides must be a multiple of, at least 1.
        both_sides: a picture that needs padding at one side gets some at the other too: a whole divisor more where that
            is a multiple already, as ViTMatte's and MEMatte's authors' code has it.
    """

    divisor: int
    both_sides: bool = False

    def __post_init__(self) -> None:
        if self.divisor < 1:
            raise ValueError(f"divisor is {self.divisor}; expected a whole number of at least 1")

    def padded(self, length: int) -> int:
        """The smallest accepted length that holds `length`."""
        return -(-length // self.divisor) * self.divisor

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that a picture is padded to."""
        if self.both_sides and not self.accepts(height, width):
            return self.padded(height + 1), self.padded(width + 1)
        return self.padded(height), self.padded(width)

    def accepts(self, height: int, width: int) -> bool:
        """Whether a picture of this size needs no padding."""
        return height % self.divisor == 0 and width % self.divisor == 0

    def pad(self, x: Tensor) -> Tensor:
        """Zeros below and to the right of x [..., H, W]; x itself where it fits already."""
        height, width = x.shape[-2:]
        if self.accepts(height, width):
            return x
        to = self.padded_size(height, width)
        return F.pad(x, (0, to[1] - width, 0, to[0] - height))

    @staticmethod
    def crop(x: Tensor, height: int, width: int) -> Tensor:
        """The top left [..., height, width] of x: what `pad` was given."""
        return x[..., :height, :width]


def touched(mask: Tensor, side: int) -> Tensor:
    """bool [rows, columns]: which cells of side x side places hold a marked one of mask [H, W]."""
    found = mask[::side].clone()  # rows first: they lie in memory as they are
    for start in range(1, side):
        rows = mask[start::side]
        found[:len(rows)].logical_or_(rows)
    return F.pad(found, (0, -mask.shape[1] % side)).unflatten(1, (-1, side)).any(dim=2)
