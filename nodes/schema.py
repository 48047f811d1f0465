"""What newer ComfyUIs know of a node and older ones do not."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from comfy_api.latest import io

CATEGORY = "image/mask"  # beside ComfyUI's own
Port = TypeVar("Port")


def schema(*, search_aliases: list[str], **fields: Any) -> io.Schema:
    """A schema in the pack's category; the aliases are left out where the host has none (before 0.11)."""
    if "search_aliases" in {field.name for field in dataclasses.fields(io.Schema)}:
        fields["search_aliases"] = search_aliases
    return io.Schema(category=CATEGORY, **fields)


def picked(port: Port) -> Port:
    """Gives a text that is a colour the host's colour picker, where it has one (since 0.12); it stays a text to other
    nodes."""
    if hasattr(io, "Color") and hasattr(port, "extra_dict"):
        port.extra_dict = {**(port.extra_dict or {}), "widgetType": io.Color.io_type}
    return port


def advanced(port: Port) -> Port:
    """Marks an input that most users leave alone, where the host can fold such away (since 0.10)."""
    if hasattr(port, "advanced"):
        port.advanced = True
    return port
