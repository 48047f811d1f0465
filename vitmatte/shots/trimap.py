"""Masks to trimaps: the task, and how its options make one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ..checks import TOLERANCE
from ..pictures.formats import Form
from ..pictures.reading import read_image, read_mask
from ..pictures.writing import write_trimap
from ..trimap.known import known_areas
from ..trimap.make import INNER, OUTER, Unit, check_options, make_trimap
from .jobs import Job
from .outcome import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskOptions:
    """How a mask becomes a trimap; see `make_trimap`."""

    inner: float = INNER
    outer: float = OUTER
    unit: Unit = "pixels"
    strands: float = 0.0
    invert: bool = False
    low: float = 0.0
    high: float = 1.0
    fill_holes: int = 0
    remove_specks: int = 0

    def check(self) -> None:
        """Raises ValueError for options that `make_trimap` does not take."""
        check_options(inner=self.inner, outer=self.outer, strands=self.strands, unit=self.unit, low=self.low,
                      high=self.high, fill_holes=self.fill_holes, remove_specks=self.remove_specks)

    def trimap(self, values: Tensor, image: Tensor | None, marks: Mapping[str, Any], mask: str) -> Tensor:
        """The trimap [1, H, W] of a mask [1, H, W]; the photograph [1, H, W, 3] is for strands, `mask` its name for
        messages.

        Raises:
            ValueError: from `make_trimap`, with the mask's name.
        """
        image = image if self.strands > 0 else None
        darkest, brightest = (float(value) for value in values.aminmax())
        if self.high == 1 and 0 < brightest < 1 - TOLERANCE and not self.invert:
            log.warning("%s: nothing in it is white: its values reach from %.3g to %.3g of 1, and below --high they "
                        "are no foreground", mask, darkest, brightest)
        try:
            return make_trimap(values, image=image, **asdict(self), **dict(marks))
        except ValueError as error:
            raise ValueError(f"{mask}: {error}") from error

    def of_job(self, job: Job, mask: str, image: Tensor | None) -> Tensor:
        """The trimap [1, H, W] of a mask's file, with the files of its job's marks.

        Raises:
            ValueError, OSError: from reading and from `make_trimap`, with the mask's name.
        """
        marks = {name: read_mask(path) for name, path in job.marks}
        return self.trimap(read_mask(mask), image, marks, mask)


@dataclass(frozen=True)
class MadeTrimap:
    """A trimap [1, H, W] for a job."""

    job: Job
    trimap: Tensor
    unknown: float
    compression: str | None


@dataclass(frozen=True)
class Trimap:
    """The task of making trimaps; the job's photo is the mask, its guide the photograph."""

    mask: MaskOptions
    compression: str | None = None

    def loaded(self) -> Trimap:
        """See `Task`."""
        return self

    def options(self, suffix: str | None) -> dict[str, Any]:
        """See `Task`."""
        form = Form(compression=self.compression).without_defaults(suffix)
        return {"task": "trimap", **asdict(self.mask), "compression": form.compression}

    def read(self, job: Job) -> MadeTrimap:
        """See `Loaded`. All of the work is here, on a processor."""
        image = read_image(job.guide) if self.mask.strands > 0 else None
        trimap = self.mask.of_job(job, str(job.photo), image)
        return MadeTrimap(job, trimap, unknown_share(trimap), self.compression)

    def compute(self, given: MadeTrimap, on_progress: Progress | None = None) -> MadeTrimap:
        """See `Loaded`."""
        return given

    def write(self, computed: MadeTrimap) -> None:
        """See `Loaded`."""
        write_trimap(computed.job.output, computed.trimap[0], compression=computed.compression)


def unknown_share(trimap: Tensor) -> float:
    """The unknown area's share of trimaps."""
    foreground, background = known_areas(trimap)
    return 1 - float((foreground | background).float().mean())
