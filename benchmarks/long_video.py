"""Thousands of frames of 1280x720 through the command `vitmatte video`, killed once in the middle and resumed: what the
process holds must not grow, and every frame must be there.

    python -m benchmarks.long_video --work DIR [--frames 2000] [--kill-at N]

The pack's own clip, enlarged to fill the frame and played forth and back, with a mask for each frame, as a cut-out in
colour (16-bit PNG) with --steady 0.5. DIR takes the clip, the masks, the frames (3 MB each) and log.json, which
`--table` reads again. Slopes are by least squares over the second half of each process's run. Linux only.
"""

from __future__ import annotations

import argparse
import fractions
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import torch
from torch.nn import functional as F

from .trend import COLUMNS, Trend, held

ROOT = Path(__file__).parents[1]
SIZE, RATE = (720, 1280), 24
INNER, OUTER, STEADY = 4, 8, 0.5
Sample = dict[str, float]


def enlarged(path: Path, pixels: str) -> list[np.ndarray]:
    """The frames of a clip, cut to the shape of SIZE and enlarged to it."""
    found = []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            plane = torch.from_numpy(frame.to_ndarray(format=pixels))
            plane = plane.unsqueeze(-1) if plane.ndim == 2 else plane
            height = plane.shape[1] * SIZE[0] // SIZE[1]
            top = (plane.shape[0] - height) // 2
            planes = plane[top:top + height].permute(2, 0, 1).unsqueeze(0).float()
            large = F.interpolate(planes, size=SIZE, mode="bicubic", align_corners=False)[0]
            if pixels == "gray":
                large = (large > 127.5) * 255.0
            found.append(large.clamp(0, 255).round().byte().permute(1, 2, 0).squeeze(-1).contiguous().numpy())
    return found


def write(path: Path, frames: list[np.ndarray], count: int, pixels: str, codec: str, options: dict[str, str]) -> None:
    """A video of so many frames: these, forth and back."""
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "gray" if pixels == "gray" else "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(frames[order[i % len(order)]], format=pixels)
            frame.pts, frame.time_base = i, fractions.Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def run(work: Path, every: float, kill_at: int | None, samples: list[Sample]) -> int:
    """Runs the command, sampling what it holds; SIGKILL at so many frames. Gives its return code."""
    frames = work / "frames"
    command = [sys.executable, "-m", "vitmatte", "video", str(work / "clip.mp4"), "--mask", str(work / "masks.mkv"),
               "--inner", str(INNER), "--outer", str(OUTER), "--steady", str(STEADY), "-o", str(frames),
               "--skip-existing"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(every)
        done = sum(name.endswith(".png") and not name.startswith(".") for name in os.listdir(frames)) \
            if frames.is_dir() else 0
        try:
            now = held(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            break
        if now[0]:
            samples.append({"process": process.pid, "frames": done, **dict(zip(COLUMNS, now, strict=True))})
            (work / "log.json").write_text(json.dumps(samples))
        if kill_at is not None and done >= kill_at:
            process.send_signal(signal.SIGKILL)
    return process.wait()


def table(samples: list[Sample]) -> str:
    """Markdown: the trend of each process."""
    texts = []
    for process in dict.fromkeys(sample["process"] for sample in samples):
        trend = Trend()
        for sample in samples:
            if sample["process"] == process and (not trend.frames or sample["frames"] > trend.frames[0]):
                trend.add(int(sample["frames"]), tuple(sample[name] for name in COLUMNS))
        texts.append(trend.table())
    return "\n\n".join(texts)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--kill-at", type=int, help="frames after which it is killed (default: half of them)")
    parser.add_argument("--every", type=float, default=10, help="seconds between two samples")
    parser.add_argument("--table", action="store_true", help="print the table of a run that was made before")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads((options.work / "log.json").read_text())))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    for name, source, pixels, codec, how in (
            ("clip.mp4", "clip.mp4", "rgb24", "libx264", {"crf": "20", "preset": "veryfast"}),
            ("masks.mkv", "clip-masks.mkv", "gray", "ffv1", {})):
        if not (options.work / name).exists():
            write(options.work / name, enlarged(ROOT / "pictures" / source, pixels), options.frames, pixels, codec, how)
    samples: list[Sample] = []
    killed = run(options.work, options.every, options.kill_at or options.frames // 2, samples)
    left = sorted(name for name in os.listdir(options.work / "frames") if name.startswith("."))
    print(f"first process ended with {killed}; unfinished files it left: {left}", flush=True)
    ended = run(options.work, options.every, None, samples)
    there = len([name for name in os.listdir(options.work / "frames") if name.endswith(".png")])
    print(f"second process ended with {ended}; {there} of {options.frames} frames\n\n{table(samples)}")


if __name__ == "__main__":
    main()
