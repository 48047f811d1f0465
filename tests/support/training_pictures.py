"""A handful of generated pictures and a recipe for them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from nets import small_config
from PIL import Image


def training_folder(base: Path) -> Path:
    """fg: four cut-outs, bg: four photographs, index.csv, and recipe.json beside them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:90, 0:120]
    rows = []
    for i in range(4):
        cut = rng.integers(0, 256, (90, 120, 4), dtype=np.uint8)
        cut[..., 3] = np.clip((40 - np.hypot(x - 60, y - 45)) * (20 + 10 * i), 0, 255)
        for name, picture in ((f"fg/cut{i}.png", cut), (f"bg/photo{i}.png", cut[..., :3])):
            (base / name).parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(base / name)
            rows.append({"file": name, "split": "val" if i == 3 else "train"})
    with (base / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "split"])
        writer.writeheader()
        writer.writerows(rows)

    def source(name, split):
        return [{"folder": name, "index": "index.csv", "where": {"split": [split]}}]

    recipe = {
        "comment": "for tests", "foregrounds": source("fg", "train"), "backgrounds": source("bg", "train"),
        "validation_foregrounds": source("fg", "val"), "validation_backgrounds": source("bg", "val"),
        "model": small_config().to_dict(), "run": "run", "precision": "fp32", "workers": 0, "log_every": 1,
        "validation_count": 3, "validation_size": 64, "validate_every": 2,
        "phases": [{"until": 2, "crops": [{"size": 64, "batch": 2}]},
                   {"crops": [{"size": 64, "batch": 2}, {"size": 96, "batch": 1}]}],
        "schedule": {"rate": 1e-3, "warmup": 2, "steps": 4, "decay": 2},
    }
    (base / "recipe.json").write_text(json.dumps(recipe))
    return base
