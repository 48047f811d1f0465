"""Thousands of frames of a few sizes, or of ever new ones, through one process: what it holds must not grow.

    python -m benchmarks.long_run [--frames 2000] [--sizes 4] [--host FOLDER]

Through the library: trimaps, mattes frame by frame and in batches, with and without a memory limit, cut-outs and
composites, models loaded anew, and now and then a call that fails. With --host through a real ComfyUI, see
`long_host`. Slopes are by least squares over the second half of the run. What grows with new shapes of layers is
oneDNN's: it keeps the kernels of the last 1,024, 0.05 to 0.6 MB each. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import random
from collections.abc import Callable
from pathlib import Path

import torch

from vitmatte import cut_out, load_model, make_trimap, matte, replace_background
from vitmatte.inference.planning import MemoryLimitError
from vitmatte.inference.scope import Strategy

from .long_host import through_comfyui
from .measure import MEBI, machine
from .trend import COLUMNS, Trend, heap_in_use, held

ROOT = Path(__file__).parents[1]
LARGEST, SAMPLED = 256, 20  # pixels a side; frames between two samples


def picture(draw: random.Random, count: int, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise [count, H, W, 3] and a disc's mask [H, W], of one of the sizes; without such, of one of its own."""
    height, width = draw.choice(sizes) if sizes else (draw.randint(16, LARGEST), draw.randint(16, LARGEST))
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    return torch.rand(count, height, width, 3), (rows**2 + columns**2 < draw.uniform(0.2, 0.8)).float()


def steps(draw: random.Random, sizes: list[tuple[int, int]]) -> list[Callable[[], int]]:
    """What is done in turn; each gives the number of frames it made."""
    model = load_model()

    def one(strategy: Strategy = "exact", limit: int | None = None) -> int:
        image, mask = picture(draw, 1, sizes)
        trimap = make_trimap(mask, inner=draw.uniform(1, 12), outer=draw.uniform(1, 12), strands=draw.choice((0, 4)),
                             image=image)
        alpha = matte(model, image, trimap, strategy=strategy, memory_limit=limit, refine=0)
        cut_out(image, alpha, despill=draw.choice(("none", "green")))
        return 1

    def batch() -> int:
        image, mask = picture(draw, draw.randint(2, 9), sizes)
        trimap = make_trimap(mask, inner=8, outer=8, fill_holes=20, remove_specks=20)
        alpha = matte(model, image, trimap, refine=0, on_progress=lambda done, total: None)
        replace_background(image, alpha, torch.rand(1, draw.randint(8, 99), 64, 3))
        return len(image)

    def again() -> int:
        nonlocal model
        model = load_model(dtype=draw.choice((torch.float32, torch.bfloat16)))
        return one()

    def fails() -> int:
        image, mask = picture(draw, 1, sizes)
        try:
            matte(model, image, mask * 0.5, memory_limit=MEBI)
        except MemoryLimitError:
            return 0
        raise AssertionError("a matte in 1 MB")

    return [one, batch, lambda: one("grid"), lambda: one(limit=40 * MEBI), batch, again, fails]


def through_the_library(frames: int, sizes: int | None, seed: int = 0) -> Trend:
    """Runs the steps in turn until so many frames are done, of so many sizes, or of ever new ones."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    few = [(draw.randint(16, LARGEST), draw.randint(16, LARGEST)) for _ in range(sizes or 0)]
    trend, todo = Trend((*COLUMNS, "heap in use, MB", "Python objects")), steps(draw, few)
    done, turn = 0, 0
    while done < frames:
        before = done
        done += todo[turn % len(todo)]()
        turn += 1
        if done // SAMPLED > before // SAMPLED or done >= frames:
            gc.collect()
            trend.add(done, (*held(), heap_in_use(), len(gc.get_objects())))
    return trend


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_run", description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--host", type=Path, help="holds ComfyUI/ and venv/; its ComfyUI runs the pack from here")
    parser.add_argument("--sizes", type=int, help="of pictures (default: ever new ones; through ComfyUI 143)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    if options.host is None:
        about, name, trend = machine("cpu"), "library", through_the_library(options.frames, options.sizes)
        about, name = f"{about}; {options.sizes or 'ever new'} sizes", f"{name}-{options.sizes or 'new'}-sizes"
    else:
        about, name, trend = through_comfyui(options.host, options.frames, options.sizes or 143)
    text = f"{about}\n\n{trend.table()}\n"
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"long-{name}.md").write_text(text)


if __name__ == "__main__":
    main()
