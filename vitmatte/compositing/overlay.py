"""A picture with the areas of its trimap tinted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_picture
from ..trimap.known import known_areas

# Tints of the preview: green, yellow and blue of Okabe and Ito's palette, told apart by colour-blind people as well.
SUBJECT, UNDECIDED, BEHIND = (0.0, 0.62, 0.45), (0.94, 0.89, 0.26), (0.0, 0.45, 0.70)

STRENGTHS = (0.45, 0.35, 0.6)  # of the tints, in the same order: strands must stay visible under the second


@torch.no_grad()
def tint(image: Tensor, trimap: Tensor) -> Tensor:
    """A picture on which the three areas of its trimap can be read: green subject, yellow unknown, blue background.

    Args:
        image: [B, H, W, 3 or 4] in 0..1, overshoot as in `cut_out`; a fourth channel is ignored.
        trimap: [B, H, W] or [H, W] in 0..1, of the same size; one may serve all pictures, or one picture all trimaps.

    Returns:
        [B, H, W, 3], float32.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    trimap = check_picture(image, trimap, "trimap")
    foreground, background = known_areas(trimap.to(image.device))
    areas = torch.where(foreground, 0, torch.where(background, 2, 1))
    colours = torch.tensor([SUBJECT, UNDECIDED, BEHIND], dtype=torch.float32, device=image.device)[areas]
    strengths = torch.tensor(STRENGTHS, dtype=torch.float32, device=image.device)[areas].unsqueeze(-1)
    return (image[..., :3].float() * (1 - strengths) + colours * strengths).contiguous()
