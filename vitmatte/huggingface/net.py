"""What the documented nets share: loading, saving, and where they are; with transformers' names for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..model.casting import CheckedCasts
from ..plain import outside_inference_mode
from ..weights.config_file import CONFIG_NAME
from ..weights.load import Checkpoint, find_weights, load_state, naming, placed
from ..weights.repository import HUB_ARGUMENTS, fetch_repository
from ..weights.save import write_net
from ..weights.tensors import read_tensors
from .hub_config import HubConfig

N = TypeVar("N", bound="PretrainedNet")

# What transformers' from_pretrained is also given, and which of its values mean what is done here anyway.
DONE_ANYWAY: dict[str, tuple[Any, ...]] = {
    "low_cpu_mem_usage": (None, True, False),
    "attn_implementation": (None, "eager", "sdpa"),
    "trust_remote_code": (None, False),
    "use_safetensors": (None, True),
}


class PretrainedNet(CheckedCasts):
    """A net with a documented configuration; the base of those classes that scripts load and save."""

    config_class: ClassVar[type[HubConfig]]
    config: Any
    gradient_checkpointing = False

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(self.parameters()).dtype

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether training recomputes each block's inside instead of keeping it."""
        return any(getattr(part, "gradient_checkpointing", False) for part in self.modules())

    def gradient_checkpointing_enable(self, *_: Any, **__: Any) -> None:
        """Less memory in training, for a third more time; arguments are transformers' and not needed."""
        self._checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keeps everything for the backward pass again."""
        self._checkpointing(False)

    def _checkpointing(self, on: bool) -> None:
        for part in self.modules():
            theirs: Any = part
            if isinstance(part, PretrainedNet):
                part.gradient_checkpointing = on
            elif hasattr(part, "set_grad_checkpointing"):  # timm's
                theirs.set_grad_checkpointing(on)
            elif getattr(part, "supports_gradient_checkpointing", False):  # transformers'
                (theirs.gradient_checkpointing_enable if on else theirs.gradient_checkpointing_disable)()

    def _asked(self, given: bool | None, name: str) -> bool:
        """An argument of `forward`; None for what the configuration says."""
        return bool(getattr(self.config, name) if given is None else given)

    @classmethod
    def _from_file(cls, checkpoint: Checkpoint) -> HubConfig:
        """The documented configuration of a file in any layout."""
        beside = checkpoint.described_by or checkpoint.path.with_name(CONFIG_NAME)
        return cls.config_class.from_json_file(beside)

    @classmethod
    def _read(cls, path: Path, state: Mapping[str, Tensor] | None) -> Checkpoint:
        """The tensors of a file, by this net's names; given ones in place of them."""
        weights = find_weights(path)
        return Checkpoint(weights, dict(read_tensors(weights) if state is None else state), "hub")

    def placed_at(self, device: torch.device, dtype: torch.dtype | None) -> None:
        """Called once the weights are loaded to a device in a dtype."""

    @classmethod
    @outside_inference_mode
    def from_pretrained(
        cls: type[N],
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *,
        config: HubConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: str | int | torch.device | Mapping[str, Any] | None = None,
        subfolder: str = "",
        state_dict: Mapping[str, Tensor] | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **given: Any,
    ) -> Any:
        """Loads a folder or file in any layout `weights.load` reads, or a repository of the hub.

        Args:
            pretrained_model_name_or_path: a folder with config.json and weights, a weights file, or a hub id such as
                "hustvl/vitmatte-small-composition-1k" (released nets are pinned to a known revision).
            config: instead of the config.json beside the weights.
            dtype: of the parameters: a torch.dtype, its name, or "auto" for the file's own; default float32.
            torch_dtype: the older name of `dtype`.
            device_map: where to: a device, {"": device}, or "auto" for the GPU where there is one. The net is small and
                is not spread over several devices.
            subfolder: of the folder or repository.
            state_dict: tensors instead of a file's, by the hub's names; with `config` no file is needed, and None may
                stand for its name.
            ignore_mismatched_sizes: tensors of another shape than the net's are left out, and fresh there.
            output_loading_info: give back (net, {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}).
            given: revision, cache_dir, token, local_files_only, force_download for a hub id; attributes of the
                configuration to override, such as output_hidden_states. `DONE_ANYWAY` lists what else is taken.

        Returns:
            The net in evaluation mode, with BatchNorms as on the hub: to be trained, saved and inspected.

        Raises:
            FileNotFoundError, ValueError: for what is not there or does not fit; the message says which. TypeError: for
            a keyword that is not known.
        """
        if torch.empty(0).device.type == "meta":
            raise RuntimeError(f"{cls.__name__}.from_pretrained stands inside torch.device('meta'), where weights are "
                               "lost; move it out")
        if pretrained_model_name_or_path is None and (state_dict is None or config is None):
            raise ValueError(f"{cls.__name__}.from_pretrained is given None; expected a folder, a file or a hub id, or "
                             "both config and state_dict")
        hub = {k: given.pop(k) for k in HUB_ARGUMENTS if k in given}
        for name, fine in DONE_ANYWAY.items():
            if (value := given.pop(name, None)) not in fine:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, fine))}")
        kind, device = _dtype(dtype if dtype is not None else torch_dtype), _device(device_map)
        path = None
        if pretrained_model_name_or_path is not None:
            path = Path(pretrained_model_name_or_path)
            named = str(pretrained_model_name_or_path)
            path = path / subfolder if path.exists() else fetch_repository(named, subfolder=subfolder, **hub)
        if isinstance(config, (str, os.PathLike)):
            config = cls.config_class.from_pretrained(config)
        net, mismatched = _load(cls, path, config=config, overrides=given, dtype=kind, device=device,
                                state=state_dict, keep_fresh=ignore_mismatched_sizes)
        if not output_loading_info:
            return net
        return net, {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": mismatched, "error_msgs": []}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        max_shard_size: int | str | None = None,
        **unknown: Any,
    ) -> None:
        """Writes config.json and model.safetensors, which load here and in transformers; each whole or not at all.

        transformers refuses a net that routes tokens, which it does not know.

        Args:
            save_directory: made where it does not exist.
            state_dict: instead of the net's own tensors.
            safe_serialization, push_to_hub: only True and False are done.
            max_shard_size: the weights are one file, whatever this says, as transformers does below 50 GB.

        Raises:
            ValueError: for a folded net, whose BatchNorms are gone, and for what is not done. TypeError: a keyword that
            is not known.
        """
        if not safe_serialization:
            raise ValueError("safe_serialization is False; pickles are not written. transformers reads safetensors too")
        if push_to_hub:
            raise ValueError("push_to_hub is True; save to a folder, then huggingface_hub.upload_folder(repo_id=..., "
                             "folder_path=...)")
        if unknown:
            raise TypeError(f"save_pretrained: unknown arguments {', '.join(sorted(unknown))}")
        state = self.state_dict() if state_dict is None else state_dict
        described = {"architectures": [type(self).__name__], **self.config.to_dict()}
        write_net(state, described, save_directory, folded=getattr(self, "folded", False))


def _load(
    kind: type[N], path: Path | None, *, config: Any, overrides: Mapping[str, Any], dtype: torch.dtype | None,
    device: torch.device, state: Mapping[str, Tensor] | None, keep_fresh: bool,
) -> tuple[N, set[str]]:
    """(the net, names of tensors that were left out because they have another shape); see `from_pretrained`."""
    if unknown := [name for name in overrides if not hasattr(config or kind.config_class(), name)]:
        raise TypeError(f"{kind.__name__}.from_pretrained: unknown arguments {', '.join(sorted(unknown))}")
    where, layout, found, tensors = "state_dict", "hub", deepcopy(config), dict(state or {})
    if path is not None:
        checkpoint = kind._read(path, state)
        where, layout, tensors = str(checkpoint.path), checkpoint.layout, checkpoint.state
        found = found or kind._from_file(checkpoint)
    found.update(overrides)
    with naming(where):
        net = kind(found, device=None if keep_fresh else "meta")
    other: set[str] = set()
    if keep_fresh:
        fresh = net.state_dict()
        other = {name for name, value in tensors.items() if name in fresh and value.shape != fresh[name].shape}
        tensors = {**tensors, **{name: fresh[name] for name in other}}
    load_state(net, placed(tensors, where, device, dtype), where=where, layout=layout)
    net.placed_at(device, dtype)
    net.config.dtype = net.dtype
    return net.eval(), other


def _dtype(given: torch.dtype | str | None) -> torch.dtype | None:
    """The type wanted; None for the file's own."""
    if given == "auto":
        return None
    found = getattr(torch, given.removeprefix("torch."), None) if isinstance(given, str) else given or torch.float32
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype is {given!r}; expected a floating-point torch.dtype, its name, or 'auto'")
    return found


def _device(given: Any) -> torch.device:
    """The one device of a device_map."""
    if isinstance(given, Mapping):
        if list(given) != [""]:
            raise ValueError(f"device_map is {dict(given)!r}; expected {{'': device}}: the net is small and goes to "
                             "one device")
        given = given[""]
    if given in ("auto", "balanced", "balanced_low_0", "sequential"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.device(given if given is not None else "cpu")
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device_map is {given!r}; expected a device, {{'': device}} or 'auto'") from error
