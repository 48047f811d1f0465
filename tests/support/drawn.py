"""What property tests draw: tensors as users have them, right and wrong, and how many of them.

VITMATTE_FUZZ_EXAMPLES=N draws N for each test, in a longer run; without it each test draws its own few.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("VITMATTE_FUZZ_EXAMPLES", "0"))

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
OTHERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.complex64, torch.complex128,
          torch.float8_e4m3fn, torch.float8_e5m2]
LAYOUTS = ["contiguous", "permuted", "every second", "offset", "expanded", "overlapping", "negated", "flipped"]
# Wrong from -1 down and from 2 up; between them and 0..1 lies what rounding and resampling overshoot.
ODD_VALUES = [float("nan"), float("inf"), float("-inf"), 2.5, -1.5, 255.0, 2.0, -1.0, 1.5, -0.25, -0.0,
              1 + 2**-23, -1e-8]


def drawn(few: int) -> settings:
    """Settings for a property test which draws `few` examples, more in a longer run."""
    return settings(max_examples=EXAMPLES or few, deadline=None, derandomize=not EXAMPLES,
                    suppress_health_check=list(HealthCheck))


@dataclass
class Given:
    """One argument.

    Args:
        value: what is given.
        wrong: patterns of the messages that may refuse it; empty for a right one.
        plain: the same numbers in a contiguous tensor of the same type, for a right one.
    """

    value: Any
    wrong: list[str] = field(default_factory=list)
    plain: torch.Tensor | None = None


def laid_out(x: torch.Tensor, layout: str, order: list[int]) -> torch.Tensor:
    """A tensor of x's shape and type with other strides; of x's numbers, except where it repeats some."""
    if layout == "permuted":
        back = [order.index(i) for i in range(x.ndim)]
        return x.permute(order).contiguous().permute(back)
    if layout == "every second":
        wide = torch.full([2 * n for n in x.shape], 7).to(x.dtype)
        view = wide[tuple(slice(1, None, 2) for _ in x.shape)]
        view.copy_(x)
        return view
    if layout == "offset":
        return torch.cat([torch.full((3,), 7).to(x.dtype), x.flatten()])[3:].view(x.shape)
    if layout == "expanded":
        return x[tuple(slice(0, 1) if i == order[0] else slice(None) for i in range(x.ndim))].expand(x.shape)
    if layout == "overlapping":
        strides = list(torch.empty(x.shape, device="meta").stride())
        strides[order[0]] = min(1, strides[order[0]])
        return x.as_strided(x.shape, strides)
    if layout == "negated" and x.dtype in (torch.float32, torch.float64):
        return torch.complex(torch.zeros_like(x), -x).conj().imag
    if layout == "flipped":
        return x.flip(order[0])
    return x


@st.composite
def tensors(draw: Any, name: str, shape: list[int], *, floats_only: bool, levels: bool = False,
            counted: int | None = None, sound: bool = False) -> Given:
    """A tensor of a right shape, else right or wrong in every way.

    Args:
        name: what messages call it.
        shape: its shape.
        floats_only: bool is wrong.
        levels: mostly 0, 0.5 and 1, as in trimaps.
        counted: 3 where a fourth channel is ignored.
        sound: draw nothing wrong.
    """
    seed = draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator)
    if levels and draw(st.integers(0, 3)):
        x = (x * 3).floor() / 2
    if 0 in shape:
        return Given(x, [f"{name} has shape .*: it is empty"])
    said = re.escape(name)
    wrong = ["value", "value", "dtype", "meta", "array", "list", "none", "sparse"]
    kind = "right" if sound else draw(st.sampled_from(["right"] * 12 + wrong))
    if kind == "value":
        value = draw(st.sampled_from(ODD_VALUES))
        at = int(torch.randint(x.numel(), (1,), generator=generator))
        ignored = counted == 3 and shape[-1] == 4 and at % 4 == 3
        x.view(-1)[at] = value
        x = laid_out(x, draw(st.sampled_from(LAYOUTS[:4])), draw(st.permutations(range(x.ndim))))
        if ignored or -1 < value < 2:
            return Given(x, [], x.clone(memory_format=torch.contiguous_format))
        if not math.isfinite(value):
            return Given(x, [f"{said} has values that are not finite"])
        return Given(x, [rf"{said} has values from \S+ to \S+; expected 0\.\.1: "])
    if kind == "dtype":
        dtype = draw(st.sampled_from([*OTHERS, torch.bool] if floats_only else OTHERS))
        return Given(x.to(dtype), [f"{said} is {dtype}; expected floating point "])
    if kind == "meta":
        return Given(x.to("meta"), [f"{said} is on the device meta"])
    if kind == "array":
        return Given(x.numpy(), [rf"{said} is a numpy\.ndarray; expected a torch\.Tensor: torch\.from_numpy"])
    if kind == "list":
        return Given(x.tolist(), [rf"{said} is a builtins\.list; expected a torch\.Tensor"])
    if kind == "none":
        return Given(None, [rf"{said} is a builtins\.NoneType; expected a torch\.Tensor"])
    if kind == "sparse":
        return Given(x.to_sparse(), [rf"{said} is a torch\.sparse_coo tensor; expected a plain dense one"])
    types = FLOATS if floats_only else [*FLOATS, torch.bool]
    x = x.to(draw(st.sampled_from(types)))
    x = laid_out(x, draw(st.sampled_from(LAYOUTS)), list(draw(st.permutations(range(x.ndim)))))
    plain = x.clone(memory_format=torch.contiguous_format).resolve_neg()
    kept = draw(st.sampled_from(["plain"] * 3 + ["graph", "leaf", "inference", "parameter"]))
    if kept == "inference":
        with torch.inference_mode():
            x = laid_out(x.clone(), "permuted", list(range(x.ndim))[::-1])
    elif x.is_floating_point() and kept == "graph":
        x = x.detach().requires_grad_() * 1
    elif x.is_floating_point() and kept == "leaf":
        x = x.detach().requires_grad_()
    elif x.is_floating_point() and kept == "parameter":
        x = torch.nn.Parameter(x)
    return Given(x, [], plain)




def sides(sound: bool) -> st.SearchStrategy[int]:
    """Heights and widths, in pixels."""
    return st.one_of(st.integers(1, 40), st.sampled_from([1, 2, 31, 32, 33, 64, 65, 70] + [0] * (not sound)))


def counts(sound: bool) -> st.SearchStrategy[int]:
    """Numbers of frames."""
    return st.sampled_from([1, 1, 2, 3] + [0] * (not sound))


@st.composite
def images(draw: Any, count: int, height: int, width: int, *, name: str = "image", counted: int = 3,
           sound: bool = False) -> Given:
    """A picture [count, height, width, 3 or 4], or nearly."""
    shape = [count, height, width, draw(st.sampled_from([3, 3, 4]))]
    if not sound and not draw(st.integers(0, 7)):  # a wrong shape
        shape = draw(st.sampled_from([shape[1:], shape[1:3], [*shape, 1], [*shape[:3], 1], [*shape[:3], 2],
                                      [*shape[:3], 5], [*shape[:3], 0], [shape[0], 5, height, width], [], [2]]))
        return Given(torch.zeros(shape), [f"{name} has shape {re.escape(str(shape))}; expected ",
                                         f"{name} has shape .*: it is empty"])
    return draw(tensors(name, shape, floats_only=True, counted=counted, sound=sound))


@st.composite
def planes(draw: Any, name: str, count: int, height: int, width: int, *, levels: bool = False,
           sound: bool = False) -> Given:
    """A mask, trimap or matte [count, height, width], or [height, width] where it is one, or nearly."""
    shape = [height, width] if count == 1 and draw(st.booleans()) else [count, height, width]
    if not sound and not draw(st.integers(0, 7)):
        shape = draw(st.sampled_from([[*shape, 1], [1, 1, *shape], [height], []]))
        if len(shape) not in (2, 3):
            return Given(torch.zeros(shape), [f"{name} has shape {re.escape(str(shape))}; expected ",
                                             f"{name} has shape .*: it is empty"])
    return draw(tensors(name, shape, floats_only=False, levels=levels, sound=sound))


def frozen(given: Any) -> Any:
    """A copy to compare with later."""
    return given.detach().clone() if isinstance(given, torch.Tensor) and given.layout == torch.strided else given


def unchanged(given: Any, before: Any) -> bool:
    """Whether the argument still is what it was, NaN included."""
    if not isinstance(given, torch.Tensor):
        return given is before or bool(np.array_equal(given, before, equal_nan=True))
    if given.device.type == "meta" or given.layout != torch.strided:
        return True
    now, then = (torch.empty(x.shape, dtype=x.dtype).copy_(x.detach()) for x in (given, before))
    return now.shape == then.shape and now.flatten().view(torch.uint8).equal(then.flatten().view(torch.uint8))
