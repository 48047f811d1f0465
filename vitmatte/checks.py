"""What is checked of arguments in many places."""

from __future__ import annotations

from collections.abc import Iterable


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises ValueError unless an argument is one of those known; the message names it and them."""
    known = list(known)
    if value not in known:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
