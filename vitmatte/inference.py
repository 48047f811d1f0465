"""Pictures and trimaps in, alpha mattes out: the same size, the same place, known pixels as the trimap says."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .checkpoint import load_net
from .checks import check_choice
from .frame import Frame, FrameTask, MattingModel, free_memory, is_out_of_memory
from .hub import locate
from .processing import Preprocessing
from .trimap import check_plane, sure_areas

Normalization = Literal["as_trained", "hub"]
NORMALIZATIONS: tuple[Normalization, ...] = ("as_trained", "hub")
Strategy = Literal["exact", "grid"]
STRATEGIES: tuple[Strategy, ...] = ("exact", "grid")

STEPS = 100  # of progress, per frame

# Resampling may overshoot 0..1 a little, which the net takes as it is; beyond this it is another scale.
LOWEST, HIGHEST = -1.0, 2.0


def load_model(
    name_or_path: str | os.PathLike[str] = "vitmatte-tiny",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    normalization: Normalization = "as_trained",
    operations: Any = nn,
    **download: Any,
) -> MattingModel:
    """Loads a model for `matte`.

    Args:
        name_or_path: "vitmatte-tiny" (bundled), a released model (`models.RELEASED`; downloaded once if it is not on
            disk), or a folder or file in any layout that `checkpoint` reads.
        device: where to.
        dtype: of the weights: float32, float16 or bfloat16.
        normalization: "as_trained" feeds the net ImageNet-normalised pictures and 0.5 for unknown, as its authors
            did in training; "hub" does as the preprocessor_config.json beside it says, as transformers does.
        operations: see `VitMatteForImageMatting`.
        download: folder, on_progress, check_interrupt, token: see `hub.locate` and `hub.download`.

    Raises:
        ValueError: for an argument, or a file that is no ViTMatte. FileNotFoundError: nothing there.
        hub.DownloadError: a released model is not on disk and cannot be had.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"dtype is {dtype}; expected torch.float32, float16 or bfloat16")
    path = locate(name_or_path, **download)
    net = load_net(path, operations=operations, folded=True, dtype=dtype, device=device).requires_grad_(False)
    if normalization == "as_trained":
        return MattingModel(net, Preprocessing())
    return MattingModel(net, Preprocessing.from_folder(path if path.is_dir() else Path(path).parent))


@torch.inference_mode()
def matte(
    model: MattingModel,
    image: Tensor,
    trimap: Tensor,
    *,
    memory_limit: int | None = None,
    strategy: Strategy = "exact",
    on_progress: Callable[[int, int], None] | None = None,
    on_frame: Callable[[int, Tensor], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    is_out_of_memory: Callable[[Exception], bool] = is_out_of_memory,
    free_memory: Callable[[], None] = free_memory,
) -> Tensor:
    """Alpha mattes.

    Args:
        model: from `load_model`.
        image: [B, H, W, 3 or 4] (a fourth channel is ignored), floating point in 0..1, of any size from 1x1.
        trimap: [B, H, W] or [H, W] of the same size: 0 background, 1 foreground (an 8-bit step from either is
            still that), anything between unknown. One trimap serves many images, and one image many trimaps.
        memory_limit: bytes that a frame may take besides the weights and the tensors given; None for what is fastest.
            The result does not depend on it beyond rounding.
        strategy: "exact", or "grid": global attention among every second token only (Matte-Anything's; a quarter of
            its work, at a cost in accuracy), for very large pictures.
        on_progress: called with (steps done, steps in all), also within a frame.
        on_frame: called with (number, matte [H, W]) of each frame in turn, as soon as it is done.
        check_interrupt: called often; what it raises ends the call.
        device, dtype: where and in which precision the net runs; another than its weights' only with layers that cast
            them, such as ComfyUI's (`load_model`'s operations).
        is_out_of_memory, free_memory: tell and clear up a lack of memory, after which the frame is tried again in
            smaller pieces, and at last on the CPU; never at another size.

    Returns:
        [B, H, W] float32 on the image's device: 0..1 where the trimap is unknown, exactly 0 and 1 elsewhere.

    Raises:
        ValueError: for shapes, sizes, counts, types or values other than described; the message names them.
        MemoryLimitError: a limit below the least that a frame of this size takes.
    """
    check_choice("strategy", strategy, STRATEGIES)
    trimap, frames = checked(image, trimap)
    place, precision = torch.device(device or model.net.device), dtype or model.net.dtype
    if not model.net.casts and (place.type, precision) != (model.net.device.type, model.net.dtype):
        raise ValueError(f"the net's weights are {model.net.dtype} on {model.net.device}, and it is to run in "
                         f"{precision} on {place}: load it so, with load_model(..., device=..., dtype=...)")
    alpha = torch.empty(frames, *image.shape[1:3], device=image.device)
    task: FrameTask | None = None
    waiting: list[Frame] = []
    shown = 0
    for i in range(frames):
        if check_interrupt is not None:
            check_interrupt()
        alpha[i] = guide = _settled(trimap[i % trimap.shape[0]])
        frame = Frame(image[i % image.shape[0], ..., :3], guide, alpha[i])
        if bool(frame.unknown.any()):
            waiting.append(frame)
            task = task or FrameTask(
                model, image.shape[1], image.shape[2], place, precision, count=frames - i, memory_limit=memory_limit,
                strided=strategy == "grid", is_out_of_memory=is_out_of_memory, free_memory=free_memory,
            )
        if waiting and task is not None and (len(waiting) == task.plan.frames or i == frames - 1):
            step = _reporter(i + 1 - len(waiting), len(waiting), frames, on_progress, check_interrupt)
            task.run(waiting, step)
            waiting = []
        if waiting:
            continue
        if on_progress is not None:
            on_progress((i + 1) * STEPS, frames * STEPS)
        if on_frame is not None:
            for done in range(shown, i + 1):
                on_frame(done, alpha[done])
        shown = i + 1
    return alpha


def _settled(trimap: Tensor) -> Tensor:
    """trimap as float32 with what is sure at exactly 0 and 1."""
    foreground, background = sure_areas(trimap)
    return trimap.float().masked_fill(background, 0.0).masked_fill(foreground, 1.0)


def _reporter(
    first: int,
    count: int,
    frames: int,
    on_progress: Callable[[int, int], None] | None,
    check_interrupt: Callable[[], None] | None,
) -> Callable[[float], None]:
    """A callback for the share of `count` frames that is done, which interrupts and reports each step once."""
    reported = 0

    def step(share: float) -> None:
        nonlocal reported
        if check_interrupt is not None:
            check_interrupt()
        done = min(count * STEPS - 1, int(share * count * STEPS))
        if on_progress is not None and done > reported:
            reported = done
            on_progress(first * STEPS + done, frames * STEPS)

    return step


def check_image(image: Tensor) -> None:
    """Raises ValueError unless `image` is [B, H, W, 3 or 4] with at least one pixel, floating point around 0..1."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ValueError(f"image has shape {list(image.shape)}; expected [batch, height, width, 3 or 4]")
    if image.numel() == 0:
        raise ValueError(f"image has shape {list(image.shape)}: it is empty")
    if not image.is_floating_point():
        raise ValueError(f"image is {image.dtype}; expected floating point in 0..1: divide by 255")
    low, high = (float(v) for v in torch.aminmax(image[..., :3].float()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("image has values that are not finite (NaN or infinite)")
    if low < LOWEST or high > HIGHEST:
        raise ValueError(f"image has values from {low:g} to {high:g}; expected 0..1: divide 8-bit values by 255, "
                         "tone-map high dynamic range first")


def checked(image: Tensor, trimap: Tensor) -> tuple[Tensor, int]:
    """(trimap as [B, H, W], number of frames that image and trimap make together); ValueError if they do not."""
    trimap = trimap.unsqueeze(0) if trimap.ndim == 2 else trimap
    check_image(image)
    check_plane(trimap, "trimap")
    sizes = tuple(image.shape[1:3]), tuple(trimap.shape[1:3])
    if sizes[0] != sizes[1]:
        raise ValueError(f"image is {sizes[0][1]}x{sizes[0][0]} and trimap {sizes[1][1]}x{sizes[1][0]} (width x "
                         "height); expected equal sizes: scale one to the other")
    counts = image.shape[0], trimap.shape[0]
    if counts[0] != counts[1] and 1 not in counts:
        raise ValueError(f"{counts[0]} images and {counts[1]} trimaps; expected equal numbers, or one of either")
    return trimap, max(counts)
