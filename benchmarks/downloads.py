"""Downloads that are interrupted: how much is sent again, `python -m benchmarks.downloads`, a Markdown table.

A server on loopback sends a file over a slow line; at 60 % something happens, and the download is called once more.
huggingface_hub's own `hf_hub_download(local_dir=...)` and ours take turns, each in a process of its own. Without
hf_xet's protocol, which needs the real hub.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAME, REVISION, WEIGHTS = "vitmatte-benchmark", "a" * 40, "model.safetensors"
CLIENTS, EVENTS = ("hf_hub_download", "ours"), ("cut", "outage", "cancel", "kill")


class Line(ThreadingHTTPServer):
    """The server, and what the line does."""

    daemon_threads = True

    def __init__(self, content: bytes, rate: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {WEIGHTS: content, "config.json": b'{"a": 1}', "preprocessor_config.json": b'{"a": 1}'}
        self.rate, self.sent, self.down = rate, 0, False
        self.cut_at: int | None = None  # bytes of the weights after which the connection breaks, once
        self.reached = threading.Event()  # 60 % of the weights are sent

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the plan."""


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Line

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """The file, from where it is asked for."""
        if self.server.down:
            self.close_connection = True
            self.connection.close()
            return
        name = self.path.rpartition("/")[2]
        content = self.server.files[name]
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
        large = name == WEIGHTS
        etag = hashlib.sha256(content) if large else hashlib.sha1(b"blob %d\0" % len(content) + content)
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag.hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.send(content, start, large)

    def send(self, content: bytes, start: int, large: bool) -> None:
        """The bytes, as fast as the line is."""
        step = 2**16
        for place in range(start, len(content), step):
            if large and place >= 0.6 * len(content):
                self.server.reached.set()
            if self.server.down or (large and self.server.cut_at is not None and place >= self.server.cut_at):
                self.server.cut_at = None
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(content[place:place + step])
            if large:
                self.server.sent += len(content[place:place + step])
                time.sleep(step / self.server.rate)


def fetch(client: str, folder: Path, flag: Path, sha256: str, size: int) -> None:
    """One download in this process; cancelled once `flag` exists."""
    from huggingface_hub import hf_hub_download
    from tqdm.auto import tqdm

    def cancel() -> None:
        if flag.exists():
            print(time.time() - flag.stat().st_mtime)
            raise RuntimeError("cancelled")

    if client == "ours":
        from vitmatte.weights import download, released

        released.RELEASED[NAME] = released.Released(NAME, REVISION, WEIGHTS, size, sha256, "", "")
        download.download(NAME, folder, check_interrupt=cancel)
        return

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            cancel()
            return super().update(n)

    import inspect

    how: dict[str, Any] = {"tqdm_class": Bar} if "tqdm_class" in inspect.signature(hf_hub_download).parameters else {}
    hf_hub_download(f"hustvl/{NAME}", WEIGHTS, revision=REVISION, local_dir=folder, **how)


def tried(client: str, event: str, megabytes: int, rate: int) -> str:
    """What is sent in all, in percent of the file, and what else is to be told."""
    content = random.Random(0).randbytes(megabytes * 2**20)
    with Line(content, rate) as line, tempfile.TemporaryDirectory() as temporary:
        threading.Thread(target=line.serve_forever, args=(0.02,), daemon=True).start()
        folder, flag = Path(temporary) / "models", Path(temporary) / "cancelled"
        environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{line.server_port}", "HF_HUB_OFFLINE": "0",
                       "HF_HOME": temporary, "no_proxy": "127.0.0.1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-m", "benchmarks.downloads", "--fetch", json.dumps(
            [client, str(folder), str(flag), hashlib.sha256(content).hexdigest(), len(content)])]

        def begun() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL)

        line.cut_at = int(0.6 * len(content)) if event in ("cut", "outage") else None
        process = begun()
        line.reached.wait()
        happened = time.monotonic()
        if event == "outage":
            line.down = True
        elif event == "cancel":
            flag.touch()
        elif event == "kill":
            process.kill()
        said, _ = process.communicate()
        code, told = process.returncode, []
        if event == "outage":
            told = [f"gave up after {time.monotonic() - happened:.0f} s"]
        elif event == "cancel":
            told = [f"ended after {float(said):.2f} s" if code else "could not be cancelled"]
        line.down = False
        flag.unlink(missing_ok=True)
        if event == "cut" and code:
            told.append("had to be called again")
        if code:
            assert begun().wait() == 0
        line.shutdown()
        kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if kept > len(content) + 10_000:
            told.append(f"{(kept - len(content)) / 2**20:.0f} MB are left over on disk")
        return ", ".join([f"{line.sent / len(content):.0%}", *told])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.downloads", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=48)
    parser.add_argument("--rate", type=float, default=8.0, help="megabytes a second")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=CLIENTS)
    parser.add_argument("--fetch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fetch:
        client, folder, flag, sha256, size = json.loads(options.fetch)
        fetch(client, Path(folder), Path(flag), sha256, size)
        return
    import huggingface_hub

    print(f"huggingface_hub {huggingface_hub.__version__}, {options.megabytes} MB at {options.rate:g} MB/s\n")
    print("| at 60 % | " + " | ".join(options.clients) + " |\n|---|" + "---|" * len(options.clients))
    for event in EVENTS:
        found = [tried(client, event, options.megabytes, int(options.rate * 2**20)) for client in options.clients]
        print(f"| {event} | " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
