"""Trimaps against dilation by opencv and kornia: time by radius, and how many strands a trimap misses.

    python -m benchmarks.trimap [--side 2048] [--threads 1] [--data FOLDER]

FOLDER as in benchmarks.foreground; its hair and fur cut-outs (all splits; nothing is trained) stand over photographs.
Their masks are alpha > 0.5 without what is narrower than 9 pixels, as rough masks are. "Missed" is the share of
pixels with 0.1 < alpha < 0.95 that the trimap calls background: with a tight trimap, with strands, and with an
outer radius that makes the unknown area as large as with strands.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from vitmatte import make_trimap
from vitmatte.trimap.distance import within

from .measure import seconds

TIGHT, STRANDS = 6.0, 40.0  # pixels


def usual(work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds of a call, after one that does not count."""
    work()
    return median(seconds(work, "cpu") for _ in range(repeats))


def disk(radius: int) -> np.ndarray:
    reach = np.arange(-radius, radius + 1)
    return (np.hypot(*np.meshgrid(reach, reach)) <= radius).astype(np.uint8)


def speed(side: int, radius: int) -> None:
    """Growing and shrinking a mask, which is what a trimap is made of; opencv and kornia where they are installed."""
    y, x = np.mgrid[0:side, 0:side] / side
    mask = (np.hypot(x - 0.5, y - 0.5) < 0.3 + 0.03 * np.sin(20 * np.arctan2(y - 0.5, x - 0.5))).astype(np.float32)
    tensor, levels = torch.from_numpy(mask), mask.astype(np.uint8)
    times = {"ours": usual(lambda: make_trimap(tensor, inner=radius, outer=radius))}
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(torch.get_num_threads())
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        times["opencv"] = usual(lambda: (cv2.dilate(levels, kernel), cv2.erode(levels, kernel)))
    # kornia's memory is the picture's times the kernel's pixels, so a part of the picture tells the time of all.
    edge = min(side, 1024 // radius)
    if edge <= 2 * radius:
        print(f"radius {radius}: kornia would take {side**2 * (2 * radius + 1) ** 2 * 4 / 1e9:.0f} GB; not run")
    elif importlib.util.find_spec("kornia"):
        from kornia.morphology import dilation

        part, around = tensor[None, None, :edge, :edge].contiguous(), torch.from_numpy(disk(radius)).float()
        name = "kornia" if edge == side else f"kornia (computed from {edge}x{edge})"
        times[name] = usual(lambda: dilation(part, around), 1) * 2 * (side / edge) ** 2
    shown = ", ".join(f"{name} {took:.3f} s = {took / times['ours']:.2f}" for name, took in times.items())
    print(f"radius {radius}, {side}x{side}: {shown}")


def missed(data: Path) -> None:
    with (data / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photographs = [row["file"] for row in rows if row["kind"] == "photo"][::11]
    found = []
    for i, row in enumerate(row for row in rows if row["kind"] == "hair_fur_predicted"):
        pixels = torch.from_numpy(np.asarray(Image.open(data / row["file"]).convert("RGBA"), np.float32) / 255)[None]
        alpha, share = pixels[..., 3], pixels[..., 3:]
        size = alpha.shape[2], alpha.shape[1]
        behind = Image.open(data / photographs[i % len(photographs)]).convert("RGB").resize(size)
        image = share * pixels[..., :3] + (1 - share) * torch.from_numpy(np.asarray(behind, np.float32) / 255)
        mask = within(~within(alpha <= 0.5, 4), 4)
        if not mask.any():
            continue
        fine = (alpha > 0.1) & (alpha < 0.95)
        strands = make_trimap(mask, inner=TIGHT, outer=TIGHT, image=image, strands=STRANDS)
        wide = (strands == 0.5).sum()
        low, high = TIGHT, TIGHT + STRANDS
        for _ in range(10):
            middle = (low + high) / 2
            grown = make_trimap(mask, inner=TIGHT, outer=middle)
            low, high = (middle, high) if (grown == 0.5).sum() < wide else (low, middle)
        trimaps = make_trimap(mask, inner=TIGHT, outer=TIGHT), strands, make_trimap(mask, inner=TIGHT, outer=high)
        found.append([float(((trimap == 0) & fine).sum() / fine.sum()) for trimap in trimaps]
                     + [float((trimap == 0.5).float().mean()) for trimap in trimaps])
    table = np.array(found)
    for name, miss, area in zip(("tight", "strands", "same area"), table.mean(0)[:3], table.mean(0)[3:], strict=True):
        print(f"{name:10} missed {miss:.3f}, unknown area {area:.3f} of the picture")
    print(f"strands miss no more than the same area in {(table[:, 1] <= table[:, 2]).sum()} of {len(table)} pictures")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for radius in (4, 64):
        speed(options.side, radius)
    if options.data:
        missed(options.data)


if __name__ == "__main__":
    main()
