"""The task of cutting subjects out of photographs."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checks import check_choice, check_number, unequal
from ..compositing.blend import FITS, SCREENS, colour
from ..compositing.cutout import cut_out, replace_background
from ..inference.context import PRECISIONS
from ..inference.matting import matte
from ..inference.model import NORMALIZATIONS, MattingModel, device_of, load_model
from ..inference.plan import MEBI
from ..inference.planning import MemoryLimitError
from ..inference.scope import STRATEGIES, scope_of
from ..pictures.formats import Bits, Form
from ..pictures.metadata import Metadata
from ..pictures.profiles import converted
from ..pictures.reading import Photograph, read_photograph, read_size, read_trimap, tell_clipped
from ..pictures.writing import check_image_name, check_matte_name, has_max_side, write_image, write_matte
from ..refinement.refine import check_strength
from ..weights.load import architecture_of
from ..weights.released import BUNDLED, BUNDLED_FOLDER
from .heard import about
from .jobs import Job
from .outcome import Progress
from .trimap import MaskOptions, unknown_share

log = logging.getLogger(__name__)

COLOURS = ("estimated", "picture")


@dataclass(frozen=True)
class Cutout:
    """How subjects are cut out, in plain values. Names are the command line's.

    Args:
        mask: how the jobs' guides, which are masks, become trimaps; None where they are trimaps.
        model, device, precision, normalization: see `load_model`; device may be "auto".
        models_folder: where released models are kept.
        strategy, reach, refine: see `matte`.
        memory_limit: MB that a matte may take.
        background: a colour or the name of a picture; None for transparency.
        fit, linear, despill: see `replace_background`.
        colours: "estimated" or "picture".
        bits, premultiplied, compression: of the cut-outs' files, see `write_image`.
    """

    mask: MaskOptions | None = field(default_factory=MaskOptions)
    model: str = BUNDLED
    device: str = "auto"
    precision: str = "fp32"
    normalization: str = "as_trained"
    models_folder: str | None = None
    strategy: str = "auto"
    reach: int | None = None
    refine: float | None = None
    memory_limit: float | None = None
    background: str | None = None
    fit: str = "cover"
    linear: bool = False
    colours: str = "estimated"
    despill: str = "none"
    bits: Bits | None = None
    premultiplied: bool | None = None
    compression: str | None = None

    @property
    def form(self) -> Form:
        """How cut-outs are written."""
        return Form(self.bits, self.premultiplied, self.compression)

    def check(self) -> None:
        """Raises ValueError or FileNotFoundError, before any work, for values that are not as described, a mask's
        options or a background that cannot be."""
        for name, known in (("precision", PRECISIONS), ("normalization", NORMALIZATIONS), ("strategy", STRATEGIES),
                            ("fit", FITS), ("colours", COLOURS), ("despill", SCREENS)):
            check_choice(name, getattr(self, name), known)
        if self.refine is not None:
            check_strength("refine", self.refine)
        if self.memory_limit is not None:
            check_number("memory_limit", self.memory_limit, "a number of MB, 0 or more")
        if self.mask is not None:
            self.mask.check()
        if self.background is not None and (path := _picture_of(self.background)) is not None:
            read_size(path)

    def check_names(self, job: Job) -> None:
        """Raises ValueError unless the formats of its results' names can hold them; RuntimeError where one needs a
        package that is not there."""
        size = read_size(job.photo) if has_max_side(job.output) else None
        check_image_name(job.output, transparent=self.background is None, size=size, form=self.form)
        if job.alpha is not None:
            check_matte_name(job.alpha, self.form.of_matte(job.alpha))

    def loaded(self) -> LoadedCutout:
        """See `Task`. Raises as `load_model` and reading the background do."""
        path = None if self.background is None else _picture_of(self.background)
        behind = None
        if path is not None:
            behind = read_photograph(path)
            if behind.is_light:
                tell_clipped(path, behind.image)
            behind = replace(behind, image=behind.seen)
        elif self.background is not None:
            behind = Photograph(colour(self.background), None, Metadata())
        model = load_model(self.model, device=device_of(self.device), dtype=PRECISIONS[self.precision],
                           normalization=self.normalization,  # type: ignore[arg-type]
                           folder=self.models_folder)
        return LoadedCutout(self, model, behind)

    def options(self, suffix: str | None) -> dict[str, Any]:
        """See `Task`: not where the net runs and in how much memory, which change results by rounding at most."""
        left = {"device", "models_folder", "memory_limit", "mask"}
        found: dict[str, Any] = {name: value for name, value in asdict(self).items() if name not in left}
        found |= {} if self.mask is None else {f"mask_{name}": value for name, value in asdict(self.mask).items()}
        found |= self.form.without_defaults(suffix).chosen() | self._of_net()
        path = BUNDLED_FOLDER if self.model == BUNDLED else Path(self.model)
        files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
        return {"task": "cutout", **found, "model_files": _digest([one for one in files if one.is_file()])}

    def _of_net(self) -> dict[str, Any]:
        """What strategy, reach and refine mean for the model; a reach of None follows the unknown area."""
        net = architecture_of(self.model)
        rule = scope_of(self.strategy, net, reach=self.reach)  # type: ignore[arg-type]
        is_local = rule.widest.margin is not None
        return {"strategy": "grid" if rule.widest.strided else "local" if is_local else "exact",
                "reach": rule.widest.reach if is_local and rule.least is None else None,
                "refine": net.refine if self.refine is None else self.refine}


def _digest(files: list[Path]) -> str | None:
    """Of the content of files; None where there are none, as of a released model by its name."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
    return digest.hexdigest()[:16] if files else None


def _picture_of(background: str) -> Path | None:
    """The picture of that name; None for a colour, which a picture of its name goes before."""
    if not Path(background).exists():
        try:
            colour(background)
            return None
        except ValueError as error:
            if background.startswith("#"):
                raise
            raise FileNotFoundError(f"no picture {background}, for the background; as a colour: {error}") from error
    return Path(background)


@dataclass(frozen=True)
class Given:
    """A job's photograph and trimap [1, H, W], and the share of it that is unknown."""

    job: Job
    photo: Photograph
    trimap: Tensor
    unknown: float


@dataclass(frozen=True)
class Matted:
    """A job's photograph and matte [H, W]."""

    job: Job
    photo: Photograph
    alpha: Tensor


@dataclass(frozen=True)
class LoadedCutout:
    """The task with its model and background; see `Loaded`."""

    task: Cutout
    model: MattingModel
    background: Photograph | None

    def read(self, job: Job) -> Given:
        """Decodes the photograph and its trimap, or makes the trimap of its mask."""
        photo, mask = read_photograph(job.photo), self.task.mask
        with about(job.guide):
            if mask is None:
                trimap = read_trimap(job.guide)
                if bool(trimap.min() == trimap.max()) and float(trimap.min()) in (0.0, 1.0):
                    log.warning("no unknown area: all of it is one value, and the matte will be that")
            else:
                trimap = mask.of_job(job, str(job.guide), photo.seen)
        size, given = photo.image.shape[1:3], trimap.shape[1:]
        if mask is not None and size != given:
            raise ValueError(f"{job.photo} with {job.guide}: "
                             f"{unequal('the photograph', size, 'the mask', given, trimap)}")
        return Given(job, photo, trimap, unknown_share(trimap))

    def compute(self, given: Given, on_progress: Progress | None = None) -> Matted:
        """Runs the net."""
        task, job = self.task, given.job
        limit = None if task.memory_limit is None else int(task.memory_limit * MEBI)
        try:
            alpha = matte(self.model, given.photo.seen, given.trimap, memory_limit=limit, reach=task.reach,
                          strategy=task.strategy,  # type: ignore[arg-type]
                          refine=task.refine, on_progress=on_progress)
        except MemoryLimitError as error:
            raise too_little(task.memory_limit, str(job.photo), error) from error
        except ValueError as error:
            raise ValueError(f"{job.photo} with {job.guide}: {error}") from error
        return Matted(job, given.photo, alpha[0])

    def write(self, computed: Matted) -> None:
        """Makes the cut-out and writes it, and the matte where it is wanted. All that is written is written here."""
        job, photo = computed.job, computed.photo
        form = self.task.form
        write_image(job.output, self._picture(photo, computed.alpha[None]), profile=photo.profile,
                    metadata=photo.metadata, **form.of(job.output, photo.bits).chosen())
        if job.alpha is not None:
            of_matte = form.of_matte(job.alpha)
            write_matte(job.alpha, computed.alpha, bits=of_matte.bits, compression=of_matte.compression,
                        metadata=photo.metadata)

    def _picture(self, photo: Photograph, alpha: Tensor) -> Tensor:
        """The cut-out [H, W, 4], or the picture [H, W, 3] on a background."""
        task = self.task
        how: dict[str, Any] = {"estimate": task.colours == "estimated", "despill": task.despill,
                               "high_range": photo.is_light}
        if self.background is None:
            return cut_out(photo.image, alpha, **how)[0]
        # To the space of what is written.
        behind = converted(self.background.image, self.background.profile, photo.profile)
        return replace_background(photo.image, alpha, behind, fit=task.fit,  # type: ignore[arg-type]
                                  linear=task.linear, **how)[0]


def too_little(limit: float | None, name: str, error: MemoryLimitError) -> ValueError:
    """The error to raise where a memory limit in MB is below the least."""
    return ValueError(f"{name}: --memory-limit is {limit:g} MB; its matte takes at least {-(-error.least // MEBI)} MB "
                      "with this model and precision")
