"""The configuration of a training run: a JSON file, read strictly into frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checks import check_choice
from ..files import not_there
from ..inference.context import PRECISIONS
from ..model.config import MattingConfig
from ..model.loss import LossWeights
from ..values import at_least, check_values, read_json
from ..weights.config_file import matting_config
from .from_json import build
from .mixture import Mixture

AT_LEAST_0 = ("weight_decay", "average", "workers", "save_minutes", "seed", "clip", "validation_count")
AT_LEAST_1 = ("validate_every", "log_every", "validation_size")


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
        check_values("Source", vars(self), {"weight": at_least(0)})


@dataclass(frozen=True)
class Crops:
    """A kind of batch: side of the crops in pixels (a multiple of 32), crops per batch, and how often it is drawn.

    reach: global blocks attend to keys at most so many tokens away in these batches; None: the model's
    `attention_reach`. A net that learns with several reaches can be run with any of them.
    """

    size: int
    batch: int
    weight: float = 1.0
    reach: int | None = None

    def __post_init__(self) -> None:
        check_values("Crops", vars(self), {"reach": at_least(1, optional=True)})
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
        check_values("Schedule", vars(self), dict.fromkeys(("rate", "warmup", "decay"), at_least(0)))
        check_values("Schedule", vars(self), {"steps": at_least(0, optional=True)})

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
        check_values("Recipe", vars(self), dict.fromkeys(AT_LEAST_0, at_least(0)))
        check_values("Recipe", vars(self), dict.fromkeys(AT_LEAST_1, at_least(1)))
        check_values("Recipe", vars(self), {"threads": at_least(1, optional=True)})
        if self.backbone is not None and self.start is not None:
            raise ValueError(f"Recipe: backbone is {self.backbone!r} and start {self.start!r}; expected at most one "
                             "of the two: start gives the backbone's weights too")
        if self.model.routes_tokens:
            raise ValueError("Recipe: model has max_routed_tokens; expected a net without, because routers learn with "
                             "a teacher and noise on their decisions, which is not built: train a MEMatte with its "
                             "authors' code")
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
        raise not_there(path, "recipe")
    values = read_json(path)
    values.pop("comment", None)
    try:
        if isinstance(values.get("model"), dict):
            values["model"] = matting_config(values["model"])
            if values["model"].diffusion is not None:
                raise ValueError("model: model_type is 'diffmatte'; expected 'vitmatte': DiffMatte's decoder is not "
                                 "trained here")
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
