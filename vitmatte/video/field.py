"""Motion between two frames as a grid of displacements, and values between pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_tensor
from ..plain import outside_inference_mode


@dataclass(frozen=True)
class Flow:
    """Motion from a frame to another.

    Args:
        grid: [1, 2, h, w], along x and y, in pixels of the frame.
        extent: pixels of the frame that the grid covers, from its top left corner on: (height, width).
        size: the frame's (H, W).
    """

    grid: Tensor
    extent: tuple[float, float]
    size: tuple[int, int]

    @classmethod
    @outside_inference_mode
    def of(cls, dense: Tensor) -> Flow:
        """The flow that a displacement (x, y) in pixels for each pixel, [H, W, 2], makes.

        Raises:
            TypeError: for what is no dense tensor. ValueError: for another shape, or values that are not finite.
        """
        check_tensor(dense, "dense")
        if dense.ndim != 3 or dense.shape[2] != 2 or dense.numel() == 0:
            raise ValueError(f"dense has shape {list(dense.shape)}; expected [height, width, 2]")
        if not bool(dense.isfinite().all()):
            raise ValueError("dense has values that are not finite (NaN or infinite)")
        size = int(dense.shape[0]), int(dense.shape[1])
        return cls(dense.float().permute(2, 0, 1).unsqueeze(0), size, size)

    @outside_inference_mode
    def at(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Motion along x and y at positions in the frame's pixels, tensors of any one shape."""
        moved = sample(self.grid, x, y, self.extent)
        return moved[0], moved[1]

    @outside_inference_mode
    def after(self, other: Flow) -> Flow:
        """The motion by this flow and then by the other one, which begins where this one ends; on this one's grid."""
        down, across = self.grid.shape[-2:]
        y = (torch.arange(down, dtype=torch.float32, device=self.grid.device) + 0.5) * (self.extent[0] / down) - 0.5
        x = (torch.arange(across, dtype=torch.float32, device=self.grid.device) + 0.5) * (self.extent[1] / across) - 0.5
        further = other.at(x + self.grid[0, 0], y[:, None] + self.grid[0, 1])
        return Flow(self.grid + torch.stack(further).unsqueeze(0), self.extent, self.size)

    @outside_inference_mode
    def dense(self) -> Tensor:
        """[H, W, 2]: a displacement for each pixel."""
        y, x = (torch.arange(side, device=self.grid.device, dtype=torch.float32) for side in self.size)
        return torch.stack(self.at(x[None, :].expand(self.size), y[:, None].expand(self.size)), -1)


def sample(planes: Tensor, x: Tensor, y: Tensor, extent: tuple[float, float] | None = None) -> Tensor:
    """Values between pixels, linear; beyond the border it goes on. As kornia's remap with align_corners, which takes
    three times as long where points are few.

    Args:
        planes: [1, C, h, w].
        x, y: positions, of any one shape, in pixels of a picture that the planes cover.
        extent: that picture's (height, width); None for the planes' own pixels.

    Returns:
        [C, *x.shape].
    """
    height, width = planes.shape[-2:]
    if extent is not None and extent != (height, width):
        x, y = (x + 0.5) * (width / extent[1]) - 0.5, (y + 0.5) * (height / extent[0]) - 0.5
    sides = (x, width), (y, height)
    places = torch.stack([place.reshape(-1) * (2 / max(side - 1, 1)) - 1 for place, side in sides], -1)
    flat = F.grid_sample(planes, places[None, None], padding_mode="border", align_corners=True)
    return flat.view(planes.shape[1], *x.shape)


def at(plane: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[N]: a plane [H, W] at positions [N] between its pixels."""
    return sample(plane[None, None], x, y)[0]
