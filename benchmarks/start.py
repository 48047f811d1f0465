"""How long the import and loading a model take: `python -m benchmarks.start WEIGHTS LIBRARY`, one JSON line."""

from __future__ import annotations

import json
import sys
import time

import torch  # noqa: F401  what both need anyway


def main() -> None:
    weights, library = sys.argv[1:]
    start = time.perf_counter()
    if library == "ours":
        from vitmatte import load_model
    else:
        from transformers import VitMatteForImageMatting
    imported = time.perf_counter()
    from .measure import Peak

    with Peak("cpu") as peak:
        began = time.perf_counter()
        kept = load_model(weights) if library == "ours" else VitMatteForImageMatting.from_pretrained(weights)
        loaded = time.perf_counter()
    del kept
    print(json.dumps({"import_seconds": imported - start, "load_seconds": loaded - began, "load_bytes": peak.bytes}))


if __name__ == "__main__":
    main()
