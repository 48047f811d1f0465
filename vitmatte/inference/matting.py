"""Pictures and trimaps in, alpha mattes out: the same size, the same place, known pixels as the trimap says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_number
from ..refinement.refine import check_strength
from ..steps import STEPS, of_frame, part, strips
from ..trimap.known import settled
from .frames import Frame, Setting
from .given import checked_frames, frame_scopes, place_of
from .model import MattingModel
from .plan import Footprint, Plan, footprint_of
from .planning import make_plan
from .retry import Policy, compute_with_retries, free_memory, is_out_of_memory, refine_with_retries
from .scope import Scope, Strategy, scope_of

log = logging.getLogger(__name__)

NET_SHARE = 0.5  # of a frame's progress, where its matte is refined as well


def matte(
    model: MattingModel,
    image: Tensor,
    trimap: Tensor,
    *,
    memory_limit: int | None = None,
    strategy: Strategy = "auto",
    reach: int | None = None,
    margin: int | None = None,
    refine: float | None = None,
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
            The result does not depend on it beyond rounding and, where it is refined, the refinement's tolerance.
        strategy: "exact": global blocks attend to all tokens, as transformers computes it. "local": they attend within
            a reach, with their tables as trained, and only tokens that unknown pixels can see are computed: time and
            memory follow the unknown area. "grid": they attend among every second token (Matte-Anything's). "auto":
            local where the net's configuration has an `attention_reach`, else exact.
        reach: for local, in tokens; None for the net's own, which follows the width of each frame's unknown area (see
            `scope.scope_of`).
        margin: for local, in tokens: those further than this from every token that an unknown pixel sees are left out;
            None for as far as the reach.
        refine: strength with which the net's alpha is then brought into line with the picture's colours, where the
            trimap is unknown: 0 for not at all, 1 is usual; see `refine_matte`. None for what the net's configuration
            says: 1 for the bundled net, 0 where it says nothing. It keeps the memory limit too.
        on_progress: called with (steps done, steps in all), also within a frame.
        on_frame: called with (number, matte [H, W]) of each frame in turn, as soon as it is done.
        check_interrupt: called often; what it raises ends the call.
        device, dtype: where and in which precision the net runs; another than its weights' only with layers that cast
            them, such as ComfyUI's (`load_model`'s operations).
        is_out_of_memory, free_memory: tell and clear up a lack of memory, after which the frame is tried again in
            smaller pieces, and at last on the CPU; never at another size.

    Returns:
        [B, H, W] float32 on the image's device: 0..1 where the trimap is unknown, exactly 0 and 1 elsewhere. The same
            input gives the same bits again. Frames computed together differ from single ones by rounding, refined ones
            by a small part of the refinement's tolerance. A caller's autocast, default dtype and autograd change
            nothing.

    Raises:
        TypeError: for what is no dense tensor, or no model. ValueError: for shapes, sizes, counts, types or values
            other than described; the message names them. MemoryLimitError: a limit below the least that a frame of
            this size takes. What a callback raises comes out as it is, and so does a lack of memory that neither
            smaller pieces nor the CPU could mend; the model stays as it was.
    """
    job = prepare(model, image, trimap, strategy=strategy, reach=reach, margin=margin, refine=refine, device=device,
                  dtype=dtype)
    if memory_limit is not None:
        memory_limit = int(check_number("memory_limit", memory_limit, "a number of bytes"))
    policy = Policy(memory_limit, is_out_of_memory, free_memory)
    return run(job, job.plan(memory_limit), policy, on_progress=on_progress, on_frame=on_frame,
               check_interrupt=check_interrupt)


@dataclass(frozen=True)
class Job:
    """Checked pictures and trimaps, and what computing their mattes takes; from `prepare`.

    Args:
        model: net and preprocessing.
        image: [B, H, W, 3 or 4].
        trimap: [B, H, W].
        frames: mattes to make; image or trimap may be one for all.
        device: where the net runs.
        footprint: of the net and the frame that takes most.
        scopes: of the frames, by their trimaps.
        refine: strength of the refinement; 0 for none.
    """

    model: MattingModel
    image: Tensor
    trimap: Tensor
    frames: int
    device: torch.device
    footprint: Footprint
    scopes: list[Scope]
    refine: float = 0.0

    def plan(self, memory_limit: int | None = None) -> Plan:
        """The fastest plan within a limit in bytes; MemoryLimitError where none keeps it."""
        together = self.frames if self.footprint.scope.reach is None else 1
        return make_plan(self.footprint, count=together, memory_limit=memory_limit)


def prepare(
    model: MattingModel, image: Tensor, trimap: Tensor, *, strategy: Strategy = "auto", reach: int | None = None,
    margin: int | None = None, refine: float | None = None, device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Job:
    """Checks everything that `matte` is given, once; arguments and errors are those of `matte`."""
    trimap, frames = checked_frames(image, trimap)
    where, precision = place_of(model, device, dtype)
    strength = check_strength("refine", model.net.architecture.refine if refine is None else refine)
    rule = scope_of(strategy, model.net.architecture, reach=reach, margin=margin)
    scopes, scope, tokens = frame_scopes(model, trimap, rule)
    footprint = footprint_of(model.net, image.shape[1], image.shape[2], precision, where.type, scope=scope,
                             tokens=tokens, contract=model.preprocessing.contract)
    return Job(model, image, trimap, frames, where, footprint, scopes, strength)


@torch.inference_mode()
def run(
    job: Job,
    plan: Plan,
    policy: Policy,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_frame: Callable[[int, Tensor], None] | None = None,
    check_interrupt: Callable[[], None] | None = None,
) -> Tensor:
    """The mattes [B, H, W] of a job by a plan; see `matte`."""
    image, trimap, frames = job.image.resolve_neg(), job.trimap, job.frames  # no lazily negated tensor
    with torch.inference_mode(False):  # a plain tensor: may be changed in place, and take part in autograd
        alpha = torch.empty(frames, *image.shape[1:3], dtype=torch.float32, device=image.device)
    setting = Setting(job.model, job.device, job.footprint, plan)
    waiting: list[Frame] = []
    shown = 0
    known: list[int] = []  # frames with a subject and a background and nothing unknown
    for i in range(frames):
        if check_interrupt is not None:
            check_interrupt()
        guide, out = trimap[i % trimap.shape[0]], alpha[i]
        for rows in strips(len(out)):
            out[rows] = settled(guide[rows])
        frame = Frame(image[i % image.shape[0], ..., :3], guide, out, job.scopes[i % trimap.shape[0]])
        if not bool(frame.unknown.any()):
            known += [i] if out.min() != out.max() else []  # a subject may come and go
        else:
            waiting.append(frame)
        if waiting and (len(waiting) == setting.plan.frames or i == frames - 1):
            count = len(waiting)
            step = of_frame(i + 1 - count, frames, on_progress, check_interrupt, count=count)
            last = 1 - 1 / (count * STEPS)  # the last step is told below, once the mattes are there
            net = NET_SHARE * last if job.refine else last
            setting = compute_with_retries(setting, waiting, part(step, 0, net), policy)
            for k, frame in enumerate(waiting if job.refine else ()):
                share = (last - net) / count
                refine_with_retries(setting, frame, job.refine, part(step, net + k * share, net + (k + 1) * share),
                                    policy)
            waiting = []
        if waiting:
            continue
        if on_progress is not None:
            on_progress((i + 1) * STEPS, frames * STEPS)
        if on_frame is not None:
            for done in range(shown, i + 1):
                on_frame(done, alpha[done])
        shown = i + 1
    if known:
        log.warning("%s", _nothing_unknown(known, frames))
    return alpha


def _nothing_unknown(known: list[int], frames: int) -> str:
    shown = ", ".join(map(str, known[:8])) + (", ..." if len(known) > 8 else "")
    where = "" if frames == 1 else f" in {len(known)} of {frames} frames ({shown})"
    return (f"no unknown area{where}: the matte is the trimap itself. If it is a black and white mask, make a "
            "trimap of it first: make_trimap, the node Trimap from Mask, or --mask where you gave --trimap")
