"""The configuration of a training run: a JSON file, read strictly into frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..checks import check_choice
from ..inference.context import PRECISIONS
from ..model.config import MattingConfig
from ..model.loss import LossWeights
from ..values import read_json
from ..weights.config_file import matting_config
from .from_json import build


def _at_least(least: float, thing: object, *names: str) -> None:
    for name in names:
        value = getattr(thing, name)
        if value is not None and not value >= least:
            raise ValueError(f"{type(thing).__name__}: {name} is {value!r}; expected at least {least:g}")


def _some_weight(kind: str, things: Sequence[Any]) -> None:
    if not any(thing.weight > 0 for thing in things):
        raise ValueError(f"{kind} needs at least one entry with a weight above 0")


@dataclass(frozen=True)
class Source:
    """A folder of pictures.

    Args:
        folder: see `pictures.find_foregrounds` for the layouts; relative to the recipe.
        index: a CSV with a column `file` (relative to the CSV's folder); then only its files count.
        where: column of the index -> values wanted, such as {"split": ["train"]}.
        weight: how often a picture is drawn from here, against the other sources.
    """

    folder: str
    index: str | None = None
    where: dict[str, list[str]] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        _at_least(0, self, "weight")


@dataclass(frozen=True)
class Mixture:
    """How composites are made; each number but `enlargement` and `unknown` is a probability.

    Args:
        strands, sheer: a procedural foreground instead of one from the folders: hair and fur; glass, veils and smoke.
        borrowed_colour: a foreground takes its colours from a photograph and keeps its alpha.
        second: two foregrounds are fused to one (Tang et al., arXiv 1909.09725; Li and Lu, GCA, arXiv 2001.04069).
        defocus, motion: the foreground is blurred together with its alpha.
        background_blur: the background is out of focus.
        alike: the background is given the foreground's mean colour.
        noise, jpeg, gamma: of the finished picture.
        rough: the trimap comes from a hard mask, as users make it, and not from the alpha.
        wide: further areas of the trimap are unknown.
        mesh: a net, fence, lattice or cloth instead of a foreground from the folders.
        natural: procedural hair has a hair's colour and not a photograph's.
        patterned: of the other foregrounds, instead of their own colours: several, in stripes, checks or patches.
        linear: soft pixels are mixed in linear light.
        enlargement: foregrounds are enlarged at most so many times.
        unknown: the wanted mean share of unknown pixels in crops of 512 pixels; smaller crops have more, by the root
            of the ratio of the sides. 0: bands of random widths, whatever share comes of them.
        parts: whole parts of an object are unknown, those of other colours or one of two foregrounds; needs `unknown`.
    """

    strands: float = 0.18
    sheer: float = 0.10
    borrowed_colour: float = 0.25
    second: float = 0.2
    defocus: float = 0.15
    motion: float = 0.08
    background_blur: float = 0.5
    alike: float = 0.12
    noise: float = 0.5
    jpeg: float = 0.4
    gamma: float = 0.3
    rough: float = 0.3
    wide: float = 0.12
    mesh: float = 0.0
    natural: float = 0.0
    patterned: float = 0.0
    linear: float = 0.0
    enlargement: float = 2.5
    unknown: float = 0.0
    parts: float = 0.0

    def __post_init__(self) -> None:
        _at_least(1, self, "enlargement")
        for f in fields(self):
            if f.name == "enlargement":
                continue
            value = getattr(self, f.name)
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"Mixture: {f.name} is {value!r}; expected a probability from 0 to 1")


@dataclass(frozen=True)
class Crops:
    """A kind of batch: side of the crops in pixels (a multiple of 32), crops per batch, and how often it is drawn."""

    size: int
    batch: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32 or self.batch < 1 or self.weight < 0:
            raise ValueError(f"Crops: {self}; expected a size that is a multiple of 32, a batch of at least 1 and a "
                             "weight of at least 0")


@dataclass(frozen=True)
class Phase:
    """Steps up to `until` (None: the end) draw their batches from `crops`."""

    crops: list[Crops]
    until: int | None = None

    def __post_init__(self) -> None:
        _some_weight("Phase: crops", self.crops)


@dataclass(frozen=True)
class Schedule:
    """Learning rate: rises over `warmup` steps, stays, and falls linearly to 0 over the last `decay` of `steps`.

    A run without an end (`steps` None) can be stopped and given one at any time (Hu et al., arXiv 2404.06395).

    Args:
        rate: of the flat part. steps: the last step, or None.
    """

    rate: float = 2e-3
    warmup: int = 200
    steps: int | None = None
    decay: int = 0

    def __post_init__(self) -> None:
        _at_least(0, self, "rate", "warmup", "steps", "decay")

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate = self.rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.steps is None or not self.decay:
            return rate
        return rate * min(1.0, max(0.0, (self.steps - step) / self.decay))


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Args:
        foregrounds, backgrounds: where pictures come from.
        model: the architecture, as in config.json.
        run: folder for state, log, contact sheets and the result; relative to the recipe.
        validation_foregrounds, validation_backgrounds: pictures for the fixed validation set; none: no validation.
        backbone: a plain ViT's weights to start from; see `vit_weights`.
        start: a net to begin from, of the recipe's model: a folder or a file of weights, such as what `publish` wrote.
            Weights alone: optimizers begin anew and steps count from 0. A state in the run folder comes first.
        optimizer: "muon" or "adamw"; see `optimizer`.
        weight_decay, clip: of the optimizer; largest norm of the gradient.
        average: decay of the exponential moving average of the weights.
        precision: "bf16", "fp16" (CUDA only) or "fp32", of products and convolutions; "auto" measures bf16 and fp32
            at the start of every call and takes the faster.
        device: "auto", "cpu", "cuda", ...
        threads: of torch on a CPU; None: torch's choice. workers: processes that make composites.
        save_minutes, validate_every, log_every: how often.
        validation_size, validation_count: side of the validation composites in pixels, and how many.
        seed: of weights and data.
    """

    foregrounds: list[Source]
    backgrounds: list[Source]
    model: MattingConfig
    run: str
    validation_foregrounds: list[Source] = field(default_factory=list)
    validation_backgrounds: list[Source] = field(default_factory=list)
    backbone: str | None = None
    start: str | None = None
    mixture: Mixture = field(default_factory=Mixture)
    phases: list[Phase] = field(default_factory=lambda: [Phase([Crops(256, 16)])])
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossWeights = field(default_factory=LossWeights)
    optimizer: str = "muon"
    weight_decay: float = 0.02
    clip: float = 1.0
    average: float = 0.999
    precision: str = "auto"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    save_minutes: float = 5.0
    validate_every: int = 1000
    log_every: int = 50
    validation_size: int = 256
    validation_count: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("Recipe: optimizer", self.optimizer, ("muon", "adamw"))
        check_choice("Recipe: precision", self.precision, ("auto", *sorted(PRECISIONS)))
        for name in ("foregrounds", "backgrounds"):
            _some_weight(f"Recipe: {name}", getattr(self, name))
        if not self.phases:
            raise ValueError("Recipe: phases needs at least one entry")
        _at_least(0, self, "weight_decay", "average", "workers", "save_minutes", "seed", "clip", "validation_count")
        _at_least(1, self, "threads", "validate_every", "log_every", "validation_size")
        if self.backbone is not None and self.start is not None:
            raise ValueError(f"Recipe: backbone is {self.backbone!r} and start {self.start!r}; expected at most one "
                             "of the two: start gives the backbone's weights too")
        if self.average > 1:
            raise ValueError(f"Recipe: average is {self.average!r}; expected a decay from 0 to 1")

    def crops_at(self, step: int) -> list[Crops]:
        """What the batch of a step is drawn from."""
        for phase in self.phases:
            if phase.until is None or step < phase.until:
                return phase.crops
        return self.phases[-1].crops


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from its JSON file; folders in it are relative to the file, and come out absolute.

    Raises:
        FileNotFoundError, ValueError: not there, not JSON, or with a key or value that is not as described.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no recipe {path}")
    values = read_json(path)
    values.pop("comment", None)
    try:
        if isinstance(values.get("model"), dict):
            values["model"] = matting_config(values["model"])
        recipe = build(Recipe, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    base = path.resolve().parent

    def absolute(sources: list[Source]) -> list[Source]:
        return [dataclasses.replace(s, folder=str(base / s.folder), index=s.index and str(base / s.index))
                for s in sources]

    return dataclasses.replace(
        recipe, run=str(base / recipe.run), backbone=recipe.backbone and str(base / recipe.backbone),
        start=recipe.start and str(base / recipe.start),
        foregrounds=absolute(recipe.foregrounds), backgrounds=absolute(recipe.backgrounds),
        validation_foregrounds=absolute(recipe.validation_foregrounds),
        validation_backgrounds=absolute(recipe.validation_backgrounds),
    )
