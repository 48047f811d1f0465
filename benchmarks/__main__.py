"""Against transformers: time and memory of one matte, side by side in one run.

`python -m benchmarks` writes JSON and a Markdown table. Weights are random (they do not matter to speed) and the same
for both; libraries take turns, each case in a process of its own. On two cores all of it takes about an hour; `--models
S --sides 512 1024` takes four minutes. What would not fit the memory there is, is not tried.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from vitmatte.inference.context import PRECISIONS
from vitmatte.inference.decode import decoder_shape, features_needed
from vitmatte.inference.macs import transformer_macs
from vitmatte.inference.plan import Footprint
from vitmatte.inference.planning import make_plan
from vitmatte.inference.tiles import cover

from .case import ring
from .measure import free
from .nets import HEADS, make_weights, net_config

ROOT = Path(__file__).parents[1]
SIDES, SHARES = (512, 1024, 2048, 4096), (1.0, 0.15)


def measure(module: str, *arguments: str) -> dict[str, Any]:
    """One process's JSON line, or {"error": its last words}."""
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], cwd=ROOT, capture_output=True,
                          text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"error": said[-1] if said else f"killed ({done.returncode})"}
    return json.loads(done.stdout.splitlines()[-1])


def scores_bytes(case: dict[str, Any]) -> int:
    """What transformers holds at its peak: three tensors of all scores of a global block."""
    tokens = (case["side"] // 16) ** 2
    return 3 * HEADS[case["model"]] * tokens**2 * (4 if case["precision"] == "fp32" else 2)


def compare(case: dict[str, Any], repeats: int, weights: Path, memory: int) -> dict[str, Any]:
    """Both libraries on a case, taking turns."""
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "transformers": []}
    impossible = scores_bytes(case) > memory
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats):
            for library, found in results.items():
                if library == "transformers" and impossible:
                    continue
                keep = {"keep": f"{folder}/{library}.pt"} if turn == 0 else {}
                found.append(measure("case", str(weights / case["model"]), library, json.dumps(case | keep)))
        entry: dict[str, Any] = {**case, "runs": results}
        kept = [Path(folder) / f"{library}.pt" for library in results]
        if all(path.exists() for path in kept):
            alphas = [torch.load(path) for path in kept]
            unknown = ring(case["side"], case["share"]) == 0.5
            difference = (alphas[0] - alphas[1])[unknown].abs()
            entry["largest_difference"], entry["mean_difference"] = float(difference.max()), float(difference.mean())
    for library, found in results.items():
        good = [run for run in found if "error" not in run]
        if good:
            entry[library] = {key: statistics.median(run[key] for run in good)
                              for key in ("seconds", "peak_bytes", "product_rate")}
            entry["machine"] = good[0]["machine"]
    if "ours" in entry:
        entry["share_of_product_rate"] = macs(case) / entry["ours"]["seconds"] / entry["ours"]["product_rate"]
    if impossible:
        entry["transformers_error"] = f"cannot: its scores alone take {scores_bytes(case) / 2**30:.0f} GB"
    elif results["transformers"] and "transformers" not in entry:
        entry["transformers_error"] = results["transformers"][0]["error"]
    return entry


def macs(case: dict[str, Any]) -> int:
    """Multiply-adds that our inference does for a case."""
    config = net_config(case["model"]).architecture()
    assert config.transformer is not None
    side, shape = case["side"], decoder_shape(config)
    footprint = Footprint(config, side, side, PRECISIONS[case["precision"]], torch.device(case["device"]).type)
    unknown = ring(side, case["share"])[0] == 0.5
    tiles = cover(unknown.numpy(), shape, *footprint.padded, make_plan(footprint).sides)
    needed = int(features_needed(config, unknown, footprint.grid).sum())
    backbone = transformer_macs(config.transformer, footprint.grid, needed, False)
    return backbone + sum(shape.macs(tile) for tile in tiles)


def row(entry: dict[str, Any]) -> str:
    """A line of the table."""
    cells = [f"{entry['model']} {entry['precision']}", f"{entry['side']}²", f"{entry['share']:.0%}"]
    us, them = entry.get("ours"), entry.get("transformers")
    cells += [f"{us['seconds']:.2f} s", f"{us['peak_bytes'] / 2**20:.0f} MB"] if us else ["failed", ""]
    if us and them:
        cells += [f"{them['seconds']:.2f} s", f"{them['peak_bytes'] / 2**20:.0f} MB",
                  f"{them['seconds'] / us['seconds']:.2f}", f"{them['peak_bytes'] / max(1, us['peak_bytes']):.1f}"]
    else:
        cells += [entry.get("transformers_error", ""), "", "", ""]
    cells += [f"{entry['largest_difference']:.1e}" if "largest_difference" in entry else "",
              f"{entry.get('share_of_product_rate', 0):.0%}"]
    return "| " + " | ".join(cells) + " |"


HEAD = ("| net | picture | unknown | ours | peak | transformers | peak | time ratio | memory ratio "
        "| largest difference | of product rate |\n|---|---|---|---|---|---|---|---|---|---|---|")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES)
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16", "bf16"), default=("fp32",))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=float, help="GB that transformers may take (default: what is free)")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    memory = free(options.device) if options.memory is None else int(options.memory * 2**30)
    options.output.mkdir(parents=True, exist_ok=True)
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder)
        make_weights(weights)
        print(HEAD, flush=True)
        for model in options.models:
            for precision in options.precisions:
                for side in options.sides:
                    for share in options.shares:
                        case = {"model": model, "precision": precision, "side": side, "share": share,
                                "device": options.device}
                        repeats = max(1, options.repeats if side < 2048 else options.repeats - 1)
                        entries.append(compare(case, repeats, weights, memory))
                        print(row(entries[-1]), flush=True)
        starts = {library: [measure("start", str(weights / "S"), library) for _ in range(options.repeats)]
                  for library in ("ours", "transformers")}
    lines = [f"{library}: import {statistics.median(s['import_seconds'] for s in found):.2f} s, load S "
             f"{statistics.median(s['load_seconds'] for s in found):.2f} s"
             for library, found in starts.items() if all("error" not in s for s in found)]
    print("\n".join(lines))
    about = next((entry["machine"] for entry in entries if "machine" in entry), "")
    name = f"{options.device}-{'-'.join(options.models)}-{'-'.join(options.precisions)}"
    (options.output / f"{name}.json").write_text(
        json.dumps({"machine": about, "cases": entries, "start": starts}, indent=1) + "\n")
    (options.output / f"{name}.md").write_text(
        "\n".join([about, "", HEAD, *map(row, entries), "", *(f"- {line}" for line in lines)]) + "\n")


if __name__ == "__main__":
    main()
