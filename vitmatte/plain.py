"""Results that belong to the caller: plain tensors outside of autograd, whatever mode the caller is in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def plain_results(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that computes without autograd and makes plain tensors under `torch.inference_mode`, too: they may be
    changed in place and take part in training."""

    @functools.wraps(call)
    def run(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        with torch.inference_mode(False), torch.no_grad():
            return call(*args, **named)

    return run
