"""Forms of attention with decomposed relative positions, timed in turn: what `vitmatte.inference.attention` chooses
from.

`python -m benchmarks.attention [--cases windows-1024 cells] [--device cuda --precision fp16]`. Rates count the
multiply-adds of queries with keys and of probabilities with values only, so that forms which do more show less. A form
that runs out of memory, or that torch cannot do there, says so.

The case "cells" is attention within a reach as `vitmatte.inference.cells` cuts it: one cell of queries and the keys
around it, for every head of the bundled net. It is timed with scores of a standard deviation of 1, and with widely
spread ones, many of whose softmax weights are denormal numbers: arithmetic with those is slow on many processors.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from vitmatte.inference.attention import OffsetTables, attend, attention
from vitmatte.inference.cells import CELL
from vitmatte.inference.context import PRECISIONS, Context
from vitmatte.model.attention import RelativePositions, attention_probabilities, relative_table

from .measure import machine, seconds

# (title, groups, grid): heads times windows of a block of vitmatte-small.
GRIDS = {
    "windows-1024": ("windows of 1024²", 6 * 25, (14, 14)),
    "global-512": ("global, 512²", 6, (32, 32)),
    "global-1024": ("global, 1024²", 6, (64, 64)),
    "global-2048": ("global, 2048²", 6, (128, 128)),
}
DIM = 64  # channels of a head of vitmatte-small
CELLS = "cells"
HEADS, CELL_DIM, REACH = 6, 32, 23  # of the bundled net, and a reach whose cells have 54 x 54 keys
DEVIATIONS = (1.0, 25.0)  # of scores in cells

Forms = dict[str, Callable[[], Tensor]]


def folded(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions, grid: tuple[int, int]) -> Tensor:
    """Relative terms as further channels: each query's terms, against the row and column of each key as one-hot."""
    (height, width), dim = grid, queries.shape[-1]
    rows, columns = axis_terms(queries, relative, grid)
    place = torch.cat([torch.eye(height).repeat_interleave(width, 0), torch.eye(width).repeat(height, 1)], dim=1)
    place = place.to(keys).expand(keys.shape[0], -1, -1)
    wide = torch.cat([queries * dim**-0.5, rows, columns], dim=-1), torch.cat([keys, place], dim=-1)
    padded = F.pad(values, (0, height + width))
    return F.scaled_dot_product_attention(wide[0][None], wide[1][None], padded[None], scale=1.0)[0, ..., :dim]


def axis_terms(queries: Tensor, relative: RelativePositions, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Each query's relative terms with the rows, [G, H * W, H], and with the columns, [G, H * W, W]."""
    block = queries.unflatten(1, grid)
    rows = (block @ relative.rows.transpose(1, 2)).flatten(1, 2)
    columns = (block.transpose(1, 2) @ relative.columns.transpose(1, 2)).transpose(1, 2).flatten(1, 2)
    return rows, columns


def flexible(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions, grid: tuple[int, int],
             compiled: list[Callable[..., Tensor]]) -> Tensor:
    """torch's FlexAttention, which computes the bias where it is needed; compiled once."""
    from torch.nn.attention.flex_attention import flex_attention

    if not compiled:
        compiled.append(torch.compile(flex_attention, dynamic=False))
    width = grid[1]
    rows, columns = axis_terms(queries, relative, grid)

    def bias(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + rows[head, query, key // width] + columns[head, query, key % width]

    return compiled[0](queries[None], keys[None], values[None], score_mod=bias)[0]


def reference(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions) -> Tensor:
    """The formula as it stands."""
    return attention_probabilities(queries, keys, relative) @ values


def fused(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """torch's own attention, with a bias [G, M, N] added to the scores."""
    mask = None if bias is None else bias.to(queries.dtype)[None]
    return F.scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=mask)[0]


def plain(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Three steps, one after the other: a product that adds to the bias, softmax, and a product."""
    scores = bias.to(queries.dtype).baddbmm_(queries * queries.shape[-1] ** -0.5, keys.transpose(1, 2))
    return torch.bmm(torch.softmax(scores, dim=-1, out=scores), values)


def grid_forms(groups: int, grid: tuple[int, int], device: str, dtype: torch.dtype) -> Forms:
    """The forms of attention of all tokens of a grid, with random inputs."""
    tokens = grid[0] * grid[1]
    queries, keys, values = (torch.randn(groups, tokens, DIM, device=device, dtype=dtype) for _ in range(3))
    tables = [torch.randn(2 * length - 1, DIM, device=device, dtype=dtype) / 10 for length in grid]
    offsets, pairs = OffsetTables(*tables), RelativePositions(*map(relative_table, tables, grid))
    forms: Forms = {
        f"chunks of {size} MB": partial(attention, queries, keys, values, offsets, grid,
                                        context=Context(chunk_bytes=size * 2**20)) for size in (2, 16, 64, 256)}
    forms["folded"] = partial(folded, queries, keys, values, pairs, grid)
    if device != "cpu":
        forms["flex"] = partial(flexible, queries, keys, values, pairs, grid, [])
    if tokens <= 4096:
        forms["reference"] = partial(reference, queries, keys, values, pairs)
    forms["without positions"] = partial(fused, queries, keys, values, None)
    return forms


def cell_inputs(deviation: float, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries [G, M, d], keys and values [G, N, d] of a cell, and the bias [G, M, N], in the dtypes of `cells`.

    Args:
        deviation: standard deviation of the scores.
        device, dtype: what the net computes with.
    """
    side = CELL + 2 * REACH
    wide = torch.float32 if device == "cpu" else dtype
    narrow = dtype if dtype == torch.bfloat16 else wide
    queries, keys, values = (torch.randn(HEADS, count, CELL_DIM, device=device).to(narrow)
                             for count in (CELL**2, side**2, side**2))
    offset = torch.arange(CELL, device=device)[:, None] + REACH - torch.arange(side, device=device)
    near = offset.abs() <= REACH  # [CELL, side], along each axis
    seen = (near[:, None, :, None] & near[None, :, None, :]).flatten(2).flatten(0, 1)
    bias = torch.zeros(HEADS, *seen.shape, dtype=wide, device=device).masked_fill_(~seen, float("-inf"))
    return queries * deviation, keys, values, bias


def cell_forms(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scores: Tensor) -> Forms:
    """The forms of attention of a cell, which may overwrite `scores`, a copy of the bias."""
    halves = torch.empty_like(bias, dtype=queries.dtype).flatten()
    products = halves if bias.device.type == "cpu" and queries.dtype == torch.bfloat16 else None
    return {"attend": partial(attend, queries, keys, values, scores, products),
            "torch's own": partial(fused, queries, keys, values, scores),
            "baddbmm, softmax, bmm": partial(plain, queries, keys, values, scores)}


def denormal_share(queries: Tensor, keys: Tensor, bias: Tensor) -> float:
    """The share of a cell's keys within reach whose softmax weight is a denormal number of float32."""
    scores = queries.float() * queries.shape[-1] ** -0.5 @ keys.float().transpose(1, 2) + bias.float()
    weights = scores.double().softmax(dim=-1)  # in float32 a device may have made 0 of them
    least, tiny = 2.0**-149, torch.finfo(torch.float32).tiny
    return float(((weights >= least) & (weights < tiny)).sum() / bias.isfinite().sum())


def timed(title: str, forms: Forms, macs: int, rounds: int, device: str,
          before: Callable[[], object] = lambda: None) -> None:
    """Prints each form's median time and rate; `before` is called before each form and does not count."""
    times: dict[str, list[float]] = {form: [] for form in forms}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for form, call in list(forms.items()):
                try:
                    before()
                    taken = seconds(call, device)
                except RuntimeError as error:
                    print(f"{title} | {form} | {str(error).splitlines()[0][:80]}")
                    del forms[form]
                    continue
                if turn:
                    times[form].append(taken)
    for form, found in times.items():
        if found:
            median = statistics.median(found)
            print(f"{title} | {form} | {median * 1e3:.2f} ms | {macs / median / 1e9:.0f} G multiply-adds/s", flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=[*GRIDS, CELLS], default=[*GRIDS, CELLS])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device, dtype = options.device, PRECISIONS[options.precision]
    print(machine(device), options.precision)
    for case in options.cases:
        if case != CELLS:
            title, groups, grid = GRIDS[case]
            macs = 2 * groups * (grid[0] * grid[1]) ** 2 * DIM
            timed(title, grid_forms(groups, grid, device, dtype), macs, options.rounds, device)
            continue
        for deviation in DEVIATIONS:
            queries, keys, values, bias = cell_inputs(deviation, device, dtype)
            scores = bias.clone()
            title = f"cell, scores of deviation {deviation:g}, {denormal_share(queries, keys, bias):.0%} denormal"
            timed(title, cell_forms(queries, keys, values, bias, scores), 2 * bias.numel() * CELL_DIM, options.rounds,
                  device, partial(scores.copy_, bias))


if __name__ == "__main__":
    main()
