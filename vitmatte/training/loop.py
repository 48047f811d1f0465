"""The training loop: batch, forward, loss, backward, step; log, validation and state in between."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..inference.context import PRECISIONS
from ..inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from ..model.block import VitDetAttention
from ..model.loss import matting_loss
from ..model.vitmatte import ViTMatte
from .data.composites import Compositor, Sample
from .data.pictures import find_backgrounds, find_foregrounds
from .data.stream import STOPS, Batch, batches, net_input
from .precision import choose_precision
from .recipe import Recipe
from .state import Training, append_row, averaged_net, only_one, resume, save, save_average
from .validation import mattes, score, validation_set, write_sheet

log = logging.getLogger(__name__)


def train(recipe: Recipe, *, stop_after: int | None = None) -> Training:
    """Runs a recipe from where its run folder stands to its last step, or until it is interrupted.

    Writes to the run folder: state.pt (to resume from), log.csv, validation.csv, sheets/, last/ and best/ (the
    averaged net, hub layout; best by validation MSE).

    Args:
        recipe: see `recipe.Recipe`.
        stop_after: steps to do at most in this call.

    Raises:
        FileNotFoundError, ValueError: for pictures or states; see `pictures` and `state`.
        RuntimeError: the loss is no longer finite, or another process trains in the run folder.
    """
    with only_one(Path(recipe.run)):
        return _train(recipe, stop_after)


def _train(recipe: Recipe, stop_after: int | None) -> Training:
    device = _device(recipe)
    if recipe.threads and device.type == "cpu":
        torch.set_num_threads(recipe.threads)
    training, folder = resume(recipe, device), Path(recipe.run)
    last = recipe.schedule.steps
    if stop_after is not None:
        last = min(x for x in (last, training.step + stop_after) if x is not None)
    compositor = Compositor(find_foregrounds(recipe.foregrounds), find_backgrounds(recipe.backgrounds), recipe.mixture)
    log.info("%d foregrounds, %d backgrounds", len(compositor.foregrounds), len(compositor.backgrounds))
    if recipe.workers:
        compositor.preload()
    samples = validation_set(recipe)
    trainer = _Trainer(recipe, training, device, choose_precision(recipe, training.net, device))
    log.info("from step %d to %s", training.step, last or "the interruption")
    saved = time.monotonic()
    with _interruptible() as interrupted:
        for crops, batch in batches(compositor, recipe, training.step, last):
            trainer.step(batch, crops.reach)
            if training.step % recipe.log_every == 0:
                trainer.report(folder)
            if samples and training.step % recipe.validate_every == 0:
                validate(training, recipe, samples, device)
            if time.monotonic() - saved > 60 * recipe.save_minutes:
                save(training, folder)
                saved = time.monotonic()
            if interrupted():
                break
        # Within, so that a second signal does not end the writing; first what would be lost.
        save(training, folder)
        save_average(training, recipe, folder / "last")
        if samples and training.step % recipe.validate_every:
            validate(training, recipe, samples, device)
            save(training, folder)
    log.info("stopped after step %d, %d composites, %.1f minutes in all", training.step, training.composites,
             training.seconds / 60)
    return training


class _Trainer:
    """One step after the other, and what is to be reported of them."""

    def __init__(self, recipe: Recipe, training: Training, device: torch.device, precision: str) -> None:
        self.recipe, self.training, self.device = recipe, training, device
        self.statistics = [torch.tensor(x, device=device) for x in (IMAGENET_MEAN, IMAGENET_STD)]
        training.net.decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.precision = PRECISIONS[precision]
        self._forget()

    def _forget(self) -> None:
        self.sums: dict[str, float] = {}
        self.steps = self.crops = 0
        self.began, self.waited = time.monotonic(), 0.0
        self.ended = self.began

    def step(self, batch: Batch, reach: int | None) -> None:
        """Forward, within a reach, backward and one step of the optimizers."""
        training, recipe = self.training, self.recipe
        begin = time.monotonic()
        self.waited += begin - self.ended
        image, alpha, trimap = (x.to(self.device, non_blocking=True) for x in batch)
        x = net_input(image, trimap, *self.statistics).contiguous(memory_format=torch.channels_last)
        labels, unknown = (alpha.float() / 255).unsqueeze(1), (trimap == 128).unsqueeze(1)
        rate = recipe.schedule.at(training.step)
        set_reach(training.net, reach)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            alphas = training.net(x)
        loss, parts = matting_loss(alphas, labels, unknown, recipe.loss)
        if not torch.isfinite(loss):
            raise RuntimeError(f"the loss is {float(loss)} at step {training.step}; resume with a lower rate")
        self._descend(loss, rate)
        training.average.update(training.net)
        training.step += 1
        training.composites += len(image)
        self.ended = time.monotonic()
        training.seconds += self.ended - begin
        self.steps, self.crops = self.steps + 1, self.crops + len(image)
        for name, value in (("loss", loss), *parts.items()):
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def _descend(self, loss: Tensor, rate: float) -> None:
        training = self.training
        self.scaler.scale(loss).backward()
        for optimizer in training.optimizers:
            self.scaler.unscale_(optimizer)
            for group in optimizer.param_groups:
                group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(training.net.parameters(), self.recipe.clip)
        for optimizer in training.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()

    def report(self, folder: Path) -> None:
        """A line for the log, of the steps since the last one; `waited` is the share of time without data."""
        spent = max(time.monotonic() - self.began, 1e-9)
        means = {name: value / self.steps for name, value in self.sums.items()}
        row: dict[str, float | int] = {
            "step": self.training.step, "minutes": self.training.seconds / 60,
            "rate": self.recipe.schedule.at(self.training.step), "crops_per_second": self.crops / spent,
            "waited": self.waited / spent, **means,
        }
        append_row(folder / "log.csv", row)
        log.info("step %d: loss %.4f, %.1f crops/s", self.training.step, means["loss"], self.crops / spent)
        self._forget()


def set_reach(net: ViTMatte, reach: int | None) -> None:
    """Has the global blocks attend within a reach; None: that of the net's configuration."""
    transformer = net.architecture.transformer
    for layer in net.modules():
        if isinstance(layer, VitDetAttention) and not layer.window:
            layer.reach = reach if reach is not None or transformer is None else transformer.attention_reach


def validate(training: Training, recipe: Recipe, samples: list[Sample], device: torch.device) -> None:
    """Scores the averaged net, writes a contact sheet, and keeps the net as best/ when it is."""
    net, folder = averaged_net(training, recipe), Path(recipe.run)
    found = mattes(net, samples, device)
    result = score(samples, found)
    append_row(folder / "validation.csv", {"step": training.step, "minutes": training.seconds / 60, **vars(result)})
    write_sheet(folder / "sheets" / f"{training.step:07}.png", samples, found)
    log.info("validation at step %d: MSE %.5f (median %.5f)", training.step, result.mse, result.mse_median)
    if result.mse < training.best:
        training.best = result.mse
        save_average(training, recipe, folder / "best")


def _device(recipe: Recipe) -> torch.device:
    if recipe.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(recipe.device)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether SIGINT, SIGTERM or SIGHUP has come; the step at hand is finished first.

    A SIGHUP that is ignored (nohup) stays ignored.
    """
    came: list[int] = []
    wanted = [s for s in STOPS if s.name != "SIGHUP" or signal.getsignal(s) is not signal.SIG_IGN]
    try:
        before = [signal.signal(s, lambda number, _: came.append(number)) for s in wanted]
    except ValueError:  # not the main thread: signals are somebody else's
        yield lambda: False
        return
    try:
        yield lambda: bool(came)
    finally:
        for s, handler in zip(wanted, before, strict=True):
            signal.signal(s, handler)
