"""What scripts do with a configuration besides reading its values: config.json, overrides, dtype."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from ..files import check_new_folder, whole_file
from ..values import read_json
from ..weights.config_file import CONFIG_NAME, check_model_type
from ..weights.repository import HUB_ARGUMENTS, fetch_file
from .fields import Fields

C = TypeVar("C", bound="HubConfig")


class HubConfig(Fields):
    """Base of the documented configurations; see `fields.Fields` for assigning and checking."""

    model_type: ClassVar[str]
    other_types: ClassVar[tuple[str, ...]] = ()  # further values of a file's model_type that `from_dict` takes
    defaults: ClassVar[dict[str, Any]] = {
        "return_dict": True, "output_hidden_states": False, "output_attentions": False, "gradient_checkpointing": False,
        "architectures": None, "name_or_path": "",
    }

    @property
    def dtype(self) -> torch.dtype | None:
        """What the weights were saved as, where the file says."""
        found = self.extra.get("dtype", self.extra.get("torch_dtype"))
        return getattr(torch, found) if isinstance(found, str) else found

    @dtype.setter
    def dtype(self, value: torch.dtype | str | None) -> None:
        key = "torch_dtype" if "torch_dtype" in self.extra else "dtype"
        self.extra[key] = str(value).removeprefix("torch.") if value is not None else None

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The older name of `dtype`."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: torch.dtype | str | None) -> None:
        self.dtype = value

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: every argument, `model_type` and the keys of `extra`."""
        values = {f.name: deepcopy(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return {**values.pop("extra"), "model_type": self.model_type, **values}

    def to_json_string(self) -> str:
        """`to_dict` as the text of a config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, path: str | os.PathLike[str]) -> None:
        """Writes a config.json, whole or not at all."""
        with whole_file(Path(path)) as target:
            target.write_text(self.to_json_string(), encoding="utf-8")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes config.json to a folder, which is made where it does not exist."""
        check_new_folder(folder, "folder")
        self.to_json_file(Path(folder) / CONFIG_NAME)

    def update(self, values: Mapping[str, Any]) -> None:
        """Assigns several attributes."""
        for name, value in values.items():
            setattr(self, name, value)

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """From the content of a config.json; keys that are no arguments go to `extra`.

        Raises:
            ValueError: when `model_type` says that it is another model's, or a value is unsupported.
        """
        check_model_type(values, cls.model_type, cls.__name__)
        known = {f.name for f in fields(cls)} - {"extra"}  # type: ignore[arg-type]
        extra = {k: v for k, v in values.items() if k not in known and k != "model_type"}
        return cls(**{k: v for k, v in values.items() if k in known}, extra=extra)  # type: ignore[call-arg]

    @classmethod
    def from_json_file(cls: type[C], path: str | os.PathLike[str]) -> C:
        """Reads a config.json. Raises FileNotFoundError, ValueError; messages name the file."""
        values = read_json(path)
        mine = (cls.model_type, *cls.other_types)
        if values.get("model_type", cls.model_type) not in mine:
            # A net's file also holds its backbone's.
            inner = [v for v in values.values() if isinstance(v, dict) and v.get("model_type") in mine]
            values = inner[0] if inner else values
        try:
            return cls.from_dict(values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_pretrained(
        cls: type[C], name_or_path: str | os.PathLike[str], *, subfolder: str = "", return_unused_kwargs: bool = False,
        **given: Any,
    ) -> Any:
        """Reads the config.json of a folder, the file itself, or a repository of the hub.

        Args:
            name_or_path: folder, file or hub id.
            subfolder: where in the folder or repository.
            return_unused_kwargs: give back (configuration, keywords that are none of its attributes).
            given: revision, cache_dir, token, local_files_only, force_download for the hub; others override attributes.

        Raises:
            FileNotFoundError: neither there nor to be had. ValueError: not a configuration of this kind. TypeError: a
            keyword that it does not know.
        """
        hub = {k: given.pop(k) for k in HUB_ARGUMENTS if k in given}
        path = Path(name_or_path)
        if not path.exists():
            path = fetch_file(str(name_or_path), f"{subfolder}/{CONFIG_NAME}".lstrip("/"), **hub)
        elif path.is_dir():
            path = path / subfolder / CONFIG_NAME
        config = cls.from_json_file(path)
        unused = {k: v for k, v in given.items() if not hasattr(config, k)}
        config.update({k: v for k, v in given.items() if k not in unused})
        if return_unused_kwargs:
            return config, unused
        if unused:
            raise TypeError(f"{cls.__name__}: unknown arguments {', '.join(sorted(unused))}")
        return config
