"""Seconds and megabytes of a cut-out of 12 megapixels in each format that is written, by compression.

    python -m benchmarks.formats [--photo FILE --mask FILE] [--side 4000] [--repeats 3]

The cut-out is the bundled model's of the portrait, enlarged (bicubic) to the size wanted, with grain of one step of 8
bits, as a camera leaves it, where the subject is: enlarging alone would leave less to compress than a photograph has.
Times are of writing alone, the shortest of the repeats, in the system's temporary folder: by the clock, and of all
processors together, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from vitmatte import cut_out, load_model, make_trimap, matte
from vitmatte.pictures.formats import COMPRESSIONS, Bits
from vitmatte.pictures.reading import read_mask, read_photograph
from vitmatte.pictures.writing import write_image, write_matte

ROOT = Path(__file__).parents[1] / "pictures"
GRAIN = 1 / 255
SMALL = ("1", "3", "6", "9")  # of zlib's levels, those that are measured; the others are between them
# Suffix, bits and what is written; the first of the compressions is what is written without a word.
CASES: list[tuple[str, Bits, str]] = [
    (".png", 8, "cut-out"), (".png", 16, "cut-out"), (".png", 16, "matte"), (".tif", 8, "cut-out"),
    (".tif", 16, "cut-out"), (".tif", 16, "matte"), (".webp", 8, "cut-out"), (".exr", "half", "cut-out"),
    (".exr", "float", "cut-out"), (".exr", "half", "matte")]


def subject(photo: Path, mask: Path, side: int) -> Tensor:
    """A cut-out [H, W, 4] whose longer side is as wanted."""
    image, given = read_photograph(photo).image, read_mask(mask)
    alpha = matte(load_model(), image, make_trimap(given, inner=20, outer=30))
    small = cut_out(image, alpha).permute(0, 3, 1, 2)
    scale = side / max(small.shape[-2:])
    size = [round(small.shape[-2] * scale * 0.75), round(small.shape[-1] * scale)]  # 4:3, as cameras have it
    large = functional.interpolate(small, size, mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).contiguous()
    torch.manual_seed(0)
    large[..., :3] += torch.randn_like(large[..., :3]) * GRAIN * (large[..., 3:] > 0)
    return large.clamp(0, 1)


def measured(
    picture: Tensor, suffix: str, bits: Bits, what: str, compression: str, repeats: int
) -> tuple[float, float, int]:
    """(seconds by the clock, seconds of processors, bytes)."""
    took, busy = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        for _ in range(repeats):
            start, used = time.perf_counter(), time.process_time()
            if what == "matte":
                write_matte(path, picture[..., 3], bits=bits if suffix == ".exr" else None, compression=compression)
            else:
                write_image(path, picture, bits=bits, compression=compression)
            took.append(time.perf_counter() - start)
            busy.append(time.process_time() - used)
        return min(took), min(busy), path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("--photo", type=Path, default=ROOT / "portrait.jpg")
    parser.add_argument("--mask", type=Path, default=ROOT / "portrait-mask.png")
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="suffixes")
    options = parser.parse_args()
    picture = subject(options.photo, options.mask, options.side)
    print(f"{picture.shape[1]}x{picture.shape[0]}\n\n"
          "| format | bits | what | compression | seconds | of processors | MB |\n"
          "|---|---|---|---|---:|---:|---:|", flush=True)
    for suffix, bits, what in CASES:
        if options.only and suffix not in options.only:
            continue
        for compression in COMPRESSIONS[suffix]:
            if suffix == ".png" and compression.isdigit() and compression not in SMALL:
                continue
            clock, busy, size = measured(picture, suffix, bits, what, compression, options.repeats)
            print(f"| {suffix[1:]} | {bits} | {what} | {compression} | {clock:.2f} | {busy:.2f} | {size / 1e6:.1f} |",
                  flush=True)


if __name__ == "__main__":
    main()
