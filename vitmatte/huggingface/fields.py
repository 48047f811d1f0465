"""Checked fields of a documented configuration, and what it keeps besides them."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from typing import Any, ClassVar, TypeVar

from ..values import Rule, check_values

TOO_CLOSE = 0.88  # similarity from which an unknown name is taken for a misspelt one

F = TypeVar("F", bound="Fields")


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
    """What both documented configurations share. Every message names class, field, value and constraint.

    A field may be assigned later and is checked then by its rule; whether the fields go together is seen when a net is
    built. Any other attribute goes to `extra`.
    """

    extra: dict[str, Any]
    defaults: ClassVar[dict[str, Any]] = {}  # of attributes that are kept in extra

    def rules(self) -> dict[str, Rule]:
        """What each field must be by itself."""
        return {}

    def check_fields(self) -> None:
        """Raises ValueError unless each field is what it must be by itself; keeps lists as copies."""
        owner, mine = type(self).__name__, {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        check_values(owner, mine, self.rules())
        for name, value in mine.items():
            if isinstance(value, (list, tuple)):
                object.__setattr__(self, name, list(value))

    def assigned(self, name: str) -> None:
        """Brings fields that follow from an assigned one up to date."""

    def __setattr__(self, name: str, value: Any) -> None:
        mine = {f.name for f in fields(self)}  # type: ignore[arg-type]
        if name not in mine and not isinstance(getattr(type(self), name, None), property):
            self.extra[name] = value
            return
        before = dict(self.__dict__)
        object.__setattr__(self, name, value)
        if "_ready" in self.__dict__:
            try:
                self.assigned(name)
                self.check_fields()
            except ValueError:
                self.__dict__.update(before)  # what followed from the value too
                raise

    def __getattr__(self, name: str) -> Any:
        extra = self.__dict__.get("extra", {})
        if name in extra:
            return extra[name]
        if name in self.defaults:
            return self.defaults[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}")
