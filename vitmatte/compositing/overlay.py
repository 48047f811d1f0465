"""A picture with the areas of its trimap tinted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import check_picture
from ..plain import plain_results
from ..steps import of_frame, strips
from ..trimap.known import known_areas

# Tints of the preview: green, yellow and blue of Okabe and Ito's palette, told apart by colour-blind people as well.
SUBJECT, UNDECIDED, BEHIND = (0.0, 0.62, 0.45), (0.94, 0.89, 0.26), (0.0, 0.45, 0.70)

STRENGTHS = (0.45, 0.35, 0.6)  # of the tints, in the same order: strands must stay visible under the second


@plain_results
def tint(
    image: Tensor,
    trimap: Tensor,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """A picture on which the three areas of its trimap can be read: green subject, yellow unknown, blue background.

    Args:
        image: [B, H, W, 3 or 4] in 0..1, overshoot as in `cut_out`; a fourth channel is ignored.
        trimap: [B, H, W] or [H, W] in 0..1, of the same size; one may serve all pictures, or one picture all trimaps.
        on_progress: called with (steps done, steps in all), also within a frame.
        check_interrupt: called as often; what it raises ends the call.

    Returns:
        [B, H, W, 3], float32.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    trimap = check_picture(image, trimap, "trimap")
    frames = max(len(image), len(trimap))
    shown = image.new_empty(frames, *image.shape[1:3], 3, dtype=torch.float32)
    tints = torch.tensor([SUBJECT, UNDECIDED, BEHIND], dtype=torch.float32, device=image.device)
    strengths = torch.tensor(STRENGTHS, dtype=torch.float32, device=image.device).unsqueeze(-1)
    for i in range(frames):
        step = of_frame(i, frames, on_progress, check_interrupt)
        step(0)
        for rows in strips(image.shape[1], step):
            foreground, background = known_areas(trimap[i % len(trimap), rows].to(image.device))
            areas = torch.where(foreground, 0, torch.where(background, 2, 1))
            picture = image[i % len(image), rows, :, :3].float()
            shown[i, rows] = picture * (1 - strengths)[areas] + (tints * strengths)[areas]
    return shown
