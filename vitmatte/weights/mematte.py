"""Checkpoints of MEMatte (Lin et al., AAAI 2025, arXiv 2412.10702; https://github.com/linyiheng123/MEMatte).

Their names are ViTMatte's own; routers lie beside the blocks, `backbone.routers.N` being that of the N-th global block,
and the net that taught it in training comes along as `teacher_backbone`, which is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROUTERS, TEACHER = "backbone.routers.", "teacher_backbone."
BLOCKS, LIGHT = "backbone.blocks.", "efficient_block"

LICENCE = ("trained on Adobe's Composition-1k, whose terms are non-commercial, or on mixed data that its authors do "
           "not list; their code is MIT")

# The most tokens that attend, where no config.json says: the default of the authors' code.
MAX_ROUTED_TOKENS = 18_500


def is_mematte(content: Mapping[str, Any]) -> bool:
    """Whether names are those of a MEMatte of its authors' code."""
    return any(name.startswith(ROUTERS) for name in content)


def is_starting_point(content: Mapping[str, Any]) -> bool:
    """Whether names are those of what the authors train a MEMatte from: a ViTMatte twice, without routers."""
    return any(name.startswith(TEACHER) for name in content) and not is_mematte(content)


def without_teacher(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content without the net that taught the other."""
    return {name: value for name, value in content.items() if not name.startswith(TEACHER)}


def with_routers_in_blocks(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with each router named as a part of its block, which is one with a light block."""
    blocks = sorted({int(number) for number in map(_light_block, content) if number.isdecimal()})
    return {_in_block(name, blocks): value for name, value in content.items()}


def _light_block(name: str) -> str:
    """The number of the block whose light block a parameter belongs to; "" for any other."""
    number, _, rest = name.removeprefix(BLOCKS).partition(".")
    return number if name.startswith(BLOCKS) and rest.startswith(f"{LIGHT}.") else ""


def _in_block(name: str, blocks: list[int]) -> str:
    if not name.startswith(ROUTERS):
        return name
    number, _, rest = name.removeprefix(ROUTERS).partition(".")
    place = int(number) if number.isdecimal() and len(number) < 6 else len(blocks)
    return f"{BLOCKS}{blocks[place]}.router.{rest}" if place < len(blocks) else name
