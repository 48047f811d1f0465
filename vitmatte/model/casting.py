"""Modules whose values survive a cast: what a narrower floating-point type cannot hold is an error, not infinite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_cast

REMEDY = "use float32 or bfloat16, or a file written by vitmatte.training.publish, which fits float16 where it can"


class CheckedCasts(nn.Module):
    """A module that checks weights and running statistics before it casts them."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """As torch has it, behind `half`, `to`, `cuda` and others.

        Raises:
            ValueError: where a value would overflow; nothing was changed then.
        """
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        for kind in {value.dtype for value in own.values() if value.is_floating_point()}:
            wanted = fn(torch.empty(0, dtype=kind)).dtype
            if wanted != kind and wanted.is_floating_point:
                check_cast(own, wanted, type(self).__name__, REMEDY)
        return super()._apply(fn, recurse)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch has it. Raises ValueError where a value would overflow in the module's own type."""
        if not assign:
            own = self.state_dict()
            for kind in {value.dtype for value in own.values() if value.is_floating_point()}:
                given = {name: value for name, value in state_dict.items()
                         if isinstance(value, Tensor) and name in own and own[name].dtype == kind}
                check_cast(given, kind, type(self).__name__, REMEDY)
        return super().load_state_dict(state_dict, strict, assign)
