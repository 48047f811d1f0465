"""The one way to check plain values: a rule for each name, and an error that names owner, value and constraint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import not_there

MAX_JSON = 2**24  # bytes of a configuration file; real ones have a few thousand


@dataclass(frozen=True)
class Rule:
    """What a value must satisfy, and how that is said in the error."""

    holds: Callable[[Any], bool]
    expected: str

    def check(self, owner: str, name: str, value: Any) -> None:
        """Raises ValueError unless the value satisfies the rule; a value of a wrong type does not."""
        try:
            good = bool(self.holds(value))
        except (TypeError, ValueError, IndexError, AttributeError):
            good = False
        if not good:
            raise ValueError(f"{owner}: {name} is {value!r:.200}; expected {self.expected}")


def check_values(owner: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raises ValueError unless each value that has a rule satisfies it.

    Args:
        owner: what the values belong to; begins the message.
        values: by name.
        rules: by name.
    """
    for name, rule in rules.items():
        if name in values:
            rule.check(owner, name, values[name])


def is_int(value: Any) -> bool:
    """Whether a value is a whole number (and no bool)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number (and no bool)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    """Whether a value is a positive whole number, or one or two of them."""
    sides = [value] if is_int(value) else value
    return len(sides) in (1, 2) and all(is_int(side) and side >= 1 for side in sides) and value is not None


def between(low: float, high: float) -> Rule:
    """A number from `low` to `high`, both included."""
    return Rule(lambda v: is_number(v) and low <= v <= high, f"a number from {low:g} to {high:g}")


def at_least(low: float, *, optional: bool = False) -> Rule:
    """A finite number of at least `low`; None too where it is optional."""
    def holds(value: Any) -> bool:
        return (optional and value is None) or (is_number(value) and low <= value < float("inf"))

    return Rule(holds, f"a number of at least {low:g}" + (", or None" if optional else ""))


def one_of(*known: str) -> Rule:
    """One of the texts."""
    return Rule(lambda v: isinstance(v, str) and v in known, f"one of {', '.join(known)}")


def each(holds: Callable[[Any], bool], expected: str) -> Rule:
    """A list or tuple, each item of which satisfies a condition."""
    return Rule(lambda v: isinstance(v, (list, tuple)) and all(map(holds, v)), expected)


COUNT = Rule(lambda v: is_int(v) and v >= 1, "a whole number of at least 1")
WHOLE = Rule(lambda v: is_int(v) and v >= 0, "a whole number of at least 0")
FLAG = Rule(lambda v: isinstance(v, bool), "true or false")
RATE = Rule(lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1")
EPSILON = at_least(0)
POSITIVE = Rule(lambda v: is_number(v) and v > 0, "a positive number")
SIZE = Rule(is_size, "a positive whole number, or two of them (height, width)")
COUNTS = each(lambda v: is_int(v) and v >= 1, "a list of positive whole numbers")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. FileNotFoundError for a folder, ValueError that names the file when it
    holds none."""
    if os.path.isdir(path):
        raise not_there(path, "JSON file")
    size = os.stat(path).st_size
    if size > MAX_JSON:
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
