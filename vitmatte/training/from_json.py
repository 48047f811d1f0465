"""Dataclasses from what a JSON file holds: every key known, every value of the annotated type."""

from __future__ import annotations

import dataclasses
import json
import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
LARGEST = 1e9  # of the numbers; more would be a damaged file


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass, and those in its fields, from an object of a JSON file.

    Raises:
        ValueError: a key that is not known, one that is lacking, or a value of another type; the message names it.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    strange = sorted(set(values) - set(known))
    if strange:
        raise ValueError(f"{kind.__name__} has no {', '.join(strange[:5]):.200}; it has {', '.join(known)}")
    needed = dataclasses.MISSING
    lacking = [n for n, f in known.items() if f.default is needed and f.default_factory is needed and n not in values]
    if lacking:
        raise ValueError(f"{kind.__name__} needs {', '.join(lacking)}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(f"{kind.__name__}: {name}", value, hints[name]) for name, value in values.items()})


def _value(name: str, value: Any, kind: Any) -> Any:
    """A value of an annotated type; `name` stands in the message."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return build(kind, value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # with None, here
        return None if value is None else _value(name, value, inner[0])
    if origin is list and isinstance(value, list):
        return [_value(name, item, inner[0]) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _value(name, item, inner[1]) for key, item in value.items()}
    if kind in (int, float):
        good = isinstance(value, (int, kind)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    else:
        good = origin is None and isinstance(value, kind)
    if not good:
        raise ValueError(f"{name} is {json.dumps(value, default=repr)[:60]}; expected {_wanted(kind)}")
    return value


def _wanted(kind: Any) -> str:
    if get_origin(kind) is list:
        return f"a list of {_wanted(get_args(kind)[0]).split(' ', 1)[1]}s"
    plain = {int: "a whole number", float: "a number", str: "a text"}
    return plain.get(kind, "an object")
