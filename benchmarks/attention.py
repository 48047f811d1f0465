"""Forms of attention with decomposed relative positions, timed in turn: what `vitmatte.attention` chooses from.

`python -m benchmarks.attention [--device cuda --precision fp16]`. Rates count the multiply-adds of queries with keys
and of probabilities with values only, so that forms which do more show less. A form that runs out of memory, or that
torch cannot do there, says so.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from vitmatte.inference.attention import attention
from vitmatte.inference.context import PRECISIONS, Context
from vitmatte.model.attention import RelativePositions, attention_reference, relative_table

from .measure import machine, seconds

# (name, groups, grid): heads times windows of a block of vitmatte-small.
CASES = [("windows of 1024²", 6 * 25, (14, 14)), ("global, 512²", 6, (32, 32)), ("global, 1024²", 6, (64, 64)),
         ("global, 2048²", 6, (128, 128))]


def folded(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions, grid: tuple[int, int]) -> Tensor:
    """Relative terms as further channels: each query's terms, against the row and column of each key as one-hot."""
    (height, width), dim = grid, queries.shape[-1]
    block = queries.unflatten(1, grid)
    rows = (block @ relative.rows.transpose(1, 2)).flatten(1, 2)
    columns = (block.transpose(1, 2) @ relative.columns.transpose(1, 2)).transpose(1, 2).flatten(1, 2)
    place = torch.cat([torch.eye(height).repeat_interleave(width, 0), torch.eye(width).repeat(height, 1)], dim=1)
    place = place.to(keys).expand(keys.shape[0], -1, -1)
    wide = torch.cat([queries * dim**-0.5, rows, columns], dim=-1), torch.cat([keys, place], dim=-1)
    return F.scaled_dot_product_attention(*(x[None] for x in (*wide, F.pad(values, (0, height + width)))),
                                          scale=1.0)[0, ..., :dim]


def flexible(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions, grid: tuple[int, int],
             compiled: list[Callable[..., Tensor]]) -> Tensor:
    """torch's FlexAttention, which computes the bias where it is needed; compiled once."""
    from torch.nn.attention.flex_attention import flex_attention

    if not compiled:
        compiled.append(torch.compile(flex_attention, dynamic=False))
    width = grid[1]
    block = queries.unflatten(1, grid)
    rows = (block @ relative.rows.transpose(1, 2)).flatten(1, 2)
    columns = (block.transpose(1, 2) @ relative.columns.transpose(1, 2)).transpose(1, 2).flatten(1, 2)

    def bias(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + rows[head, query, key // width] + columns[head, query, key % width]

    return compiled[0](queries[None], keys[None], values[None], score_mod=bias)[0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device, dtype = options.device, PRECISIONS[options.precision]
    print(machine(device), options.precision)
    for name, groups, grid in CASES:
        tokens = grid[0] * grid[1]
        queries, keys, values = (torch.randn(groups, tokens, 64, device=device, dtype=dtype) for _ in range(3))
        relative = RelativePositions(*(
            relative_table(torch.randn(2 * length - 1, 64, device=device, dtype=dtype) / 10, length)
            for length in grid))
        given, compiled = (queries, keys, values, relative, grid), []
        forms: dict[str, Callable[[], Tensor]] = {
            f"chunks of {size} MB": lambda size=size, given=given: attention(
                *given, run=Context(chunk_bytes=size * 2**20)) for size in (2, 16, 64, 256)}
        forms["folded"] = lambda given=given: folded(*given)
        if device != "cpu":
            forms["flex"] = lambda given=given, compiled=compiled: flexible(*given, compiled)
        if tokens <= 4096:
            forms["reference"] = lambda given=given: attention_reference(*given[:4])[0]
        forms["without positions"] = lambda given=given: F.scaled_dot_product_attention(
            *(x[None] for x in given[:3]))[0]
        times: dict[str, list[float]] = {form: [] for form in forms}
        with torch.inference_mode():
            for turn in range(options.rounds + 1):
                for form, call in list(forms.items()):
                    try:
                        taken = seconds(call, device)
                    except RuntimeError as error:
                        print(f"{name} | {form} | {str(error).splitlines()[0][:80]}")
                        del forms[form]
                        continue
                    if turn:
                        times[form].append(taken)
        for form, taken in times.items():
            if taken:
                median = statistics.median(taken)
                rate = 2 * groups * tokens**2 * 64 / median / 1e9
                print(f"{name} | {form} | {median * 1e3:.2f} ms | {rate:.0f} G multiply-adds/s", flush=True)


if __name__ == "__main__":
    main()
