"""The one file that talks to ComfyUI's memory management: devices, VRAM, interruption, progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch
from torch import Tensor

from .. import vitmatte as library
from ..vitmatte.inference.context import PRECISIONS
from ..vitmatte.inference.matting import prepare, run
from ..vitmatte.inference.model import MattingModel, Normalization, load_model
from ..vitmatte.inference.plan import MEBI
from ..vitmatte.inference.planning import MemoryLimitError, within
from ..vitmatte.inference.retry import Policy, is_out_of_memory
from ..vitmatte.inference.scope import Strategy
from ..vitmatte.steps import Step
from .preview import thumbnail

log = logging.getLogger(__name__)


def check_interrupt() -> None:
    """Raises ComfyUI's own exception once the user has pressed cancel."""
    management.throw_exception_if_processing_interrupted()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raises the library's own kinds of error as the built-in kind that they are: ComfyUI shows a kind with its
    module, which for a node pack is the folder that it was installed to."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(f"{library.__name__}."):
            raise
        kind = next(base for base in type(error).__mro__ if base.__module__ == "builtins")
        raise kind(*error.args) from error


def loaded(patcher: Any) -> tuple[Any, torch.device]:
    """The model of another node's patcher, loaded to its device, and that device."""
    management.load_models_gpu([patcher])
    return patcher.model, patcher.load_device


def out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, in ComfyUI's eyes where it knows (since 0.4) or in ours."""
    known = getattr(management, "is_oom", None)
    return (known is not None and known(error)) or is_out_of_memory(error)


class Progress:
    """The node's progress bar: called with (done, total), it moves; `show` puts a finished frame below it."""

    def __init__(self) -> None:
        self.bar = comfy.utils.ProgressBar(1)

    def __call__(self, done: int, total: int) -> None:
        self.bar.update_absolute(done, total)

    def show(self, number: int, alpha: Tensor) -> None:
        """A matte [H, W] of a batch."""
        self.bar.update_absolute(self.bar.current, self.bar.total, thumbnail(alpha))


class HostedModel:
    """A matting model under ComfyUI's ModelPatcher; what a VITMATTE_MODEL wire carries.

    Args:
        name_or_path: see `load_model`; a released model that is not on disk is downloaded to `folder`.
        precision: a key of `PRECISIONS`, or "auto": fp16 where ComfyUI would use it, else fp32.
        normalization: see `load_model`.
        folder: for downloads.
    """

    def __init__(self, name_or_path: str | Path, *, precision: str, normalization: Normalization, folder: str) -> None:
        device = management.get_torch_device()
        if precision == "auto":
            precision = "fp16" if management.should_use_fp16(device) else "fp32"
        self.dtype = PRECISIONS[precision]
        with plain_errors():
            self.model: MattingModel = load_model(
                name_or_path,
                device=management.unet_offload_device(),
                dtype=self.dtype,
                normalization=normalization,
                operations=comfy.ops.manual_cast,
                folder=folder,
                on_progress=Progress(),
                check_interrupt=check_interrupt,
            )
        # CoreModelPatcher is bound at start-up, to the dynamic patcher where the card can do that.
        patcher = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        self.patcher = patcher(self.model.net, load_device=device, offload_device=management.unet_offload_device())

    @plain_errors()
    def matte(self, image: Tensor, trimap: Tensor, *, strategy: Strategy, memory_limit: int,
              refine: float | None) -> Tensor:
        """`vitmatte.matte` on ComfyUI's device, with its progress bar and cancel button; see there. `memory_limit` is
        in MB here; 0 is none."""
        progress = Progress()
        alpha = self._run(image, trimap, strategy, memory_limit, refine, progress, progress.show)
        return alpha.to(management.intermediate_device())

    @plain_errors()
    def matte_frame(self, image: Tensor, trimap: Tensor, step: Step, *, strategy: Strategy,
                    memory_limit: int) -> Tensor:
        """The same of one frame of a clip: image [H, W, 3] and trimap [H, W] to alpha [H, W], on their device; `step`
        is called with the share that is done."""
        return self._run(image[None], trimap, strategy, memory_limit, 0.0, lambda done, total: step(done / total),
                         None)[0]

    @property
    def device(self) -> torch.device:
        """Where mattes are computed."""
        return self.patcher.load_device

    def _run(self, image: Tensor, trimap: Tensor, strategy: Strategy, memory_limit: int, refine: float | None,
             on_progress: Callable[[int, int], None], on_frame: Callable[[int, Tensor], None] | None) -> Tensor:
        device = self.patcher.load_device
        model = replace(self.model, net=self.patcher.model)
        job = prepare(model, image, trimap, strategy=strategy, refine=refine, device=device, dtype=self.dtype)
        footprint = job.footprint
        try:
            plan = job.plan(memory_limit * MEBI or None)
        except MemoryLimitError as error:
            size = f"{footprint.width}x{footprint.height}"
            raise ValueError(f"memory_limit is {memory_limit} MB; a frame of {size} takes at least "
                             f"{-(-error.least // MEBI)} MB with this model and precision: give that much, or 0 for no "
                             "limit") from None
        log.debug("%d frames of %dx%d: asking ComfyUI for %d MB", job.frames, footprint.width, footprint.height,
                  plan.peak_bytes // MEBI)
        management.load_models_gpu([self.patcher], memory_required=plan.peak_bytes, force_full_load=True)
        # What ComfyUI could not free is not there to be used: some drivers slow down instead of failing.
        plan = within(plan, footprint, management.get_free_memory(device))
        return run(
            job, plan, Policy(plan.peak_bytes, out_of_memory, management.soft_empty_cache), on_progress=on_progress,
            on_frame=on_frame if job.frames > 1 else None, check_interrupt=check_interrupt,
        )
