"""A cut-out over something new: I = alpha * F + (1 - alpha) * B."""

from __future__ import annotations

import math
import re
from typing import Literal

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional

from ..checks import check_choice
from ..plain import outside_inference_mode
from ..srgb import to_linear, to_srgb
from ..steps import Step, ignore

Fit = Literal["cover", "contain", "stretch", "tile"]
Screen = Literal["none", "green", "blue"]
FITS: tuple[Fit, ...] = ("cover", "contain", "stretch", "tile")
SCREENS: tuple[Screen, ...] = ("none", "green", "blue")


@outside_inference_mode
def composite(foreground: Tensor, alpha: Tensor, background: Tensor, *, linear: bool = False) -> Tensor:
    """A cut-out over a background.

    Args:
        foreground: [B, H, W, 3] in 0..1, the subject's colours (`estimate_foreground`).
        alpha: [B, H, W] in 0..1.
        background: [B, H, W, 3 or 4] in 0..1, or what broadcasts, as [3]; a fourth channel is straight alpha.
        linear: mix light and not its sRGB code, as a camera does; half covered is then brighter.

    Returns:
        [B, H, W, 3], or 4 with straight alpha over a background that has alpha; 0..1.
    """
    share, behind = alpha.unsqueeze(-1), background[..., :3]
    if linear:
        foreground, behind = to_linear(foreground), to_linear(behind)
    if background.shape[-1] == 3:
        mixed = share * foreground + (1 - share) * behind
        return to_srgb(mixed) if linear else mixed
    through = (1 - share) * background[..., 3:]
    total = share + through
    mixed = (share * foreground + through * behind) / total.clamp_min(1e-6)
    mixed = torch.where(total > 0, mixed, foreground)
    return torch.cat([to_srgb(mixed) if linear else mixed, total], dim=-1)


@outside_inference_mode
def without_spill(foreground: Tensor, screen: Screen) -> Tensor:
    """Colours [..., 3] in which green, or blue, is at most the greater of the other two: no light of such a screen.

    Raises:
        ValueError: another screen.
    """
    check_choice("despill", screen, SCREENS)
    if screen == "none":
        return foreground
    spilled = SCREENS.index(screen)  # the channel
    planes = list(foreground.unbind(dim=-1))
    others = torch.maximum(*(planes[i] for i in range(3) if i != spilled))
    planes[spilled] = torch.minimum(planes[spilled], others)
    return torch.stack(planes, dim=-1)


@outside_inference_mode
def fit(
    background: Tensor,
    height: int,
    width: int,
    how: Fit = "cover",
    *,
    fill: Tensor | None = None,
    step: Step = ignore,
) -> Tensor:
    """A background brought to a size.

    Args:
        background: [B, h, w, C] in 0..1.
        height, width: wanted.
        how: "cover" scales it until it covers all and keeps the middle, "contain" until it is wholly inside, "stretch"
            to the size without regard to its proportions, and "tile" repeats it unscaled from the top left corner.
        fill: [C], what "contain" leaves free; black without.
        step: called between the parts of the computation.

    Returns:
        [B, height, width, C]; bicubic where scaled, kept within 0..1.

    Raises:
        ValueError: another `how`.
    """
    check_choice("fit", how, FITS)
    batch, old_height, old_width, channels = background.shape
    if (old_height, old_width) == (height, width):
        return background
    if how == "tile":
        background = background[:, :height, :width]
        rows, columns = -(-height // old_height), -(-width // old_width)
        return background.repeat(1, rows, columns, 1)[:, :height, :width]
    if how == "stretch":
        return _scaled(background, height, width, step)
    scales = height / old_height, width / old_width
    if how == "cover":
        background = _middle(background, (height / max(scales), width / max(scales)), max(scales))
        old_height, old_width = background.shape[1:3]
        tall, wide = (max(new, round(old * max(scales))) for new, old in ((height, old_height), (width, old_width)))
        top, left = (tall - height) // 2, (wide - width) // 2
        return _scaled(background, tall, wide, step)[:, top:top + height, left:left + width]
    tall, wide = (min(new, max(1, round(old * min(scales)))) for new, old in ((height, old_height), (width, old_width)))
    top, left = (height - tall) // 2, (width - wide) // 2
    whole = torch.zeros(batch, height, width, channels, dtype=background.dtype, device=background.device)
    if fill is not None:
        whole += fill.to(whole)
    whole[:, top:top + tall, left:left + wide] = _scaled(background, tall, wide, step)
    return whole


def _middle(background: Tensor, seen: tuple[float, float], scale: float) -> Tensor:
    """The middle of pictures [B, h, w, C] of which `seen` (height, width) pixels will be seen, if most is not: scaled
    as a whole, a panorama takes many times the memory of what is kept of it."""
    reach = math.ceil(3 * max(1.0, 1 / scale))  # of the bicubic kernel, in pixels
    for dim, length in enumerate(seen, start=1):
        left_out = math.floor(background.shape[dim] / 2 - length) - reach
        if left_out > 0:
            background = background.narrow(dim, left_out, background.shape[dim] - 2 * left_out)
    return background


def _scaled(picture: Tensor, height: int, width: int, step: Step) -> Tensor:
    """[B, height, width, C]: bicubic, along the rows and then along the columns of a channel at a time."""
    batch, old_height, _, channels = picture.shape
    scaled = picture.new_empty(batch, height, width, channels)
    for i in range(channels):
        plane = picture[..., i].unsqueeze(1).float()
        for n, size in enumerate(([old_height, width], [height, width])):
            plane = functional.interpolate(plane, size=size, mode="bicubic", antialias=True, align_corners=False)
            step((i + (n + 1) / 3) / channels)
        scaled[..., i] = plane[:, 0].clamp_(0, 1)  # bicubic overshoots beside edges
        step((i + 1) / channels)
    return scaled


@outside_inference_mode
def colour(text: str) -> Tensor:
    """[3] in 0..1 from "#RRGGBB", "#RGB" or a name of CSS, such as "red". Raises ValueError for anything else."""
    name = text.strip().lower() if isinstance(text, str) else ""
    if name not in ImageColor.colormap and not re.fullmatch(r"#(?:[0-9a-f]{3}){1,2}", name):
        raise ValueError(f"colour is {text!r:.60}; expected #RRGGBB, #RGB or a name, such as #00b140, #fff or red")
    return torch.tensor(ImageColor.getrgb(name), dtype=torch.float32, device="cpu") / 255
