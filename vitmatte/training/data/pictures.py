"""Foregrounds and backgrounds: found in folders, decoded once, kept in memory as 8-bit pyramids.

A foreground is held with its colours multiplied by its alpha (Pillow's mode RGBa), which is what may be resampled
and blurred. A pyramid's levels are each half as large as the one before, for resampling without aliasing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...files import not_there
from ...pictures.pairing import counterparts
from ...pictures.reading import pictures_in, read_cutout, read_image, read_mask
from ..recipe import Source

# A folder of colours and its folder of mattes, beside each other: Adobe's Composition-1k, Distinctions-646.
PAIRS = (("fg", "alpha"), ("FG", "GT"))
LEVELS = 5
EDGES = 4096  # places kept per foreground where something soft or an edge is


@dataclass(frozen=True)
class File:
    """colour: the picture, with its alpha unless `alpha` names a file of its own."""

    colour: Path
    alpha: Path | None = None
    weight: float = 1.0


@dataclass
class Picture:
    """levels: the pyramid, largest first. edges: [N, 2] places (x, y) in the largest level, foregrounds only."""

    levels: list[Image.Image]
    edges: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the largest level."""
        return self.levels[0].size


def find_foregrounds(sources: list[Source]) -> list[File]:
    """The cut-outs of the sources: RGBA pictures, or a folder of colours beside one of mattes (`PAIRS`), at any depth.

    Raises:
        FileNotFoundError, ValueError: no folder, nothing in it, or a colour picture without its matte.
    """
    return [file for source in sources for file in _weighed(source, _foregrounds(source))]


def find_backgrounds(sources: list[Source]) -> list[File]:
    """All pictures of the sources, at any depth; raises as `find_foregrounds`."""
    return [file for source in sources for file in _weighed(source, [File(p) for p in _listed(source)])]


def _weighed(source: Source, files: list[File]) -> list[File]:
    if not files:
        filtered = f" for which {source.index} says {source.where}" if source.where else ""
        raise FileNotFoundError(f"no pictures in {source.folder}{filtered}")
    return [File(f.colour, f.alpha, source.weight / len(files)) for f in files]


def _listed(source: Source) -> list[Path]:
    folder = Path(source.folder)
    if not folder.is_dir():
        raise not_there(folder)
    if source.index is None:
        return pictures_in(folder, deep=True)
    index = Path(source.index)
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lacking = [column for column in ("file", *source.where) if rows and column not in rows[0]]
    if lacking:
        raise ValueError(f"{index} has no column {', '.join(lacking)}; it has {', '.join(rows[0])}")
    wanted = [row for row in rows if all(row[column] in values for column, values in source.where.items())]
    paths = [index.parent / row["file"] for row in wanted]
    return sorted(p for p in paths if folder.resolve() in p.resolve().parents)


def _foregrounds(source: Source) -> list[File]:
    paths = _listed(source)
    folders = {p.parent for p in paths}
    mattes = {f: f.parent / matte for f in folders for colour, matte in PAIRS if f.name == colour}
    mattes = {colour: matte for colour, matte in mattes.items() if matte.is_dir()}
    if not mattes:
        return [File(p) for p in paths]
    found = []
    for colours, folder in sorted(mattes.items()):
        ours = [path for path in paths if path.parent == colours]
        alphas = counterparts(folder, [path.stem for path in ours], f"pictures of {colours}")
        found += [File(path, alphas[path.stem]) for path in ours]
    return found


def load_foreground(file: File) -> Picture:
    """Decodes a cut-out. Raises ValueError for a picture without transparency, or a matte of another size."""
    if file.alpha is None:
        cutout = read_cutout(file.colour)
        if cutout.shape[-1] == 3:
            raise ValueError(f"{file.colour} has no alpha channel; expected a cut-out, or a folder of mattes beside "
                             "its own (fg and alpha, or FG and GT)")
    else:
        colours, alpha = read_image(file.colour), read_mask(file.alpha)
        if alpha.shape != colours.shape[:3]:
            sizes = [f"{plane.shape[2]}x{plane.shape[1]}" for plane in (alpha, colours)]
            raise ValueError(f"{file.alpha} is {sizes[0]} and {file.colour} {sizes[1]}; expected equal sizes")
        cutout = torch.cat([colours, alpha.unsqueeze(-1)], dim=-1)
    levels = _bytes(cutout)
    return Picture(_pyramid(Image.fromarray(levels).convert("RGBa")), _edges(levels[..., 3]))


def load_background(file: File) -> Picture:
    """Decodes a photograph."""
    return Picture(_pyramid(Image.fromarray(_bytes(read_image(file.colour)))))


def _bytes(picture: Tensor) -> np.ndarray:
    """[1, H, W, C] in 0..1 to [H, W, C] in 8 bits."""
    return (picture[0] * 255).round().to(torch.uint8).numpy()


def _pyramid(picture: Image.Image) -> list[Image.Image]:
    levels = [picture]
    while len(levels) < LEVELS and min(levels[-1].size) >= 32:
        levels.append(levels[-1].reduce(2))
    return levels


def _edges(alpha: np.ndarray) -> np.ndarray:
    """Up to EDGES places (x, y) that are soft or whose neighbours are of the other kind, evenly drawn."""
    soft = (alpha > 2) & (alpha < 253)
    solid = alpha > 127
    soft[:, 1:] |= solid[:, 1:] != solid[:, :-1]
    soft[1:] |= solid[1:] != solid[:-1]
    ys, xs = np.nonzero(soft)
    if not len(xs):
        ys, xs = np.nonzero(np.ones_like(solid))
    step = max(1, len(xs) // EDGES)
    return np.stack([xs, ys], axis=1)[::step].astype(np.float32)
