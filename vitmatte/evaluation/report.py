"""The errors of many pictures: which area counts, mean and median, a table for people and values for programs.

A picture whose trimap has no unknown area has no errors (None): it counts for nothing, least of all as perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from torch import Tensor

from ..trimap import known
from .metrics import Errors, errors
from .temporal import Flicker

NAMES = [field.name for field in fields(Errors)]


def unknown_area(trimap: Tensor) -> np.ndarray:
    """[H, W], bool: where a trimap [1, H, W] is unknown."""
    return known.unknown_area(trimap[0]).numpy()


def judge(found: np.ndarray, true: np.ndarray, trimap: Tensor | None) -> Errors | None:
    """The errors of a matte [H, W] in the unknown area of a trimap [1, H, W], or everywhere without one; None where
    the trimap has no unknown area. Raises ValueError for shapes that differ or values outside 0..1."""
    if trimap is None:
        return errors(found, true)
    area = unknown_area(trimap)
    if area.shape == true.shape and not area.any():
        return None
    return errors(found, true, area)


def summarise(rows: Sequence[Errors | None]) -> dict[str, Errors]:
    """Mean and median over the pictures that have errors.

    Raises:
        ValueError: none has any.
    """
    values = np.array([[getattr(row, name) for name in NAMES] for row in rows if row is not None])
    if not len(values):
        raise ValueError("no picture has an unknown area: there is nothing to judge")
    found = {"mean": values.mean(axis=0), "median": np.median(values, axis=0)}
    return {how: Errors(*(float(x) for x in row)) for how, row in found.items()}


def table(rows: dict[str, Errors | None]) -> str:
    """A table for people: a line per picture, then mean and median."""
    width = max(len(name) for name in (*rows, "picture", "median"))
    lines = [f"{'picture':{width}}  {'SAD':>9}  {'MSE':>9}  {'Grad':>9}  {'Conn':>9}"]
    for name, row in (*rows.items(), *summarise(list(rows.values())).items()):
        if row is None:
            lines.append(f"{name:{width}}  no unknown area")
        else:
            lines.append(f"{name:{width}}  {row.sad:9.3f}  {row.mse:9.5f}  {row.grad:9.3f}  {row.conn:9.3f}")
    return "\n".join(lines) + "\n"


def flicker_line(flicker: Flicker) -> str:
    """A line for people: a clip's flicker."""
    followed = "MESSDdt needs the pictures" if flicker.messddt is None else f"MESSDdt {flicker.messddt:.5f}"
    return f"dtSSD {flicker.dtssd:.5f}, {followed}: means of {flicker.pairs} pairs of frames\n"


def content(rows: dict[str, Errors | None], area: str, flicker: Flicker | None = None) -> dict[str, Any]:
    """The same for programs: the area that counted ("unknown" or "whole"), each picture's errors or None, mean and
    median, and of a clip its flicker."""
    pictures = {name: None if row is None else asdict(row) for name, row in rows.items()}
    summary = {how: asdict(row) for how, row in summarise(list(rows.values())).items()}
    clip = {} if flicker is None else {"clip": asdict(flicker)}
    return {"area": area, "pictures": pictures, **summary, **clip}
