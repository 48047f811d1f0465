"""What is tried again, and how, when a group of frames cannot be computed as planned.

A lack of memory is answered by smaller bands, chunks and tiles, and at last by the CPU; overflow of float16 by float32.
The picture's size never changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..model.vitmatte import float32_copy
from ..refinement.refine import MIN_MEMORY, refine_frame
from .frames import Frame, NotFiniteError, Setting, compute
from .plan import Plan
from .planning import make_plan, smaller, within

log = logging.getLogger(__name__)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that an allocation failed, on any device."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        said in words for said in ("out of memory", "can't allocate memory", "not enough memory")
    )


def free_memory() -> None:
    """Gives back what torch keeps for reuse on the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@dataclass(frozen=True)
class Policy:
    """How a lack of memory is recognised and cleared up.

    Args:
        memory_limit: bytes that a wider plan must keep, see `planning.make_plan`; None for no limit.
        is_out_of_memory, free_memory: see the functions of these names.
    """

    memory_limit: int | None = None
    is_out_of_memory: Callable[[Exception], bool] = is_out_of_memory
    free_memory: Callable[[], None] = free_memory


def compute_with_retries(
    setting: Setting, frames: Sequence[Frame], step: Callable[[float], None], policy: Policy
) -> Setting:
    """`frames.compute`, tried again as `policy` says.

    Returns:
        The setting for the frames that follow: what was too large or too narrow once is not tried again.

    Raises:
        NotFiniteError: the net's values are not finite in a precision as wide as float32. Also a lack of memory that
        neither smaller pieces nor the CPU could mend, and whatever `step` raises.
    """
    try:
        return _compute_within_memory(setting, frames, step, policy)
    except NotFiniteError:
        if setting.footprint.dtype != torch.float16:
            raise
    policy.free_memory()
    log.warning("float16 overflowed in a picture of %dx%d: computing it, and what follows it in this call, in "
                "float32, which is slower", setting.footprint.width, setting.footprint.height)
    return _compute_within_memory(widened(setting, policy.memory_limit), frames, step, policy)


def widened(setting: Setting, memory_limit: int | None) -> Setting:
    """The setting in float32."""
    footprint = replace(setting.footprint, dtype=torch.float32)
    plan = make_plan(footprint, count=setting.plan.frames)
    plan = plan if memory_limit is None else within(plan, footprint, memory_limit)
    model = setting.model
    if not model.net.casts:
        model = replace(model, net=float32_copy(model.net, setting.device))
    return Setting(model, setting.device, footprint, plan)


def _compute_within_memory(
    setting: Setting, frames: Sequence[Frame], step: Callable[[float], None], policy: Policy
) -> Setting:
    told, callers = _watched(step)
    attempt, plans = setting, _smaller_plans(setting)
    while True:
        try:
            compute(attempt, frames, told)
            return attempt if attempt.footprint is setting.footprint else setting
        except Exception as error:
            if callers or not policy.is_out_of_memory(error):
                raise
            try:
                plan = next(plans)
            except StopIteration:
                raise error from None
        # Outside the except block, where nothing holds on to the failed attempt's tensors any more.
        policy.free_memory()
        attempt = _on_the_cpu(setting) if plan is None else replace(setting, plan=plan)


def _watched(step: Callable[[float], None]) -> tuple[Callable[[float], None], list[Exception]]:
    """(the step, what it raised): the caller's own errors, which are no lack of memory of ours."""
    callers: list[Exception] = []

    def told(share: float) -> None:
        try:
            step(share)
        except Exception as error:
            callers.append(error)
            raise

    return told, callers


def refine_with_retries(
    setting: Setting, frame: Frame, strength: float, step: Callable[[float], None], policy: Policy
) -> None:
    """Refines the matte in `frame.out` where the net ran, within the memory of its plan; tried again in the smallest
    tiles, and then on the CPU, where memory runs out.

    Raises:
        A lack of memory that neither could mend, and whatever `step` raises.
    """
    given, trimap = frame.out.clone(), frame.trimap.to(frame.out.device)
    planes = (4 + 1 + 4 + 4 + 1) * given.numel()  # trimap, unknown area, matte; here the net's matte, such an area
    limit = max(MIN_MEMORY, setting.plan.peak_bytes - planes)
    told, callers = _watched(step)
    attempts = list(dict.fromkeys([(setting.device, limit), (setting.device, MIN_MEMORY),
                                   (torch.device("cpu"), MIN_MEMORY)]))
    for i, (device, memory) in enumerate(attempts):
        try:
            refine_frame(frame.image, given, trimap, frame.out, strength=strength, memory_limit=memory, device=device,
                         step=told)
            return
        except Exception as error:
            if callers or i == len(attempts) - 1 or not policy.is_out_of_memory(error):
                raise
        policy.free_memory()
        where, least = attempts[i + 1]
        log.warning("out of memory in the refinement: trying again in %d MiB on %s", least // 2**20, where)


def _smaller_plans(setting: Setting) -> Iterator[Plan | None]:
    """The plans to try after the setting's own, and at last None for the CPU where that is another device."""
    for plan in smaller(setting.plan, setting.footprint):
        log.warning("out of memory: trying again in bands of %d KiB and tiles of %d pixels",
                    plan.band_bytes // 1024, plan.side)
        yield plan
    if setting.device.type != "cpu":
        log.warning("out of memory in the smallest bands and tiles: computing this frame on the CPU")
        yield None


def _on_the_cpu(setting: Setting) -> Setting:
    """The same in float32 on the CPU, with a copy of the net."""
    footprint = replace(setting.footprint, device="cpu", dtype=torch.float32)
    model = replace(setting.model, net=float32_copy(setting.model.net, "cpu"))
    return Setting(model, torch.device("cpu"), footprint, make_plan(footprint))
