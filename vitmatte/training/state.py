"""What a run leaves on disk, so that it can go on: weights, average, optimizers and the step, in one file."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..files import check_can_write, check_new_folder, make_folder, whole_file
from ..model.vitmatte import ViTMatte
from ..weights.load import read_checkpoint
from ..weights.save import save_net
from ..weights.tensors import read_pickle
from .ema import Average
from .optimizer import make_optimizers
from .recipe import Recipe
from .vit_weights import load_plain_backbone

log = logging.getLogger(__name__)

STATE = "state.pt"


@dataclass
class Training:
    """A run in progress.

    step, composites: how many of them it has seen. seconds: spent on steps. best: the smallest validation error so far.
    """

    net: ViTMatte
    average: Average
    optimizers: list[torch.optim.Optimizer]
    step: int = 0
    composites: int = 0
    seconds: float = 0.0
    best: float = float("inf")


def fresh(recipe: Recipe, device: torch.device) -> Training:
    """A run at its beginning."""
    torch.manual_seed(recipe.seed)
    net = ViTMatte(recipe.model).to(device).train()
    if recipe.backbone is not None:
        load_plain_backbone(net, recipe.backbone)
    if recipe.start is not None:
        load_start(net, recipe.start)
    return Training(net, Average(net, recipe.average), _optimizers(net, recipe))


def load_start(net: ViTMatte, path: str) -> None:
    """Gives a net the weights of another of its shape; half precision becomes single.

    Raises:
        FileNotFoundError, ValueError: no such file or folder, not a ViTMatte's weights, or those of another net.
    """
    checkpoint = read_checkpoint(path)
    file, state = checkpoint.path, checkpoint.state
    expected = net.state_dict()
    # `publish` adds positions of zeros to nets without any.
    state = {name: value for name, value in state.items()
             if name in expected or not (name.endswith("position_embeddings") and not value.any())}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{file} is of another net than the recipe's model ({str(error)[:300]}); give the recipe the "
                         "model in that net's config.json") from error
    log.info("begins with the weights of %s", file)


def _optimizers(net: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    return make_optimizers(net, recipe.optimizer, recipe.schedule.rate, recipe.weight_decay)


def save(training: Training, folder: Path) -> None:
    """Writes the state, whole or not at all."""
    content: dict[str, Any] = {
        "net": training.net.state_dict(), "average": training.average.state, "updates": training.average.updates,
        "optimizers": [optimizer.state_dict() for optimizer in training.optimizers],
        "step": training.step, "composites": training.composites, "seconds": training.seconds, "best": training.best,
    }
    written = io.BytesIO()  # where torch itself cannot write to a file, its error does not say why
    torch.save(content, written)
    with whole_file(folder / STATE) as path:
        path.write_bytes(written.getbuffer())


def resume(recipe: Recipe, device: torch.device) -> Training:
    """The run in the recipe's folder, or a fresh one where there is none.

    Raises:
        ValueError: a state of another net or optimizer than the recipe's, or a damaged one.
    """
    training, path = fresh(recipe, device), Path(recipe.run) / STATE
    if not path.is_file():
        return training
    content = read_pickle(path, mapped=False, device=device)
    try:
        training.net.load_state_dict(content["net"])
        for optimizer, state in zip(training.optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        training.average.state, training.average.updates = content["average"], content["updates"]
        training.step, training.seconds, training.best = content["step"], content["seconds"], content["best"]
        training.composites = content.get("composites", 0)  # states of older versions do not count them
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is the state of another net or optimizer than the recipe's ({error}); give the "
                         "recipe another run folder, or remove the state to start again") from error
    return training


def save_average(training: Training, recipe: Recipe, folder: Path) -> None:
    """Writes the averaged net in the hub's layout."""
    save_net(averaged_net(training, recipe), folder)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keeps the run folder for this process. Raises RuntimeError when another has it."""
    from filelock import FileLock, Timeout  # comes with huggingface_hub

    check_new_folder(folder, "run")
    check_can_write(folder / STATE)
    make_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(f"another process trains in {folder}; stop it first, or give the recipe another run "
                           "folder") from None
    try:
        yield
    finally:
        lock.release()


def averaged_net(training: Training, recipe: Recipe) -> ViTMatte:
    """A net with the averaged weights, in evaluation mode."""
    net = ViTMatte(recipe.model, device="meta")
    net.load_state_dict(training.average.state, assign=True)
    return net.eval()


def append_row(path: Path, row: dict[str, float | int]) -> None:
    """Adds a line to a CSV file, and the heading where it is new."""
    make_folder(path.parent)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
