"""Thousands of frames through a real ComfyUI: many prompts of small clips, two models in turn, one large batch."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .trend import Trend, held

ROOT = Path(__file__).parents[1]
CLIP = 25  # frames of a prompt; the large batch is a tenth of all
BUNDLED, COPY = "vitmatte-tiny (bundled)", "copy/model.safetensors"


def prompt(number: int, frames: int, model: str, sizes: int) -> dict[str, Any]:
    """Frames from mask to cut-out, in one of so many sizes; the trimap is another each time."""
    width, height = 64 + 8 * (number % sizes % 13), 64 + 8 * (number % sizes % 11)
    scaled = {"upscale_method": "bilinear", "width": width, "height": height, "crop": "disabled"}
    nodes: list[tuple[str, dict[str, Any]]] = [
        ("ViTMatteExample", {"picture": "lemur", "frames": 1}),
        ("ImageScale", {"image": ["1", 0], **scaled}),
        ("MaskToImage", {"mask": ["1", 1]}),
        ("ImageScale", {"image": ["3", 0], **scaled}),
        ("ImageToMask", {"image": ["4", 0], "channel": "red"}),
        ("ViTMatteTrimap", {"mask": ["5", 0], "inner": 2.0, "outer": 3.0 + number / 1000}),
        ("ViTMatteModelLoader", {"model_name": model, "precision": "auto", "normalization": "as trained"}),
        ("RepeatImageBatch", {"image": ["2", 0], "amount": frames}),
        ("ViTMatteMatting", {"model": ["7", 0], "image": ["8", 0], "trimap": ["6", 0]}),
        ("ViTMatteForeground", {"image": ["8", 0], "alpha": ["9", 0]}),
        ("PreviewImage", {"images": ["10", 1]}),
    ]
    return {str(i): {"class_type": kind, "inputs": inputs} for i, (kind, inputs) in enumerate(nodes, start=1)}


class Host:
    """A ComfyUI on the CPU, with this pack alone and folders of its own."""

    def __init__(self, root: Path, base: Path) -> None:
        for folder in ("custom_nodes", "models/vitmatte/copy", "input", "output", "temp", "user"):
            (base / folder).mkdir(parents=True)
        (base / "custom_nodes" / "ComfyUI-ViTMatte").symlink_to(ROOT)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(ROOT / "vitmatte" / "bundled" / "vitmatte-tiny" / file, base / "models" / "vitmatte" / "copy")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = base / "log.txt"
        command: list[str | Path] = [
            root / "venv" / "bin" / "python", "main.py", "--cpu", "--port", str(self.port), "--base-directory", base,
            "--disable-auto-launch", "--disable-api-nodes", "--database-url", "sqlite:///:memory:"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=root / "ComfyUI", stdout=log, stderr=subprocess.STDOUT,
                                            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"})

    def __enter__(self) -> Host:
        for _ in range(300):
            try:
                self.about = self.ask("system_stats")["system"]
                return self
            except urllib.error.URLError:
                if self.process.poll() is not None:
                    break
                time.sleep(1)
        raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text()[-3000:]}")

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, path: str, content: Any = None) -> Any:
        """The answer to a GET, or with content to a POST."""
        body = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", body, timeout=60) as answer:
            return json.load(answer)

    def run(self, nodes: dict[str, Any]) -> None:
        """Runs a prompt to its end; RuntimeError unless it succeeds."""
        number = self.ask("prompt", {"prompt": nodes})["prompt_id"]
        while number not in (found := self.ask(f"history/{number}")):
            time.sleep(0.1)
        status = found[number]["status"]
        if status["status_str"] != "success":
            raise RuntimeError(f"the prompt failed: {status['messages']}\n{self.log.read_text()[-3000:]}")


def through_comfyui(root: Path, frames: int, sizes: int) -> tuple[str, str, Trend]:
    """(what ran, a name for it, what it held after each prompt)."""
    trend = Trend()
    with tempfile.TemporaryDirectory() as base, Host(root.resolve(), Path(base)) as host:
        large, done, number = frames // 10, 0, 0
        while done < frames:
            batch = large if done >= frames * 0.4 and large else CLIP
            large = 0 if batch != CLIP else large
            model = COPY if number % 10 == 9 else BUNDLED
            host.run(prompt(number, batch, model, sizes))
            done, number = done + batch, number + 1
            trend.add(done, held(host.process.pid))
        version = host.about["comfyui_version"]
        about = f"ComfyUI {version}, torch {host.about['pytorch_version']}, on a CPU; {number} prompts in {sizes} sizes"
        return about, f"comfyui-{version}-{sizes}-sizes", trend
