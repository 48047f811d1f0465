"""The stream: one frame in, one matte out, and what is held back is bounded by what `Steady` looks ahead."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..plain import plain_results
from ..steps import Interrupt, Progress, Step, of_frame, part
from .backdrop import Look
from .carry import Carry, LostError
from .masks import Masks
from .read import Clip, ClipFrame
from .steady import Steady, SteadyFrame
from .write import Kind, Target, Writer

Matte = Callable[[Tensor, Tensor, Step], Tensor]
TrimapOf = Callable[[Tensor, Tensor, str, int], Tensor]


@dataclass
class Report:
    """What was done with a clip.

    Attributes:
        frames: how many were computed, and `written` how many of them were written.
        seconds: spent on each part: "read", "trimap", "net", "motion", "colours", "write".
        blended: share of the unknown area that neighbouring mattes had a part in, the mean over the frames.
        cuts: numbers of the frames before which a scene cut lies.
        carried: frames without a mask of their own.
        most_lost: the largest share of a carried frame's band that was lost; see `Carried`.
    """

    frames: int = 0
    written: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    blended: float = 0.0
    cuts: list[int] = field(default_factory=list)
    carried: int = 0
    most_lost: float = 0.0

    def said(self) -> list[str]:
        """What of motion is worth telling, a sentence each."""
        found = []
        if self.blended:
            found.append(f"neighbouring mattes had a part in {100 * self.blended:.0f} % of the unknown area")
        if self.cuts:
            found.append(f"scene cuts before frames {', '.join(map(str, self.cuts))}")
        if self.carried:
            found.append(f"{self.carried} frames had no mask; at most {100 * self.most_lost:.0f} % of a frame's edge "
                         "could not be followed by motion")
        return found

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Counts the time within it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class _Held:
    """A frame whose steady matte is not there yet."""

    frame: ClipFrame
    index: int
    step: Step


@plain_results
def matte_clip(
    clip: Clip,
    masks: Masks,
    outputs: list[tuple[Target, Writer]],
    *,
    trimap_of: TrimapOf,
    matte: Matte,
    look: Look | None = None,
    steady: Steady | None = None,
    carry: Carry | None = None,
    device: torch.device | str = "cpu",
    skip: int = 0,
    is_done: Callable[[int], bool] | None = None,
    on_progress: Progress | None = None,
    on_frame: Callable[[int, Tensor, dict[Kind, Tensor]], None] | None = None,
    check_interrupt: Interrupt | None = None,
) -> Report:
    """Reads a clip, computes its mattes and writes the results, frame by frame.

    Args:
        clip: its frames.
        masks: of its frames; where one has none, `carry` gives its trimap.
        outputs: what is written, and by whom (`write.writers`).
        trimap_of: (mask [H, W], image [H, W, 3], the mask's name, the frame's index) to a trimap [H, W] of 0, 0.5
            and 1.
        matte: (image, trimap, step) to alpha [H, W].
        look: of cut-outs and fills.
        steady: makes mattes hold still; None leaves each as it is.
        carry: needed where frames lack masks.
        device: where frames, trimaps and mattes are.
        skip: so many of the first frames are passed over.
        is_done: tells of the index of a frame whether its results are there already; they are not written again.
        on_progress: called with (steps done, steps in all), also within a frame.
        on_frame: called with (index, matte [H, W], results by kind) of each frame that was written.
        check_interrupt: called often; what it raises ends the call.

    Raises:
        ValueError: what cannot be read, or a mask of another size. LostError: motion that cannot be trusted any more.
            They name the frame.
    """
    report, held, look = Report(), deque[_Held](), look or Look()

    def deliver(result: SteadyFrame) -> None:
        done = held.popleft()
        report.blended += result.blended
        if result.cut:
            report.cuts.append(done.frame.number)
        if is_done is None or not is_done(done.index):
            with report.timed("colours"):
                pictures = look.results(done.frame, done.index, result.alpha, {target.kind for target, _ in outputs})
            with report.timed("write"):
                for target, writer in outputs:
                    writer.write(done.frame, pictures[target.kind])
            report.written += 1
            if on_frame is not None:
                on_frame(done.index, result.alpha, pictures)
        done.step(1)

    index = skip
    for frame in _timed(clip.frames(skip), report):
        step = of_frame(index, max(clip.count, index + 1), on_progress, check_interrupt)
        step(0)
        frame = _on(frame, device)
        alpha, trimap = _matted(frame, index, masks, trimap_of, matte, carry, part(step, 0, 0.9), report)
        held.append(_Held(frame, index, step))
        with report.timed("motion"):
            ready: Sequence[SteadyFrame] = [SteadyFrame(alpha, 0.0, False)]
            if steady is not None:
                ready = steady.push(frame.image, alpha, trimap)
        for result in ready:
            deliver(result)
        report.frames += 1
        index += 1
    if not report.frames:
        raise ValueError(f"{clip.name}: no frames are left")
    with report.timed("motion"):
        ready = steady.finish() if steady is not None else []
    for result in ready:
        deliver(result)
    report.blended /= report.frames
    return report


def _timed(frames: Iterator[ClipFrame], report: Report) -> Iterator[ClipFrame]:
    while True:
        with report.timed("read"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _on(frame: ClipFrame, device: torch.device | str) -> ClipFrame:
    return replace(frame, image=frame.image.to(device))


def _matted(
    frame: ClipFrame, index: int, masks: Masks, trimap_of: TrimapOf, matte: Matte, carry: Carry | None, step: Step,
    report: Report,
) -> tuple[Tensor, Tensor]:
    """(alpha, trimap) of a frame."""
    with report.timed("trimap"):
        own = masks.at(index)
        if own is not None:
            trimap = trimap_of(own[0].to(frame.image.device), frame.image, own[1], index)
    if own is None:
        if carry is None:
            raise ValueError(f"frame {frame.number} has no mask")
        with report.timed("motion"):
            try:
                found = carry.trimap(frame.image)
            except LostError as error:
                raise LostError(error.lost, f"frame {frame.number}: {error}") from error
        trimap = found.trimap
        report.carried += 1
        report.most_lost = max(report.most_lost, found.lost)
    with report.timed("net"):
        alpha = matte(frame.image, trimap, step)
    if carry is not None:
        with report.timed("motion"):
            if own is None:
                carry.go_on(alpha)
            else:
                carry.start(frame.image, alpha, trimap)
    return alpha, trimap
