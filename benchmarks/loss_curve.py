"""A small picture of a run: training loss and validation error over the steps.

    python -m benchmarks.loss_curve runs/tiny docs/images/training.png
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 720, 260, 46
INK, GRID, LOSS, ERROR = "#222222", "#dddddd", "#1f5fa8", "#c4501b"
Points = list[tuple[float, float]]


def read(path: Path, column: str) -> Points:
    """(step, value) of a column."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(float(row["step"]), float(row[column])) for row in csv.DictReader(file)]


def draw_panel(draw: ImageDraw.ImageDraw, left: int, points: Points, colour: str, title: str) -> None:
    """One curve with its scale, from the least to the largest value, on half of the picture."""
    right, top, bottom = left + WIDTH // 2 - MARGIN - 14, 30, HEIGHT - 28
    last = max(step for step, _ in points)
    # The first points, far above the rest, would flatten the curve.
    kept = [value for step, value in points if step > 0.02 * last] or [value for _, value in points]
    low, high = min(kept), max(kept)
    span = (high - low) or 1.0
    for i in range(5):
        y = bottom - (bottom - top) * i / 4
        draw.line((left, y, right, y), fill=GRID)
        draw.text((left - 42, y - 6), f"{low + span * i / 4:.3g}", fill=INK)
    places = [(left + (right - left) * step / last, max(top, bottom - (bottom - top) * (value - low) / span))
              for step, value in points]
    draw.line(places, fill=colour, width=2)
    draw.text((left, 8), title, fill=INK)
    draw.text((right - 70, bottom + 8), f"{last:.0f} steps", fill=INK)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    draw_panel(draw, MARGIN, read(options.run / "log.csv", "loss"), LOSS, "training loss")
    draw_panel(draw, WIDTH // 2 + MARGIN, read(options.run / "validation.csv", "mse"), ERROR,
               "MSE in the unknown area, held-out composites")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.output)


if __name__ == "__main__":
    main()
