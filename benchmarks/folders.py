"""A folder of small pictures, one thing after the other, overlapped, in four parts at once, and on Ray: the bytes,
time, processors' time and memory of each; `ray` needs an environment that has it.

    python -m benchmarks.folders --count 1000 --folder FOLDER
    python -m benchmarks.folders --list 100000 --folder FOLDER   # tiny files: listing and resuming

Memory is the proportional set size of the command and of everything that it started, sampled each second (Linux).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from .measure import MEBI

ROOT = Path(__file__).parents[1]
WAYS = ("in turn", "overlapped", "four parts", "ray")


def make(folder: Path, count: int, side: int) -> None:
    """Crops of the example portrait and its mask, the same each time."""
    random = np.random.default_rng(0)
    photo = Image.open(ROOT / "pictures" / "portrait.jpg").convert("RGB")
    mask = Image.open(ROOT / "pictures" / "portrait-mask.png").convert("L")
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        x, y = (int(random.integers(0, length - 2 * side)) for length in photo.size)
        box = (x, y, x + 2 * side, y + 2 * side)
        photo.crop(box).resize((side, side)).save(folder / f"photos/shot.{1001 + i}.jpg", quality=92)
        mask.crop(box).resize((side, side)).save(folder / f"masks/shot.{1001 + i}.png")


def make_tiny(folder: Path, count: int) -> None:
    """Files of one pixel, in folders of a thousand."""
    Image.new("L", (1, 1), 255).save(folder / "one.png")
    content = (folder / "one.png").read_bytes()
    for name in ("photos", "masks"):
        for i in range(count):
            path = folder / name / f"{i // 1000:03}" / f"{i:06}.png"
            if i % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def family(root: int) -> list[int]:
    """The process and everything below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
    found = [root]
    for process in found:
        found += parents.get(process, [])
    return found


def held(process: int) -> int:
    """Bytes, its share of what it shares; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def used(process: int) -> float:
    """Seconds of a processor; 0 of one that is gone."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measured(*commands: list[str]) -> dict[str, float]:
    """What commands take that run at once."""
    start, peak, seconds = time.perf_counter(), 0, dict[int, float]()
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for command in commands]
    while any(process.poll() is None for process in running):
        time.sleep(1)
        all_of_them = {one for process in running for one in family(process.pid)}
        peak = max(peak, sum(map(held, all_of_them)))
        for one in all_of_them:
            seconds[one] = max(seconds.get(one, 0.0), used(one))
    failed = sum(process.returncode != 0 for process in running)
    return {"seconds": time.perf_counter() - start, "processor_seconds": sum(seconds.values()),
            "peak_mb": peak / MEBI, "failed": failed}


def digest(*folders: Path) -> str:
    """Of the names and bytes of all files."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.png")):
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


def ended(record: Path) -> list[dict[str, float]]:
    """The last lines of a run's manifests."""
    return [json.loads(path.read_text().splitlines()[-1]) for path in sorted(record.glob("manifest*.jsonl"))]


def folder_run(folder: Path, way: str, options: list[str]) -> dict[str, object]:
    """One way of doing the folder."""
    out = folder / way.replace(" ", "-")
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "vitmatte", "cutout", str(folder / "photos"), "--mask", str(folder / "masks"),
               "-o", str(out / "cut"), "--alpha", str(out / "alpha"), "--manifest", str(out / "record"),
               "--inner", "3", "--outer", "5", *options]
    arguments: dict[str, list[list[str]]] = {
        "in turn": [["--threads", "0"]], "overlapped": [[]], "ray": [["--engine", "ray", "--workers", "2"]],
        "four parts": [["--chunk", f"{k}/4"] for k in range(1, 5)]}
    found: dict[str, object] = dict(measured(*([*command, *words] for words in arguments[way])))
    parts = ended(out / "record")
    return {**found, "done": sum(part["done"] for part in parts), "bytes": digest(out / "cut", out / "alpha"),
            "net_share": [part.get("net_share") for part in parts],
            "run_seconds": [part.get("seconds") for part in parts]}


def listing(folder: Path) -> dict[str, dict[str, float]]:
    """Listing pictures and masks in memory of one process, and a command that finds all of them done."""
    code = ("import resource, sys, time; from pathlib import Path; from vitmatte.shots.folder import jobs_of; "
            "from vitmatte.shots.select import Selection; p = Path(sys.argv[1]); "
            "b = resource.getrusage(0).ru_maxrss; s = time.process_time(); "
            "j, _ = jobs_of(p / 'photos', p / 'masks', p / 'out', None, selection=Selection(recursive=True)); "
            "print(len(j), time.process_time() - s, (resource.getrusage(0).ru_maxrss - b) / 1024)")
    count, seconds, more = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True,
                                          capture_output=True, text=True).stdout.split()
    found = {"listing": {"files": float(count), "processor_seconds": float(seconds), "mb": float(more)}}
    shutil.copytree(folder / "photos", folder / "out", dirs_exist_ok=True)
    command = [sys.executable, "-m", "vitmatte", "trimap", str(folder / "photos"), "-o", str(folder / "out"),
               "--recursive", "--skip-existing", "--manifest", str(folder / "record")]
    for name in ("resuming, without lines", "resuming, all recorded"):
        found[name] = measured(command)
    found["nothing to do"] = measured([*command[:4], str(folder / "one.png"), "-o", str(folder / "t.png")])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folders", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--list", type=int, metavar="N", help="measure listing and resuming of N tiny files instead")
    parser.add_argument("--folder", type=Path, required=True, help="where the pictures are made; kept")
    options, more = parser.parse_known_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.list:
        if not (options.folder / "photos").exists():
            make_tiny(options.folder, options.list)
        for name, figures in listing(options.folder).items():
            print(json.dumps({name: figures}), flush=True)
        return
    if not (options.folder / "photos").exists():
        make(options.folder, options.count, options.side)
    for way in options.ways:
        print(json.dumps({way: folder_run(options.folder, way, more)}), flush=True)


if __name__ == "__main__":
    main()
