"""Checkpoint files to nets: read, canonicalise, find or infer the configuration, load strictly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..checks import check_cast
from ..model.config import MattingConfig
from ..model.vitmatte import ViTMatte
from ..plain import outside_inference_mode
from .config_file import CONFIG_NAME, read_config
from .infer_config import WEIGHTS_NAMES, infer_config
from .layouts import State, canonical_state
from .names import shown
from .released import BUNDLED, BUNDLED_FOLDER, released
from .tensors import read_tensors

N = TypeVar("N", bound=ViTMatte)
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")


def find_weights(path: str | os.PathLike[str]) -> Path:
    """The weights file of a folder, or the file itself.

    Raises:
        FileNotFoundError: nothing there, or no weights in the folder. ValueError: several that could be meant.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}")
    if path.is_file():
        return path
    for name in WEIGHTS_NAMES:
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no weights in {path}; expected {WEIGHTS_NAMES[0]}, or one file that ends in "
                                f"{', '.join(SUFFIXES)}")
    if len(found) > 1:
        raise ValueError(f"{path} has several weights files ({', '.join(p.name for p in found[:5])}); name one of them")
    return found[0]


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Args:
        path: the file.
        state: its tensors by the hub's names.
        layout: the layout found, for messages.
    """

    path: Path
    state: State
    layout: str

    @property
    def described_by(self) -> Path | None:
        """The config.json that belongs to it, or None."""
        return _config_beside(self.path)

    def config(self) -> MattingConfig:
        """The architecture that config.json says, or else the tensors' shapes."""
        beside = self.described_by
        return infer_config(self.state, str(self.path)) if beside is None else read_config(beside)


def _config_beside(weights: Path) -> Path | None:
    """In a folder of many nets config.json belongs to the one with the standard name; the others' shapes tell."""
    beside = weights.with_name(CONFIG_NAME)
    return beside if weights.name in WEIGHTS_NAMES and beside.is_file() else None


def architecture_of(name_or_path: str | os.PathLike[str]) -> MattingConfig:
    """The architecture of a model, as far as it can be told without a download: of a released one, and where nothing is
    there, with every default. A weights file is read where no config.json tells; errors as in `load_net`.

    Args:
        name_or_path: see `download.locate`.
    """
    path = BUNDLED_FOLDER if str(name_or_path) == BUNDLED else Path(name_or_path)
    if released(str(name_or_path)) or not path.exists():
        return MattingConfig()
    weights = find_weights(path)
    beside = _config_beside(weights)
    return read_checkpoint(weights).config() if beside is None else read_config(beside)


@outside_inference_mode
def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads the weights of a folder, or a weights file, in any layout; errors as in `load_net`."""
    weights = find_weights(path)
    state, layout = canonical_state(read_tensors(weights), str(weights))
    return Checkpoint(weights, state, layout)


@outside_inference_mode
def load_net(
    path: str | os.PathLike[str],
    *,
    config: MattingConfig | None = None,
    operations: Any = nn,
    fold: bool = False,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
) -> ViTMatte:
    """Loads a net, in evaluation mode.

    Args:
        path: a folder with weights, or a weights file. A config.json counts beside model.safetensors and
            pytorch_model.bin; otherwise the configuration is inferred.
        config: instead of those.
        operations: see `ViTMatte`.
        fold: make BatchNorms part of their convolutions, for inference.
        dtype: of the parameters; None for the file's own.
        device: where to.

    Raises:
        FileNotFoundError, ValueError: see the functions of this module.
    """
    checkpoint = read_checkpoint(path)
    config = config or checkpoint.config()
    with naming(str(checkpoint.path)):
        net = ViTMatte(config, device="meta", operations=operations)
    return fill(net, checkpoint, fold=fold, dtype=dtype, device=device)


def fill(
    net: N, checkpoint: Checkpoint, *, fold: bool, dtype: torch.dtype | None, device: torch.device | str
) -> N:
    """A net without weights, with those of a checkpoint; see `load_net`."""
    where = str(checkpoint.path)
    check_shapes(net, checkpoint.state, where=where, layout=checkpoint.layout)
    net.load_state_dict(checkpoint.state, strict=True, assign=True)
    if fold:
        if dtype is not None:  # folded weights of a float16 file need not fit float16
            own = [x.dtype for x in net.decoder.state_dict().values() if x.is_floating_point()]
            net.decoder.to(reduce(torch.promote_types, own, torch.float32))
        net.fold()
    place(net, where=where, layout=checkpoint.layout, device=device, dtype=dtype)
    return net.eval()


def place(
    net: ViTMatte, *, where: str, layout: str = "hub", device: torch.device | str, dtype: torch.dtype | None
) -> None:
    """Brings a net to a device, its floating-point tensors in a dtype (None: as they are).

    Raises:
        ValueError: a value that is not finite, or that float16 cannot hold; the message names file and tensor.
    """
    state = net.state_dict()
    check_finite(state, where=where, layout=layout)
    net.load_state_dict(placed(state, where, device, dtype), assign=True)
    net.place_external(device, dtype)


def load_state(net: nn.Module, state: State, *, where: str, layout: str = "hub") -> None:
    """Gives the net these tensors themselves, without a copy; all of them and no others.

    Raises:
        ValueError: naming the file, the layout, and up to five names that are missing, not known, of another shape or
            not finite.
    """
    check_shapes(net, state, where=where, layout=layout)
    check_finite(state, where=where, layout=layout)
    net.load_state_dict(state, strict=True, assign=True)


def check_finite(state: Mapping[str, Tensor], *, where: str, layout: str = "hub") -> None:
    """Raises ValueError where a tensor has a value that is infinite or no number."""
    _refuse(where, layout, {"not finite": [n for n, v in state.items() if not v.sum(dtype=torch.float32).isfinite()]})


def check_shapes(net: nn.Module, state: Mapping[str, Tensor], *, where: str, layout: str = "hub") -> None:
    """Raises ValueError, as `load_state` does, unless the tensors have the names and shapes of the net's."""
    expected = net.state_dict()
    _refuse(where, layout, {
        "missing": [name for name in expected if name not in state],
        "not known": [shown(name) for name in state if name not in expected],
        "of another shape": [
            f"{name} {list(state[name].shape)} instead of {list(expected[name].shape)}"
            for name in expected if name in state and state[name].shape != expected[name].shape
        ],
        "of another kind": [
            f"{name} {state[name].dtype} instead of {expected[name].dtype}" for name in expected
            if name in state and state[name].is_floating_point() != expected[name].is_floating_point()
        ],
    })


def _refuse(where: str, layout: str, faults: Mapping[str, list[str]]) -> None:
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
                         for what, names in faults.items() if names)
        raise ValueError(f"{where} ({layout} layout) does not fit its configuration: {told}. It is cut short, damaged, "
                         "or beside the config.json of another net")


def placed(state: State, where: str, device: torch.device | str, dtype: torch.dtype | None) -> State:
    """Tensors on a device, floating-point ones in a type (None: as they are); ValueError for what it cannot hold."""
    if dtype is not None:
        check_cast(state, dtype, where, "load it in float32 or bfloat16")
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in state.items()}


@contextmanager
def naming(where: str) -> Iterator[None]:
    """For building a net of a file's configuration: whatever is wrong with that is a ValueError that names the file,
    and a missing library an ImportError that does."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except ImportError as error:
        raise ImportError(f"{where}: {error}") from error
    except Exception as error:  # sizes that no machine could hold; what another library makes of nonsense
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{where}: a net of its configuration cannot be built ({first}); the configuration is "
                         "damaged") from error
