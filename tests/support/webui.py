"""ComfyUI's server and its web UI in a headless browser, for test_web.py and make_pictures.py.

A host is a folder (COMFYUI_HOST) with `ComfyUI/`, a checkout; `venv/`, its Python environment; and
`ui/node_modules/playwright-core`. Node and Chromium (CHROMIUM, else /usr/bin/chromium) are on the machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from paths import ROOT

PACK = "ComfyUI-ViTMatte"


class Server:
    """A ComfyUI on the CPU which has this pack alone; its files are in `base`, an empty folder.

    Used as a context manager; `url` is where it answers.
    """

    def __init__(self, host: Path, base: Path, *, seconds: float = 300) -> None:
        self.base = base
        for folder in ("custom_nodes", "models", "input", "output", "temp", "user"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        link = base / "custom_nodes" / PACK
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with (base / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(host / "venv/bin/python"), "main.py", "--cpu", "--port", str(port), "--base-directory", str(base),
                 "--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"],
                cwd=host / "ComfyUI", stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        until = time.monotonic() + seconds
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"ComfyUI did not start:\n{self.log()[-3000:]}")
            time.sleep(0.5)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/system_stats", timeout=10):
                return True
        except OSError:
            return False

    def log(self) -> str:
        """What the server has printed."""
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ends the server."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


class Browser:
    """A page of the web UI. `browser.search(text="matting")` takes that step of web/steps.mjs and gives its value."""

    def __init__(self, host: Path, url: str, *, width: int = 1600, height: int = 1000, scale: float = 1) -> None:
        self.process = subprocess.Popen(
            ["node", str(ROOT / "tests/web/driver.mjs"), str(host), url, str(width), str(height), str(scale)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __getattr__(self, step: str) -> Any:
        def take(**options: Any) -> Any:
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(json.dumps({"step": step, **options}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            answer = json.loads(line) if line else {"error": "the browser's driver ended"}
            if "error" in answer:
                raise RuntimeError(f"{step}({options}): {answer['error']}")
            return answer["value"]

        return take

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
