"""Trimaps against dilation by opencv and kornia: time by radius, and how many strands a trimap misses.

    python -m benchmarks.trimap [--side 2048] [--data FOLDER]

FOLDER as in benchmarks.foreground; its hair and fur cut-outs (all splits; nothing is trained) stand over photographs.
Their masks are alpha > 0.5 without what is narrower than 9 pixels, as rough masks are. "Missed" is the share of
pixels with 0.1 < alpha < 0.95 that the trimap calls background: with a tight trimap, with strands, and with an
outer radius that makes the unknown area as large as with strands.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vitmatte import make_trimap
from vitmatte.distance import within

TIGHT, STRANDS = 6.0, 40.0  # pixels


def median(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def disk(radius: int) -> np.ndarray:
    reach = np.arange(-radius, radius + 1)
    return (np.hypot(*np.meshgrid(reach, reach)) <= radius).astype(np.uint8)


def speed(side: int) -> None:
    y, x = np.mgrid[0:side, 0:side] / side
    mask = (np.hypot(x - 0.5, y - 0.5) < 0.3 + 0.03 * np.sin(20 * np.arctan2(y - 0.5, x - 0.5))).astype(np.float32)
    tensor = torch.from_numpy(mask)
    for radius in (4, 64):
        times = {"ours": median(lambda: make_trimap(tensor, inner=radius, outer=radius))}
        try:
            import cv2

            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
            bytes_ = mask.astype(np.uint8)
            times["opencv"] = median(lambda: (cv2.dilate(bytes_, kernel), cv2.erode(bytes_, kernel)))
        except ImportError:
            print("no opencv here")
        try:
            from kornia.morphology import dilation, erosion

            planes, around = tensor[None, None], torch.from_numpy(disk(radius)).float()
            if radius <= 8:
                times["kornia"] = median(lambda: (dilation(planes, around), erosion(planes, around)), 1)
            else:  # its memory grows with the kernel: side^2 x 129^2 x 4 bytes; a small part tells the time
                part = planes[..., :128, :128].contiguous()
                times["kornia, from 128x128"] = median(lambda: dilation(part, around), 1) * 2 * (side / 128) ** 2
        except ImportError:
            print("no kornia here")
        ratios = {name: round(seconds / times["ours"], 2) for name, seconds in times.items()}
        print(f"radius {radius}, {side}x{side}: seconds { {k: round(v, 3) for k, v in times.items()} }, ours = 1: {ratios}")


def missed(data: Path) -> None:
    with (data / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photographs = [row["file"] for row in rows if row["kind"] == "photo"][::11]
    found = []
    for i, row in enumerate(row for row in rows if row["kind"] == "hair_fur_predicted"):
        pixels = torch.from_numpy(np.asarray(Image.open(data / row["file"]).convert("RGBA"), np.float32) / 255)[None]
        alpha, share = pixels[..., 3], pixels[..., 3:]
        behind = Image.open(data / photographs[i % len(photographs)]).convert("RGB").resize(alpha.shape[:0:-1])
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    speed(options.side)
    if options.data:
        missed(options.data)


if __name__ == "__main__":
    main()
