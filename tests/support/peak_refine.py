"""One refinement in a process of its own: `python peak_refine.py JSON` prints its memory peak in bytes (Linux).

JSON: height, width; share of the area that is unknown, a horizontal band; limit.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from vitmatte import refine_matte  # noqa: E402


def main() -> None:
    case = json.loads(sys.argv[1])
    height, width = case["height"], case["width"]
    image, trimap = torch.rand(1, height, width, 3), torch.zeros(1, height, width)
    trimap[:, :max(1, round(case["share"] * height))] = 0.5
    refine_matte(image[:, :64, :64], trimap[:, :64, :64], torch.full((1, 64, 64), 0.5))
    ctypes.CDLL(None).malloc_trim(0)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    Path("/proc/self/clear_refs").write_text("5")
    refine_matte(image, trimap, trimap, memory_limit=case["limit"], strength=0.01)  # a weak one is soon done
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) - before
    print(json.dumps({"measured": peak}))


if __name__ == "__main__":
    main()
