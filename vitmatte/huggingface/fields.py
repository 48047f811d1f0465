"""Checked fields of a configuration, what it keeps besides them, and reading JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

MOST_JSON = 2**24  # bytes of a configuration file; real ones have a few thousand
TOO_CLOSE = 0.88  # similarity from which an unknown name is taken for a misspelt one

F = TypeVar("F", bound="Fields")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError that names the file when it holds none."""
    size = os.stat(path).st_size
    if size > MOST_JSON:
        raise ValueError(f"{path} has {size:,} bytes, too many for a configuration; it is another kind of file")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
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


def keeps_unknown(cls: type[F]) -> type[F]:
    """Makes a dataclass' constructor keep keywords it does not know in `extra`, as transformers' configurations do.

    It raises TypeError for a keyword that looks like a misspelt argument.
    """
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    plain = cls.__init__

    @wraps(plain)
    def init(self: Any, /, *args: Any, **values: Any) -> None:
        unknown = {k: values.pop(k) for k in list(values) if k not in known}
        for name in unknown:
            if close := get_close_matches(name, known, 1, TOO_CLOSE):
                raise TypeError(f"{cls.__name__}: unknown argument {name!r}; did you mean {close[0]!r}?")
        values["extra"] = dict(values.get("extra", {}))
        plain(self, *args, **values)
        self.__dict__["_ready"] = True
        for name, value in unknown.items():
            if name != "model_type":
                setattr(self, name, value)

    cls.__init__ = init  # type: ignore[method-assign, assignment]
    return cls


class Fields:
    """What both configurations share. Every message names class, field, value and constraint.

    A field may be assigned later and is checked then; what several of them have to do with each other is checked by
    `check`, which nets call when they are built. Any other attribute goes to `extra`.
    """

    extra: dict[str, Any]
    defaults: ClassVar[dict[str, Any]] = {}  # of attributes that are kept in extra

    def check(self) -> None:
        """Raises ValueError unless the values go together."""

    def _check_values(self) -> None:
        """Raises ValueError unless each value is what it may be, for itself."""

    def __setattr__(self, name: str, value: Any) -> None:
        mine = {f.name for f in fields(self)}  # type: ignore[arg-type]
        if name not in mine and not isinstance(getattr(type(self), name, None), property):
            self.extra[name] = value
            return
        before = dict(self.__dict__)
        object.__setattr__(self, name, value)
        if "_ready" in self.__dict__:
            try:
                self._assigned(name)
                self._check_values()
            except ValueError:
                self.__dict__.update(before)  # what followed from the value too
                raise

    def _assigned(self, name: str) -> None:
        """Brings fields that follow from an assigned one up to date."""

    def __getattr__(self, name: str) -> Any:
        extra = self.__dict__.get("extra", {})
        if name in extra:
            return extra[name]
        if name in self.defaults:
            return self.defaults[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def _fail(self, name: str, expected: str) -> None:
        raise ValueError(f"{type(self).__name__}: {name} is {getattr(self, name)!r:.200}; expected {expected}")

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

    def _check_epsilons(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: is_number(v) and 0 <= v < float("inf"), "a number of at least 0")

    def _check_flags(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: isinstance(v, bool), "true or false")

    def _as_list(self, name: str, ok: Callable[[Any], bool], expected: str) -> None:
        """Keeps a copy of a sequence field, so that the caller's list and ours are two."""
        self._check(name, lambda v: isinstance(v, (list, tuple)) and all(map(ok, v)), expected)
        object.__setattr__(self, name, list(getattr(self, name)))


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    sides = [value] if is_int(value) else value
    return len(sides) in (1, 2) and all(is_int(side) and side >= 1 for side in sides) and value is not None
