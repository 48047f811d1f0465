"""Mattes of frames: the transformer over whole pictures, the decoder where the trimap is unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from ..model.execution import Execution
from ..model.vitmatte import VitMatteForImageMatting, net_of
from ..padding import SizeContract, Span
from .plan import Footprint, Plan, make_plan, smaller, within
from .preprocessing import Preprocessing
from .tiles import cover, features_seen

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MattingModel:
    """A net together with the preprocessing it was trained with.

    Args:
        net: in evaluation mode.
        preprocessing: what its input is made with.

    Raises:
        ValueError: for a divisor that is no multiple of the net's patch size.
    """

    net: VitMatteForImageMatting
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        patch = 2 ** self.net.decoder.shape.levels
        if self.preprocessing.divisor % patch:
            raise ValueError(f"pictures would be padded to a multiple of {self.preprocessing.divisor} pixels "
                             f"(size_divisibility); this net's patches need a multiple of {patch}")


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


class NotFiniteError(RuntimeError):
    """The net's values are not finite where they ought to be."""


@dataclass(frozen=True)
class Frame:
    """One picture and where its matte goes.

    Args:
        image: [H, W, 3] in 0..1.
        guide: [H, W], the trimap with exactly 0 and 1 where it is sure.
        out: [H, W], float32; only its unknown pixels are written.
    """

    image: Tensor
    guide: Tensor
    out: Tensor

    @cached_property
    def unknown(self) -> Tensor:
        """[H, W], bool."""
        return (self.guide > 0) & (self.guide < 1)


class FrameTask:
    """Computes frames of one size, small ones several at once, in smaller pieces once memory has run out.

    Args:
        model: net and preprocessing.
        height, width: of the frames, in pixels.
        device, dtype: where and in which precision to compute.
        count, memory_limit: see `memory.make_plan`.
        strided: see `Execution`.
        is_out_of_memory, free_memory: see `inference.matte`.
    """

    def __init__(
        self,
        model: MattingModel,
        height: int,
        width: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        count: int = 1,
        memory_limit: int | None = None,
        strided: bool = False,
        is_out_of_memory: Callable[[Exception], bool] = is_out_of_memory,
        free_memory: Callable[[], None] = free_memory,
    ) -> None:
        self.model, self.device, self.dtype, self.strided = model, device, dtype, strided
        self.is_out_of_memory, self.free_memory = is_out_of_memory, free_memory
        self.memory_limit = memory_limit
        self.footprint = footprint_of(model.net, height, width, dtype, device.type, strided=strided)
        self.plan = make_plan(self.footprint, count=count, memory_limit=memory_limit)

    def run(self, frames: Sequence[Frame], step: Callable[[float], None]) -> None:
        """Writes the net's alpha to the unknown pixels of frames, each of which has some.

        Args:
            frames: any number; at most `plan.frames` of them run at once.
            step: called often with the share of the work that is done.

        Raises:
            NotFiniteError: the net's values are not finite in a precision as wide as float32.
        """
        try:
            return self._run(frames, step)
        except NotFiniteError:
            if self.footprint.dtype != torch.float16:
                raise
        self.free_memory()
        log.warning("float16 overflowed in a picture of %dx%d: computing it, and what follows it in this call, in "
                    "float32, which is slower", self.footprint.width, self.footprint.height)
        self._widen()
        self._run(frames, step)

    def _widen(self) -> None:
        """From now on in float32."""
        self.dtype = torch.float32
        self.footprint = replace(self.footprint, dtype=torch.float32)
        plan = make_plan(self.footprint, count=self.plan.frames)
        self.plan = plan if self.memory_limit is None else within(plan, self.footprint, self.memory_limit)
        if not self.model.net.casts:
            self.model = replace(self.model, net=in_float32(self.model.net, self.device))

    def _run(self, frames: Sequence[Frame], step: Callable[[float], None]) -> None:
        for footprint, plan in self._attempts():
            # Outside the except block, where nothing holds on to the failed attempt's tensors any more.
            if self._tried(footprint, plan, frames, step):
                if footprint is self.footprint:
                    self.plan = plan  # what was too large once is not tried again
                return
            self.free_memory()

    def _attempts(self) -> Iterator[tuple[Footprint, Plan]]:
        yield self.footprint, self.plan
        for plan in smaller(self.plan, self.footprint):
            log.warning("out of memory: trying again in pieces of %d KiB and tiles of %d pixels",
                        plan.piece_bytes // 1024, plan.side)
            yield self.footprint, plan
        if self.device.type != "cpu":
            log.warning("out of memory in the smallest pieces: computing this frame on the CPU")
            footprint = replace(self.footprint, device="cpu", dtype=torch.float32)
            yield footprint, make_plan(footprint)
        # The last attempt let its error through; see _tried.

    def _tried(
        self, footprint: Footprint, plan: Plan, frames: Sequence[Frame], step: Callable[[float], None]
    ) -> bool:
        """Computes the frames; False when memory ran out and something smaller is left to try."""
        callers: list[Exception] = []

        def told(share: float) -> None:
            try:
                step(share)
            except Exception as error:  # the caller's own, even if it is a lack of memory
                callers.append(error)
                raise

        try:
            elsewhere = footprint is not self.footprint
            net = in_float32(self.model.net, "cpu") if elsewhere else self.model.net
            device = torch.device("cpu") if elsewhere else self.device
            for first in range(0, len(frames), plan.frames):
                group = frames[first:first + plan.frames]
                report = partial(_part, told, first, len(group), len(frames))
                with _no_autocast(device):
                    self._compute(net, device, footprint.dtype, plan, group, report)
            return True
        except Exception as error:
            last = footprint.device == "cpu" and next(smaller(plan, self.footprint), None) is None
            if callers or last or footprint is not self.footprint or not self.is_out_of_memory(error):
                raise
        return False

    def _compute(
        self, net: VitMatteForImageMatting, device: torch.device, dtype: torch.dtype, plan: Plan,
        frames: Sequence[Frame], step: Callable[[float], None],
    ) -> None:
        preprocessing = self.model.preprocessing
        shape = net.decoder.shape
        contract = SizeContract(preprocessing.divisor)
        height, width = (contract.padded(length) for length in frames[0].guide.shape)
        tiles = [cover(frame.unknown.cpu().numpy(), shape, height, width, plan.sides) for frame in frames]
        grid = height >> shape.levels, width >> shape.levels
        needed = torch.stack([features_seen(frame.unknown, grid, shape.levels) for frame in frames]).any(dim=0)
        done, total = 0, len(frames) * net.features.work(grid, int(needed.sum()), self.strided)
        total += sum(shape.work(tile) for ours in tiles for tile in ours)

        def advance(work: int) -> None:
            nonlocal done
            done += work
            step(done / total)

        def region(frame: Frame, rows: Span, columns: Span) -> Tensor:
            return preprocessing.region(frame.image, frame.guide, rows, columns, device, dtype)

        def regions(rows: Span, columns: Span) -> Tensor:
            found = [region(frame, rows, columns) for frame in frames]
            return torch.cat(found) if len(found) > 1 else found[0]

        run = Execution(plan.piece_bytes, plan.score_bytes, advance, self.strided)
        features = net.features.infer(regions, len(frames), grid, run, needed.to(device))
        run.watch(features)
        _check_finite(run, dtype)
        for i, (frame, ours) in enumerate(zip(frames, tiles, strict=True)):
            unknown = frame.unknown.to(frame.out.device)
            for tile in ours:
                place = slice(*tile.rows.matte), slice(*tile.columns.matte)
                found = net.decoder.infer(features[i:i + 1], partial(region, frame), tile, run)[0]
                frame.out[place] = torch.where(unknown[place], found.to(frame.out), frame.out[place])
                advance(shape.work(tile))
        _check_finite(run, dtype)


def footprint_of(
    net: VitMatteForImageMatting, height: int, width: int, dtype: torch.dtype, device: str, *, strided: bool = False
) -> Footprint:
    """What computing a frame with a net takes; see `Footprint`."""
    return Footprint(net.config, height, width, dtype, device, strided, net.foreign.numbers if net.foreign else 0)


def _no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which the precision is the one that was asked for, whatever the caller runs in."""
    try:
        return torch.autocast(device.type, enabled=False)
    except RuntimeError:  # a device that knows no autocast
        return nullcontext()


def _check_finite(run: Execution, dtype: torch.dtype) -> None:
    if run.overflowed(dtype):
        raise NotFiniteError(f"the net gives values that are infinite or not a number (NaN) in {dtype}: its weights "
                             "are damaged, or its training diverged. Load another checkpoint")


def in_float32(net: VitMatteForImageMatting, device: torch.device | str) -> VitMatteForImageMatting:
    """A copy of the net in float32 whose layers do what they do; one of ComfyUI's is made of torch's own layers."""
    if net.casts:
        return net_of(net.config, net.state_dict(), folded=net.folded, device=device, dtype=torch.float32)
    made: dict[int, object] = {}  # what deepcopy takes instead of copying: the original's device may have no room
    for x in (*net.parameters(), *net.buffers()):
        value = x.detach().to(device, torch.float32 if x.is_floating_point() else None)
        made[id(x)] = nn.Parameter(value, requires_grad=False) if isinstance(x, nn.Parameter) else value
    return deepcopy(net, made)


def _part(step: Callable[[float], None], first: int, count: int, total: int, share: float) -> None:
    """Reports a share of frames first to first + count as one of the total."""
    step((first + share * count) / total)
