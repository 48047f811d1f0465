"""A picture and its matte to a cut-out, or to the subject before another background."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..checks import check_choice, check_image, check_picture, check_tensor
from ..plain import plain_results
from ..steps import Step, ignore, of_frame, part, strips
from .blend import SCREENS, Fit, Screen, composite, without_spill
from .blend import fit as fitted
from .foreground import estimate_frame


@plain_results
def cut_out(
    image: Tensor,
    alpha: Tensor,
    *,
    estimate: bool = True,
    despill: Screen = "none",
    high_range: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """The subject on nothing.

    Args:
        image: [B, H, W, 3 or 4] floating point in 0..1 (rounding's and resampling's overshoot, less than 1, is taken as
            it is, and comes out where the picture does); a fourth channel is ignored.
        alpha: [B, H, W] or [H, W] in 0..1 (overshoot counts as 0 and 1) or bool, of the same size; one may serve all
            images, or one image all mattes.
        estimate: free half-covered pixels of the old background's colour (`estimate_foreground`); else keep the
            picture's colours.
        despill: take the light of a "green" or "blue" screen from the subject, also where it is opaque
            (`without_spill`); what is that colour by itself turns greyer.
        high_range: the image's values may be beyond 0..1 without limit, as those of OpenEXR's light in sRGB's transfer,
            and are kept.
        on_progress: called with (steps done, steps in all), also within a frame.
        check_interrupt: called as often; what it raises ends the call.

    Returns:
        [B, H, W, 4] float32, straight (not premultiplied) alpha, on the image's device.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    alpha = check_picture(image, alpha, "alpha", high_range=high_range)
    result = image.new_empty(max(len(image), len(alpha)), *image.shape[1:3], 4, dtype=torch.float32)
    for i, colours, share, step in _frames(image, alpha, len(result), estimate, despill, high_range, on_progress,
                                           check_interrupt):
        for rows in strips(len(share), step):
            result[i, rows, :, :3] = colours[rows]
            result[i, rows, :, 3] = share[rows]
    return result


@plain_results
def replace_background(
    image: Tensor,
    alpha: Tensor,
    background: Tensor,
    *,
    fit: Fit = "cover",
    fill: Tensor | None = None,
    linear: bool = False,
    estimate: bool = True,
    despill: Screen = "none",
    high_range: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """The subject before another background.

    Args:
        image, alpha, estimate, despill, high_range, on_progress, check_interrupt: as for `cut_out`.
        background: a colour [3 or 4], or pictures [B, h, w, 3 or 4] of any size, as many as images, or one for all, or
            many for one image; floating point in 0..1 with overshoot as of image, and a fourth channel is straight
            alpha.
        fit, fill: how pictures of another size are brought to the image's; see `compositing.fit`. fill is a colour [3],
            or [4] for a background with alpha.
        linear: see `composite`.

    Returns:
        [B, H, W, 3] float32, or [B, H, W, 4] with straight alpha over a background with alpha.

    Raises:
        TypeError: for what is no dense tensor. ValueError: for other shapes, sizes, counts, types or ranges.
    """
    alpha = check_picture(image, alpha, "alpha", high_range=high_range)
    behind = _as_picture(background, "background")
    if fill is not None:
        filled = _as_picture(fill, "fill")
        if fill.ndim != 1 or len(fill) > behind.shape[-1]:
            raise ValueError(f"fill has shape {list(fill.shape)}; expected a colour [{behind.shape[-1]}], with as many "
                             "channels as the background")
        fill = filled.flatten()
    counts = {len(image), len(alpha), len(behind)} - {1}
    if len(counts) > 1:
        raise ValueError(f"{len(image)} images, {len(alpha)} of alpha and {len(behind)} of background: expected as "
                         "many, or one of either")
    frames = counts.pop() if counts else 1
    height, width = image.shape[1:3]
    result = image.new_empty(frames, height, width, behind.shape[-1], dtype=torch.float32)
    scene: Tensor | None = None
    for i, colours, share, step in _frames(image, alpha, frames, estimate, despill, high_range, on_progress,
                                           check_interrupt):
        if scene is None or len(behind) > 1:
            scene = behind[i % len(behind)][None].to(image.device, torch.float32).contiguous()
            if background.ndim == 4:
                scene = fitted(scene, height, width, fit, fill=_opaque(fill, scene), step=part(step, 0, 0.4))
        for rows in strips(height, part(step, 0.4, 1)):
            under = scene[0] if background.ndim == 1 else scene[0, rows]
            result[i, rows] = composite(colours[rows], share[rows], under, linear=linear)
    return result


def _as_picture(given: Tensor, name: str) -> Tensor:
    """A colour [3 or 4] as [1, 1, 1, 3 or 4], or a picture itself, alpha clamped to 0..1; TypeError or ValueError
    unless it is either."""
    check_tensor(given, name)
    if given.ndim not in (1, 4) or given.shape[-1] not in (3, 4):
        raise ValueError(f"{name} has shape {list(given.shape)}; expected a colour [3 or 4], or pictures [batch, "
                         "height, width, 3 or 4]")
    picture = given.view(1, 1, 1, -1) if given.ndim == 1 else given
    check_image(picture, name, channels=4)
    if picture.shape[-1] == 3:
        return picture
    return torch.cat([picture[..., :3], picture[..., 3:].clamp(0.0, 1.0)], dim=-1)


def _opaque(fill: Tensor | None, scene: Tensor) -> Tensor | None:
    """A fill [3] for a scene that may have alpha, in which black stands for nothing."""
    if fill is None or scene.shape[-1] == 3 or len(fill) == 4:
        return fill
    return torch.cat([fill, torch.ones_like(fill[:1])])


def _frames(
    image: Tensor,
    alpha: Tensor,
    frames: int,
    estimate: bool,
    despill: Screen,
    high_range: bool,
    on_progress: Callable[[int, int], None] | None,
    check_interrupt: Callable[[], None] | None,
) -> Iterator[tuple[int, Tensor, Tensor, Step]]:
    """Frame by frame: its number, foreground colours [H, W, 3] and alpha [H, W], float32, and the step of what is made
    of them."""
    check_choice("despill", despill, SCREENS)
    colours: Tensor | None = None
    for i in range(frames):
        step = of_frame(i, frames, on_progress, check_interrupt)
        step(0)
        # Contiguous, since torch's powers differ in the last bit with the layout.
        share = alpha[i % len(alpha)].to(image.device, torch.float32).contiguous()
        if colours is None or len(image) > 1 or (estimate and len(alpha) > 1):
            colours = image.new_empty(*image.shape[1:3], 3, dtype=torch.float32)
            picture = image[i % len(image), ..., :3]
            if estimate:
                if high_range:
                    _estimate_beyond(picture.float(), share, colours, part(step, 0, 0.7))
                else:
                    estimate_frame(picture, share, colours, step=part(step, 0, 0.7))
            for rows in strips(len(share), part(step, 0.7, 0.8)):
                colours[rows] = without_spill(colours[rows] if estimate else picture[rows].float(), despill)
        yield i, colours, share, part(step, 0.8, 1)


def _estimate_beyond(picture: Tensor, share: Tensor, colours: Tensor, step: Step) -> None:
    """`estimate_frame` of a picture whose values are beyond 0..1.

    They are brought into 0..1, where the estimate keeps its colours, and back: F and B of a I + b are a F + b and
    a B + b. Where alpha is 1 the picture's own values stay.
    """
    low, high = (float(value) for value in torch.aminmax(picture))
    low, high = min(low, 0.0), max(high, 1.0)
    estimate_frame((picture - low) / (high - low), share, colours, step=step)
    for rows in strips(len(share), ignore):
        torch.where(share[rows, :, None] == 1, picture[rows], colours[rows] * (high - low) + low, out=colours[rows])
