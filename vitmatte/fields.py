"""Checked fields of a configuration, shared by all of them; and reading their JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError that names the file when it holds none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}; expected an object")
    return content


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """A copy as it would be read back from JSON. Raises ValueError for what JSON does not hold."""
    try:
        return json.loads(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a configuration holds what JSON does not: {error}") from error


class Fields:
    """Checks shared by both configurations; every message names class, field, value and constraint."""

    def _fail(self, name: str, expected: str) -> None:
        raise ValueError(f"{type(self).__name__}: {name} is {getattr(self, name)!r}; expected {expected}")

    def _check(self, name: str, ok: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        try:
            good = ok(value)
        except (TypeError, IndexError):
            good = False
        if not good:
            self._fail(name, expected)

    def _check_counts(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: is_int(v) and v >= 1, "a whole number of at least 1")

    def _check_rates(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1")

    def _check_flags(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: isinstance(v, bool), "true or false")

    def _as_list(self, name: str, ok: Callable[[Any], bool], expected: str) -> None:
        """Keeps a copy of a sequence field, so that the caller's list and ours are two."""
        self._check(name, lambda v: isinstance(v, (list, tuple)) and all(map(ok, v)), expected)
        object.__setattr__(self, name, list(getattr(self, name)))

    @classmethod
    def _split(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the class, with the keys it does not know under `extra`."""
        known = {f.name for f in fields(cls)} - {"extra"}  # type: ignore[arg-type]
        arguments = {k: v for k, v in values.items() if k in known}
        arguments["extra"] = {k: v for k, v in values.items() if k not in known and k != "model_type"}
        return arguments


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    sides = [value] if is_int(value) else value
    return len(sides) in (1, 2) and all(is_int(side) and side >= 1 for side in sides) and value is not None
