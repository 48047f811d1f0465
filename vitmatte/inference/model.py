"""A net together with its preprocessing, and loading both."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..checks import as_device, check_can_compute, check_choice
from ..model.vitmatte import ViTMatte
from ..plain import outside_inference_mode
from ..weights.download import locate
from ..weights.load import load_net
from .preprocessing import Preprocessing

Normalization = Literal["as_trained", "hub"]
NORMALIZATIONS: tuple[Normalization, ...] = ("as_trained", "hub")


@dataclass(frozen=True)
class MattingModel:
    """A net together with the preprocessing it was trained with.

    Args:
        net: in evaluation mode.
        preprocessing: what its input is made with; pictures are padded at both sides where the net's architecture says
            so (`MattingConfig.pads_both_sides`), whatever this says.

    Raises:
        ValueError: for a divisor that is no multiple of the net's patch size.
    """

    net: ViTMatte
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if self.net.architecture.pads_both_sides:
            object.__setattr__(self, "preprocessing", replace(self.preprocessing, both_sides=True))
        patch = self.net.architecture.stride
        if self.preprocessing.divisor % patch:
            raise ValueError(f"pictures would be padded to a multiple of {self.preprocessing.divisor} pixels "
                             f"(size_divisibility); this net's patches need a multiple of {patch}")


@outside_inference_mode
def load_model(
    name_or_path: str | os.PathLike[str] = "vitmatte-tiny",
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    normalization: Normalization = "as_trained",
    operations: Any = nn,
    **download: Any,
) -> MattingModel:
    """Loads a model for `matte`.

    Args:
        name_or_path: "vitmatte-tiny" (bundled), a released model (`released.RELEASED`; downloaded once if it is not on
            disk), or a folder or file in any layout that `weights.load` reads.
        device: where to.
        dtype: of the weights: float32, float16 or bfloat16.
        normalization: "as_trained" feeds the net ImageNet-normalised pictures and 0.5 for unknown, as its authors
            did in training; "hub" does as the preprocessor_config.json beside it says, as transformers does.
        operations: see `ViTMatte`.
        download: folder, on_progress, check_interrupt, token: see `download.locate` and `download.download`.

    Raises:
        ValueError: for an argument, or a file that is no ViTMatte. FileNotFoundError: nothing there.
        download.DownloadError: a released model is not on disk and cannot be had.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"dtype is {dtype}; expected torch.float32, float16 or bfloat16")
    device = as_device(device) or "cpu"
    path = locate(name_or_path, **download)
    net = load_net(path, operations=operations, fold=True, dtype=dtype, device=device).requires_grad_(False)
    preprocessing = Preprocessing()
    if normalization == "hub":
        preprocessing = Preprocessing.from_folder(path if path.is_dir() else Path(path).parent)
    return MattingModel(net, preprocessing)


def device_of(name: str) -> torch.device:
    """The device of that name, or the best there is for "auto"; ValueError unless it can be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_can_compute(name)
    return torch.device(name)
