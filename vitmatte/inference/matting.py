"""Pictures and trimaps in, alpha mattes out: the same size, the same place, known pixels as the trimap says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..checks import check_choice, check_image, check_number, check_plane
from ..trimap.known import known_areas
from ..weights.checkpoint import load_net
from ..weights.download import locate
from .frames import Frame, FrameTask, MattingModel, free_memory, is_out_of_memory
from .preprocessing import Preprocessing

Normalization = Literal["as_trained", "hub"]
NORMALIZATIONS: tuple[Normalization, ...] = ("as_trained", "hub")
Strategy = Literal["exact", "grid"]
STRATEGIES: tuple[Strategy, ...] = ("exact", "grid")

STEPS = 100  # of progress, per frame


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
    device = as_device(device) or "cpu"
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
        image: [B, H, W, 3 or 4] (a fourth channel is ignored), floating point in 0..1 (rounding's and resampling's
            overshoot, less than 1, is taken as it is), of any size from 1x1.
        trimap: [B, H, W] or [H, W] of the same size, floating point or bool: 0 background, 1 foreground (an 8-bit step
            from either and overshoot are still that), anything between unknown. One trimap serves many images, and one
            image many trimaps.
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
        [B, H, W] float32 on the image's device: 0..1 where the trimap is unknown, exactly 0 and 1 elsewhere. The same
            input gives the same bits again; frames computed together differ from single ones by rounding. A caller's
            autocast, default dtype and autograd change nothing.

    Raises:
        TypeError: for what is no dense tensor, or no model. ValueError: for shapes, sizes, counts, types or values
            other than described; the message names them. MemoryLimitError: a limit below the least that a frame of
            this size takes. What a callback raises comes out as it is, and so does a lack of memory that neither
            smaller pieces nor the CPU could mend; the model stays as it was.
    """
    check_choice("strategy", strategy, STRATEGIES)
    if memory_limit is not None:
        memory_limit = int(check_number("memory_limit", memory_limit, "a number of bytes"))
    trimap, frames = checked(image, trimap)
    place, precision = _where(model, device, dtype)
    with torch.inference_mode(False):  # a plain tensor: may be changed in place, and take part in autograd
        alpha = torch.empty(frames, *image.shape[1:3], dtype=torch.float32, device=image.device)
    image = image.resolve_neg()  # a lazily negated tensor cannot make others like it
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


def _where(
    model: MattingModel, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision the net runs; TypeError or ValueError unless it can."""
    if not isinstance(model, MattingModel):
        raise TypeError(f"model is a {type(model).__name__}; expected a MattingModel, which load_model gives")
    net = model.net
    if net.training:
        raise ValueError("the net is in training mode, in which pictures change its statistics: call model.net.eval()")
    place, precision = as_device(device) or net.device, dtype or net.dtype
    if not net.casts and (place.type, precision) != (net.device.type, net.dtype):
        raise ValueError(f"the net's weights are {net.dtype} on {net.device}, and it is to run in "
                         f"{precision} on {place}: load it so, with load_model(..., device=..., dtype=...)")
    if place.type == "meta":
        raise ValueError("the net is on the device meta, without weights: load it with load_model")
    return place, precision


def as_device(device: torch.device | str | None) -> torch.device | None:
    """The device of that name; ValueError unless torch knows such."""
    try:
        return None if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is {device!r}: {str(error).splitlines()[0]}") from error


def _settled(trimap: Tensor) -> Tensor:
    """trimap as float32 with what is sure at exactly 0 and 1."""
    foreground, background = known_areas(trimap)
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


def checked(image: Tensor, trimap: Tensor) -> tuple[Tensor, int]:
    """(trimap as [B, H, W], number of frames that image and trimap make together); TypeError or ValueError if they
    are not as `matte` takes them."""
    check_image(image)
    trimap = check_plane(trimap, "trimap")
    trimap = trimap.unsqueeze(0) if trimap.ndim == 2 else trimap
    sizes = tuple(image.shape[1:3]), tuple(trimap.shape[1:3])
    if sizes[0] != sizes[1]:
        raise ValueError(f"image is {sizes[0][1]}x{sizes[0][0]} and trimap {sizes[1][1]}x{sizes[1][0]} (width x "
                         "height); expected equal sizes: scale one to the other")
    counts = image.shape[0], trimap.shape[0]
    if counts[0] != counts[1] and 1 not in counts:
        raise ValueError(f"{counts[0]} images and {counts[1]} trimaps; expected equal numbers, or one of either")
    return trimap, max(counts)
