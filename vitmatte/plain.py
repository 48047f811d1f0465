"""Results that belong to the caller: plain tensors, whatever mode the caller is in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
AUTOCAST = ("cpu", "cuda", "mps", "xpu")  # devices that torch casts for


def plain_results(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that computes without autograd and autocast and makes plain tensors under `torch.inference_mode`, too:
    they may be changed in place and take part in training."""

    @functools.wraps(call)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        with torch.inference_mode(False), torch.no_grad(), without_autocast():
            return call(*args, **named)

    return run


def usual_surroundings(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same for a function that writes down what it computes: new tensors are float32 in it, whatever the caller's
    default dtype, which is restored."""
    call = plain_results(call)

    @functools.wraps(call)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            return call(*args, **named)
        finally:
            torch.set_default_dtype(before)

    return run


def outside_inference_mode(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The same for a function that autograd may pass through, where the caller's mode lets it."""

    @functools.wraps(call)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        grad = torch.is_grad_enabled()  # leaving inference mode would turn it on
        with torch.inference_mode(False), torch.set_grad_enabled(grad):
            return call(*args, **named)

    return run


@contextmanager
def without_autocast(devices: Sequence[str] = AUTOCAST) -> Iterator[None]:
    """Within it precisions are those of the tensors, whatever the caller runs in."""
    with ExitStack() as stack:
        for device in devices:
            try:
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            except RuntimeError:  # a device that this torch knows no autocast for
                continue
        yield
