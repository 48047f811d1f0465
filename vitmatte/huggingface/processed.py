"""What the image processor gives: a dict that reads by attribute and moves between devices and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class ProcessedImages(dict[str, Any]):
    """A dict whose values also read as attributes (`inputs.pixel_values`), and which a net takes as `net(**inputs)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{name!r}; there are {list(self)}") from None

    @property
    def data(self) -> dict[str, Any]:
        """The plain dict."""
        return dict(self)

    def to(self, *args: Any, **kwargs: Any) -> ProcessedImages:
        """`Tensor.to` on every tensor, in lists too, where a dtype concerns floating-point tensors only.

        Returns:
            This object itself, changed, as in transformers.
        """
        move = torch.empty(0).to(*args, **kwargs)  # raises for bad arguments even where there is no tensor
        only_device = {name: value for name, value in kwargs.items() if name in ("device", "non_blocking", "copy")}
        if args and not isinstance(args[0], torch.dtype):
            only_device["device"] = move.device

        def moved(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(map(moved, value))
            if not isinstance(value, Tensor):
                return value
            if value.is_floating_point():
                return value.to(*args, **kwargs)
            return value.to(**only_device) if only_device else value

        for name, value in self.items():
            self[name] = moved(value)
        return self

    def convert_to_tensors(self, tensor_type: str | None = None) -> ProcessedImages:
        """Lists of arrays as one tensor ("pt") or array ("np"); None changes nothing. Returns this object itself.

        Raises:
            ValueError: for another type, or for pictures of several sizes, which make no batch.
        """
        if tensor_type not in (None, "pt", "np"):
            raise ValueError(f"return_tensors is {tensor_type!r}; expected 'pt', 'np' or None")
        if tensor_type is not None:
            for name, value in self.items():
                self[name] = _stacked(value, tensor_type)
        return self


def _stacked(value: Any, kind: str) -> Any:
    if isinstance(value, (list, tuple)):
        sizes = sorted({tuple(each.shape) for each in value})
        if len(sizes) != 1:
            raise ValueError(f"images of several sizes after padding ({sizes}) do not make one batch; give those of "
                             "one size at a time, or leave out return_tensors for a list")
        value = np.stack([np.asarray(each) for each in value])
    if kind == "pt":
        return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    return np.asarray(value)
