"""Foreground colours against pymatting's estimate_foreground_ml: error, time and memory.

    python -m benchmarks.foreground --data FOLDER [--side 2048]

FOLDER holds index.csv (file, kind, alpha, split), fg/ (RGBA cut-outs, known colours) and bg/ (photographs). Every
cut-out of the val split with soft edges is put over a photograph of that split; the error is the mean absolute
difference of the colours in 0..1, over pixels with 0 < alpha < 1, times 1000; "visible" weights it by alpha. Each
time and memory is that of a process of its own; pymatting's compilation is not counted.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from vitmatte import estimate_foreground

from .measure import Peak, seconds

METHODS = ("none", "pymatting", "ours")


def estimate(method: str, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Foreground [H, W, 3] of image [H, W, 3] and alpha [H, W], float32."""
    if method == "pymatting":
        from pymatting import estimate_foreground_ml

        return estimate_foreground_ml(image, alpha)
    if method == "ours":
        return estimate_foreground(torch.from_numpy(image)[None], torch.from_numpy(alpha))[0].numpy()
    return image


def composites(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(image, alpha, foreground) of each val cut-out over a val photograph."""
    with (data / "index.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    photographs = [row["file"] for row in rows if row["kind"] == "photo"]
    cutouts = [row["file"] for row in rows if row["file"].startswith("fg/") and row["alpha"] != "hard-edge"]
    for i, name in enumerate(cutouts):
        pixels = np.asarray(Image.open(data / name).convert("RGBA"), np.float32) / 255
        foreground, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        behind = Image.open(data / photographs[i % len(photographs)]).convert("RGB").resize(alpha.shape[::-1])
        share = alpha[..., None]
        yield share * foreground + (1 - share) * (np.asarray(behind, np.float32) / 255), alpha, foreground


def errors(data: Path) -> None:
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for image, alpha, truth in composites(data):
        soft = (alpha > 0) & (alpha < 1)
        for method in METHODS:
            off = np.abs(estimate(method, image, alpha) - truth).mean(axis=-1)[soft]
            found[method].append((float(off.mean()) * 1000, float((off * alpha[soft]).mean()) * 1000))
    print(f"error over {len(found['ours'])} composites: mean, visible")
    for method in METHODS:
        print(f"  {method:10} {np.mean(found[method], axis=0).round(2).tolist()}")
    ours, theirs = (np.mean(found[method], axis=0) for method in ("ours", "pymatting"))
    print(f"  ours / pymatting {(ours / theirs).round(3).tolist()}")


def scene(side: int, soft: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture of noise and a matte whose edge (or all of it) is soft."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    if soft == "all":
        alpha = random.random((side, side), dtype=np.float32)
    else:
        alpha = np.clip((0.33 - np.hypot(x - 0.5, y - 0.5)) * 12 + 0.5, 0, 1).astype(np.float32)
    return random.random((side, side, 3), dtype=np.float32), alpha


def measure(method: str, side: int, soft: str) -> None:
    """In a process of its own: prints seconds (the median of five) and megabytes above the inputs."""
    small = scene(64, soft)
    estimate(method, *small)  # imports, compilation
    image, alpha = scene(side, soft)
    estimate(method, image, alpha)
    time = median(seconds(lambda: estimate(method, image, alpha), "cpu") for _ in range(5))
    with Peak("cpu") as peak:  # last: it takes from the heap what later calls would find there
        estimate(method, image, alpha)
    print(f"{time:.3f} {peak.bytes / 2**20:.0f}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--measure", nargs=2, metavar=("METHOD", "SOFT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], options.side, options.measure[1])
        return
    if options.data:
        errors(options.data)
    for soft in ("edge", "all"):
        results = {}
        for method in ("pymatting", "ours"):
            done = subprocess.run([sys.executable, "-m", "benchmarks.foreground", "--side", str(options.side),
                                   "--measure", method, soft], capture_output=True, text=True, check=True)
            results[method] = [float(word) for word in done.stdout.split()]
        ratio = results["ours"][0] / results["pymatting"][0]
        print(f"{options.side}x{options.side}, soft: {soft}; seconds and MB: {results}; ours / pymatting {ratio:.2f}")


if __name__ == "__main__":
    main()
