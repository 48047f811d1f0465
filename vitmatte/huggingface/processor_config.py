"""The image processor's arguments: checked, and as a preprocessor_config.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import whole_file
from ..inference.preprocessing import DIVISOR, HUB_MEAN, HUB_STD, PROCESSOR_RULES
from ..values import check_values, read_json
from ..weights.config_file import PREPROCESSOR_NAME
from ..weights.repository import fetch_repository

_DIVISORS = ("size_divisibility", "size_divisor")
_ARGUMENTS = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_pad", *_DIVISORS)
_NAMES_OF_CLASSES = ("image_processor_type", "feature_extractor_type", "processor_class")  # ours is written instead


class ProcessorConfig:
    """What `VitMatteImageProcessor` is made with, read and written as transformers does.

    Args:
        do_rescale: multiply pictures and trimaps by `rescale_factor`; False for values in 0..1.
        rescale_factor: 1/255 for values in 0..255.
        do_normalize: subtract `image_mean` and divide by `image_std` (pictures only).
        image_mean, image_std: one number, or one per channel. The default 0.5 is the hub's;
            the published nets were trained with `IMAGENET_MEAN` and `IMAGENET_STD`.
        do_pad: zeros at the bottom and the right up to a multiple of `size_divisor` pixels.
        size_divisibility: see do_pad; the name until transformers 4.
        size_divisor: the same, as newer versions call it.
        extra: other keys of a preprocessor_config.json, kept and written back.

    Raises:
        ValueError: for a divisor below 1, or two that differ.
    """

    do_rescale: bool | None = True
    rescale_factor: float = 1 / 255
    do_normalize: bool | None = True
    do_pad: bool | None = True

    def __init__(
        self,
        /,
        do_rescale: bool | None = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool | None = True,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        do_pad: bool | None = True,
        size_divisibility: int | None = None,
        *,
        size_divisor: int | None = None,
        **extra: Any,
    ) -> None:
        self.do_rescale, self.rescale_factor = do_rescale, rescale_factor
        self.do_normalize, self.do_pad = do_normalize, do_pad
        self.image_mean = _listed(HUB_MEAN if image_mean is None else image_mean)
        self.image_std = _listed(HUB_STD if image_std is None else image_std)
        self.size_divisor = one_divisor(size_divisibility, size_divisor, DIVISOR)
        self.extra = {name: value for name, value in extra.items() if name not in _NAMES_OF_CLASSES}

    @property
    def size_divisibility(self) -> int:
        """`size_divisor` under its older name."""
        return self.size_divisor

    @size_divisibility.setter
    def size_divisibility(self, value: int) -> None:
        self.size_divisor = value

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **overrides: Any) -> Any:
        """From the content of a preprocessor_config.json, and arguments that take the place of what it says.

        Args:
            image_processor_dict: the content.
            overrides: arguments of the class, or keys of the content; and return_unused_kwargs, which gives
                (processor, the overrides that are neither) instead of refusing those.

        Raises:
            TypeError: for an override that is neither; the message names it. ValueError: see `check`.
        """
        give_unused = overrides.pop("return_unused_kwargs", False)
        values = dict(image_processor_dict)
        unused = {name: overrides.pop(name) for name in set(overrides) - {*_ARGUMENTS, *values}}
        if unused and not give_unused:
            raise TypeError(f"{cls.__name__} got an unexpected keyword argument {sorted(unused)[0]!r}; expected one of "
                            f"{', '.join(_ARGUMENTS)}")
        if any(name in overrides for name in _DIVISORS):
            values = {name: value for name, value in values.items() if name not in _DIVISORS}
        # null stands for the default, as in transformers' files; a flag's null is kept, and means no.
        defaults = {name for name in _ARGUMENTS if not name.startswith("do_") and values.get(name) is None}
        values = {name: value for name, value in values.items() if name not in defaults}
        processor = cls(**{**values, **overrides})
        processor.check()
        return (processor, unused) if give_unused else processor

    def check(self) -> None:
        """Raises ValueError, naming the argument, for a value that no picture could be processed with."""
        check_values(type(self).__name__, {name: getattr(self, name) for name in PROCESSOR_RULES}, PROCESSOR_RULES)

    def to_dict(self) -> dict[str, Any]:
        """As written to preprocessor_config.json; the divisor under both names, each of which some versions read."""
        own = {name: getattr(self, name) for name in _ARGUMENTS}
        return {**self.extra, **own, "image_processor_type": type(self).__name__}

    def to_json_string(self) -> str:
        """`to_dict` as the text of a preprocessor_config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Writes `to_json_string`, whole or not at all."""
        with whole_file(json_file_path) as path:
            path.write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str], **overrides: Any) -> Any:
        """From a file such as `to_json_file` writes; overrides and errors as in `from_dict`, which name the file."""
        values = read_json(json_file)
        try:
            return cls.from_dict(values, **overrides)
        except ValueError as error:
            raise ValueError(f"{json_file}: {error}") from error

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        use_fast: bool | None = None,
        **overrides: Any,
    ) -> Any:
        """Reads preprocessor_config.json from a folder, a file, or a repository of the hub.

        Args:
            pretrained_model_name_or_path: a folder or the file itself, or a hub id such as
                "hustvl/vitmatte-small-composition-1k" (released ones are pinned to a known revision).
            revision, cache_dir, token, local_files_only, force_download: for a hub id, as huggingface_hub takes them.
            subfolder: of the folder or the repository.
            use_fast: accepted, as there is one implementation.
            overrides: see `from_dict`.

        Raises:
            FileNotFoundError: neither there nor on the hub. TypeError: see `from_dict`. ValueError: for a file that is
                no JSON object, or holds what the class refuses.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            folder = folder / subfolder
        elif not folder.exists():
            given = {"revision": revision, "cache_dir": cache_dir, "token": token, "subfolder": subfolder,
                     "local_files_only": local_files_only, "force_download": force_download}
            hub: dict[str, Any] = {k: v for k, v in given.items() if v not in (None, "", False) or k == "token"}
            folder = fetch_repository(str(pretrained_model_name_or_path), weights=False, **hub)
        return cls.from_json_file(folder / PREPROCESSOR_NAME if folder.is_dir() else folder, **overrides)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> list[str]:
        """Writes preprocessor_config.json, which loads here and in transformers. Returns the path of it, in a list.

        Raises:
            ValueError: when save_directory is a file.
        """
        folder = Path(save_directory)
        if folder.is_file():
            raise ValueError(f"save_directory {folder} is a file; expected a folder, or the name of a new one")
        self.to_json_file(folder / PREPROCESSOR_NAME)
        return [str(folder / PREPROCESSOR_NAME)]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string().rstrip()}"


def first(*values: Any) -> Any:
    """The first that is given, if any."""
    return next((value for value in values if value is not None), None)


def one_divisor(size_divisibility: int | None, size_divisor: int | None, default: int) -> int:
    """The divisor that is given under either name, else the default; ValueError for none that can be."""
    if None not in (size_divisibility, size_divisor) and size_divisibility != size_divisor:
        raise ValueError(f"size_divisibility is {size_divisibility!r:.200} and size_divisor {size_divisor!r:.200}; "
                         "they are two names of one argument: give one of them, or equal ones")
    divisor = first(size_divisor, size_divisibility, default)
    if not isinstance(divisor, int) or isinstance(divisor, bool) or divisor < 1:
        raise ValueError(f"size_divisor is {divisor!r:.200}; expected a whole number of at least 1")
    return divisor


def numbers(name: str, value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    """One number for each channel, of an argument that gives them all or one for all."""
    listed = _listed(value)
    if not isinstance(listed, (float, list)):
        raise ValueError(f"{name} is {value!r:.200}; expected a number, or one for each of {channels} channels")
    given = (listed,) * channels if isinstance(listed, float) else tuple(listed)
    if len(given) != channels:
        raise ValueError(f"{name} {list(given)} has {len(given)} numbers; expected one, or one for each of "
                         f"{channels} channels")
    if name == "image_std" and not all(given):
        raise ValueError(f"image_std is {list(given)}; expected numbers other than 0, as pictures are divided by it")
    return given


def _listed(value: Any) -> Any:
    """A number, or a list of them, as such; what is neither stays what it is, and `check` refuses it."""
    if isinstance(value, (str, bytes, dict)):
        return value
    try:
        return float(value) if np.ndim(value) == 0 else [float(number) for number in value]
    except (TypeError, ValueError):
        return value
