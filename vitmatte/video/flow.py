"""Motion between two frames, without weights: dense Lucas-Kanade on a pyramid, in and around an area alone.

For each pixel x of the first picture I the displacement v minimises, over a window around x,

    sum w |J(x + v) - I(x)|^2,

J being the second picture. With g the gradient of I, a step is v <- v - (sum w g g^T + DAMPING)^-1 sum w g (J(x + v) - I),
repeated on each level of a pyramid, from coarse to fine. Source: B. Lucas, T. Kanade, "An Iterative Image Registration
Technique with an Application to Stereo Vision", IJCAI 1981; the gradient stays that of I as in S. Baker, I. Matthews,
"Lucas-Kanade 20 Years On: A Unifying Framework", IJCV 56(3), 2004; the pyramid is J.-Y. Bouguet's (2001).

The weight w is the subject's matte. Where the subject is thin (hair) or blurred, a window shows two motions at once, its
own and the background's; a matte moves with the subject, so that is the motion that is looked for. DVM (arXiv
2104.11208) warns that flow cannot be relied on in such regions: whoever uses it must test it (see `trust`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 320  # pixels of the shorter side: pictures from here on are looked at in half their size at most
COARSEST = 16  # pixels of the shorter side of the coarsest level
WINDOW = 9  # pixels of a level
SMOOTH = 5
STEPS = (8, 6, 5, 4, 3)  # from the coarsest level on; the last holds for all others
DAMPING = 2e-5  # squared value a pixel: noise of 1/255 has 1.5e-5
LONGEST = 1.5  # pixels of a level that one step goes at most
FLOOR = 0.02  # the weight of what is no subject
TILE, HALO = 32, 6  # pixels of a level; the halo holds half a window and the gradient's reach
AROUND = 8  # pixels of a level around the area that are computed too: the other direction starts from there


@dataclass(frozen=True)
class Levels:
    """The pictures of a frame, [1, 3, h, w], from the finest looked at to the coarsest; size: the frame's (H, W)."""

    pictures: list[Tensor]
    size: tuple[int, int]


@dataclass(frozen=True)
class Flow:
    """Motion from a frame to another.

    Args:
        grid: [1, 2, h, w], along x and y, in pixels of the frame; its grid covers the frame, at any resolution.
        size: the frame's (H, W).
    """

    grid: Tensor
    size: tuple[int, int]

    def at(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Motion along x and y at positions in the frame's pixels, tensors of any one shape."""
        moved = sample(self.grid, x, y, self.size)
        return moved[0], moved[1]

    def dense(self) -> Tensor:
        """[H, W, 2]."""
        return F.interpolate(self.grid, size=self.size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)


def levels_of(image: Tensor) -> Levels:
    """The pyramid of a frame [H, W, 3] in 0..1."""
    from kornia.geometry.transform import pyrdown

    picture = image.permute(2, 0, 1).unsqueeze(0).float()
    size = int(image.shape[0]), int(image.shape[1])
    if min(size) >= LARGE:
        picture = F.avg_pool2d(picture, 2, ceil_mode=False)
    pictures = [picture.contiguous()]
    while min(pictures[-1].shape[-2:]) >= 2 * COARSEST:
        pictures.append(pyrdown(pictures[-1]))
    return Levels(pictures, size)


def sample(planes: Tensor, x: Tensor, y: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Values between pixels.

    Args:
        planes: [1, C, h, w] that cover a frame.
        x, y: positions in pixels of that frame, of any one shape; outside of it the border goes on.
        size: the frame's (H, W).

    Returns:
        [C, *x.shape].
    """
    from kornia.geometry.transform import remap

    height, width = planes.shape[-2:]
    if (height, width) != size:
        x, y = (x + 0.5) * (width / size[1]) - 0.5, (y + 0.5) * (height / size[0]) - 0.5
    flat = remap(planes, x.reshape(1, 1, -1), y.reshape(1, 1, -1), mode=mode, padding_mode="border", align_corners=True)
    return flat.view(planes.shape[1], *x.shape)


def at(plane: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[N]: a plane [H, W] at positions [N] between its pixels."""
    return sample(plane[None, None], x, y, (int(plane.shape[0]), int(plane.shape[1])))[0]


@torch.no_grad()
def flow_between(
    first: Levels, second: Levels, *, area: Tensor | None = None, weight: Tensor | None = None,
    second_weight: Tensor | None = None,
) -> Flow:
    """Motion from the first frame to the second.

    Args:
        first, second: of frames of one size, from `levels_of`.
        area: [H, W], bool, where it is needed; beyond it motion is known coarsely. None for everywhere.
        weight: [H, W], the matte of the first frame: the subject's motion is looked for.
        second_weight: the same of the second frame, where the first has no matte yet.
    """
    height, width = first.size
    flow = torch.zeros(1, 2, 1, 1, device=first.pictures[0].device)  # in pixels of the frame
    last = len(first.pictures) - 1
    for level in range(last, -1, -1):
        picture, other = first.pictures[level], second.pictures[level]
        size = tuple(picture.shape[-2:])
        scale = torch.tensor([size[1] / width, size[0] / height], device=flow.device).view(1, 2, 1, 1)
        flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False) * scale
        planes = [_reduced(plane, size) for plane in (weight, second_weight)]
        tiles = _tiles(None if area is None or level > 1 else _reduced(area.float(), size), size, picture.device)
        steps = STEPS[min(last - level, len(STEPS) - 1)]
        flow = _refined(picture, other, flow, planes[0], planes[1], tiles, steps) / scale
    return Flow(flow, first.size)


def _reduced(plane: Tensor | None, size: tuple[int, ...]) -> Tensor | None:
    return None if plane is None else F.adaptive_avg_pool2d(plane[None, None].float(), size)


def _tiles(area: Tensor | None, size: tuple[int, ...], device: torch.device) -> Tensor:
    """[N, 2] row and column of the corners of tiles that hold some of the area [1, 1, h, w] or lie near it."""
    rows, columns = (-(-side // TILE) for side in size)
    if area is None:
        wanted = torch.ones(rows, columns, dtype=torch.bool, device=device)
    else:
        padded = F.pad(area, (0, columns * TILE - size[1], 0, rows * TILE - size[0]))
        padded = F.max_pool2d(padded, AROUND, AROUND)  # TILE is a multiple
        near = F.max_pool2d(padded, 3, 1, 1)
        wanted = F.max_pool2d(near, TILE // AROUND)[0, 0] > 0
    return wanted.nonzero() * TILE


def _refined(
    picture: Tensor, other: Tensor, flow: Tensor, weight: Tensor | None, other_weight: Tensor | None, tiles: Tensor,
    steps: int,
) -> Tensor:
    """The flow [1, 2, h, w] of a level after some steps on its tiles; all lengths in pixels of the level."""
    if not len(tiles):
        return flow
    height, width = picture.shape[-2:]
    reach = torch.arange(-HALO, TILE + HALO, device=picture.device)
    rows = (tiles[:, :1] + reach).clamp_(0, height - 1)  # [N, T]
    columns = (tiles[:, 1:] + reach).clamp_(0, width - 1)

    def cut(planes: Tensor) -> Tensor:
        return planes[0][:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)  # [N, C, T, T]

    v = cut(flow)
    x, y = columns[:, None, :].float(), rows[:, :, None].float()
    found = _steps(cut(picture), other, v, x, y, None if weight is None else cut(weight), other_weight, steps)
    inner = found[..., HALO:-HALO, HALO:-HALO]  # [N, 2, TILE, TILE]
    rows, columns = tiles[:, 0] // TILE, tiles[:, 1] // TILE
    down, across = -(-height // TILE), -(-width // TILE)
    canvas = F.pad(flow, (0, across * TILE - width, 0, down * TILE - height))[0]
    blocks = canvas.view(2, down, TILE, across, TILE)
    blocks[:, rows, :, columns] = inner
    return canvas[None, :, :height, :width]


def _steps(
    picture: Tensor, other: Tensor, v: Tensor, x: Tensor, y: Tensor, weight: Tensor | None, other_weight: Tensor | None,
    steps: int,
) -> Tensor:
    """[N, 2, T, T]: the motion of tiles of a picture, [N, 3, T, T] at columns x and rows y, into another one."""
    from kornia.filters import box_blur, spatial_gradient

    size = other.shape[-2], other.shape[-1]
    if weight is None and other_weight is not None:
        weight = sample(other_weight, x + v[:, 0], y + v[:, 1], size).transpose(0, 1)
    g = spatial_gradient(picture)  # [N, 3, 2, T, T]
    gx, gy = g[:, :, 0], g[:, :, 1]
    if weight is not None:
        weight = weight.clamp(min=FLOOR)
        gx, gy = gx * weight, gy * weight
    tensor = torch.stack([(gx * g[:, :, 0]).sum(1), (gx * g[:, :, 1]).sum(1), (gy * g[:, :, 1]).sum(1)], 1)
    if weight is not None:
        tensor = torch.cat([tensor, weight], 1)
    tensor = box_blur(tensor, (WINDOW, WINDOW), "replicate", separable=True)
    damping = DAMPING if weight is None else DAMPING * tensor[:, 3]
    a, b, d = tensor[:, 0] + damping, tensor[:, 1], tensor[:, 2] + damping
    scale = 1 / (a * d - b * b)
    a, b, d = a * scale, b * scale, d * scale
    share = None if weight is None else box_blur(weight, (SMOOTH, SMOOTH), "replicate", separable=True)
    for _ in range(steps):
        moved = sample(other, x + v[:, 0], y + v[:, 1], size).transpose(0, 1)
        rest = moved - picture
        pull = torch.stack([(gx * rest).sum(1), (gy * rest).sum(1)], 1)
        pull = box_blur(pull, (WINDOW, WINDOW), "replicate", separable=True)
        step = torch.stack([d * pull[:, 0] - b * pull[:, 1], a * pull[:, 1] - b * pull[:, 0]], 1)
        v = v - step.clamp_(-LONGEST, LONGEST)
        if weight is None:
            v = box_blur(v, (SMOOTH, SMOOTH), "replicate", separable=True)
        else:
            v = box_blur(v * weight, (SMOOTH, SMOOTH), "replicate", separable=True) / share
    return v
