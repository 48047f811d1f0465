"""One frame's matte: the transformer over the whole picture, the decoder where the trimap is unknown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .execution import Execution
from .memory import Footprint, Plan, make_plan, smaller
from .model import VitMatteForImageMatting
from .processing import Preprocessing
from .size import SizeContract, Span
from .tiles import Tile, cover
from .work import transformer_work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MattingModel:
    """A net together with the preprocessing it was trained with.

    Args:
        net: in evaluation mode.
        preprocessing: what its input is made with.
    """

    net: VitMatteForImageMatting
    preprocessing: Preprocessing


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that an allocation failed, on any device."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        said in words for said in ("out of memory", "can't allocate memory", "not enough memory")
    )


class FrameTask:
    """Computes frames of one size, one after another, in smaller pieces once memory has run out.

    Args:
        model: net and preprocessing.
        height, width: of the frames, in pixels.
        device, dtype: where and in which precision to compute.
        memory_limit: see `memory.make_plan`.
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
        memory_limit: int | None,
        strided: bool,
        is_out_of_memory: Callable[[Exception], bool],
        free_memory: Callable[[], None] | None,
    ) -> None:
        self.model, self.device, self.dtype, self.strided = model, device, dtype, strided
        self.is_out_of_memory, self.free_memory = is_out_of_memory, free_memory
        self.footprint = Footprint(model.net.config, height, width, dtype, device.type, strided)
        self.plan = make_plan(self.footprint, device=device.type, memory_limit=memory_limit)

    def run(self, image: Tensor, guide: Tensor, unknown: Tensor, out: Tensor, step: Callable[[float], None]) -> None:
        """Writes the net's alpha to the unknown pixels of a frame.

        Args:
            image: [H, W, 3] in 0..1.
            guide: [H, W], the trimap with 0 and 1 where it is sure.
            unknown: [H, W], bool, true somewhere.
            out: [H, W], float32; only its unknown pixels are written.
            step: called often with the share of the work that is done.
        """
        for device, plan in self._attempts():
            # Outside the except block, where nothing holds on to the failed attempt's tensors any more.
            if self._tried(device, plan, image, guide, unknown, out, step):
                self.device, self.plan = device, plan
                return
            if self.free_memory is not None:
                self.free_memory()

    def _attempts(self) -> Iterator[tuple[torch.device, Plan]]:
        yield self.device, self.plan
        for plan in smaller(self.plan, self.footprint):
            log.warning("out of memory: trying again in pieces of %d KiB and tiles of %d pixels",
                        plan.piece_bytes // 1024, plan.side)
            yield self.device, plan
        if self.device.type != "cpu":
            log.warning("out of memory in the smallest pieces: this frame is computed on the CPU")
            yield torch.device("cpu"), make_plan(replace(self.footprint, device="cpu"))
        # The last attempt let its error through; see _tried.

    def _tried(self, device: torch.device, plan: Plan, image: Tensor, guide: Tensor, unknown: Tensor, out: Tensor,
               step: Callable[[float], None]) -> bool:
        """Computes the frame; False when memory ran out and something smaller is left to try."""
        try:
            self._compute(device, plan, image, guide, unknown, out, step)
            return True
        except Exception as error:
            smallest = device.type == "cpu" and next(smaller(plan, self.footprint), None) is None
            if smallest or not self.is_out_of_memory(error):
                raise
        return False

    def _compute(self, device: torch.device, plan: Plan, image: Tensor, guide: Tensor, unknown: Tensor, out: Tensor,
                 step: Callable[[float], None]) -> None:
        net, preprocessing = self.model.net, self.model.preprocessing
        contract = SizeContract(preprocessing.divisor)
        height, width = (contract.padded(length) for length in guide.shape)
        tiles = cover(unknown.cpu().numpy(), net.decoder.shape, height, width, plan.sides)
        patch = 2 ** net.decoder.shape.levels
        grid = height // patch, width // patch
        needed = _tokens(tiles, grid)
        done, total = 0, transformer_work(net.config.vitdet, grid, int(needed.sum()), self.strided)
        total += sum(net.decoder.shape.work(tile) for tile in tiles)

        def advance(work: int) -> None:
            nonlocal done
            done += work
            step(done / total)

        def region(rows: Span, columns: Span) -> Tensor:
            return preprocessing.region(image, guide, rows, columns, device, self.dtype)

        run = Execution(plan.piece_bytes, plan.score_bytes, advance, self.strided)
        features = net.backbone.infer(region, 1, grid, run, needed.to(device))
        for tile in tiles:
            place = slice(*tile.rows.matte), slice(*tile.columns.matte)
            found = net.decoder.infer(features, region, tile, run)[0].to(out.device, out.dtype)
            out[place] = torch.where(unknown[place].to(out.device), found, out[place])
            advance(net.decoder.shape.work(tile))


def _tokens(tiles: list[Tile], grid: tuple[int, int]) -> Tensor:
    """bool [H, W]: the tokens whose features the tiles read."""
    needed = torch.zeros(grid, dtype=torch.bool)
    for tile in tiles:
        needed[slice(*tile.rows.features[-1]), slice(*tile.columns.features[-1])] = True
    return needed
