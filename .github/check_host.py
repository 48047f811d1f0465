"""Starts a ComfyUI which has the pack in its custom_nodes, and asks whether it knows the nodes.

    python .github/check_host.py FOLDER_OF_COMFYUI [further arguments of main.py]

Once with `--quick-test-for-ci`, which ends with 0 whatever a pack does: its log may name the pack in nothing but the
line that says how long it took to load. And once as a server, whose /object_info must list every node that has a help
page.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

NODES = sorted(path.stem for path in (Path(__file__).parents[1] / "web" / "docs").glob("*.md"))
LOADED = re.compile(r"[\d.]+ seconds: \S*custom_nodes.ComfyUI-ViTMatte$")  # newer ones put a coloured level first
PORT = 8199


def start(host: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(host / "main.py"), "--cpu", *arguments]


def quick_test(host: Path, arguments: list[str]) -> None:
    done = subprocess.run(start(host, "--quick-test-for-ci", *arguments), cwd=host, text=True, timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(done.stdout)
    about = [line for line in done.stdout.splitlines() if re.search("custom_nodes.ComfyUI-ViTMatte", line)]
    if done.returncode or len(about) != 1 or not LOADED.search(about[0]):
        sys.exit(f"ComfyUI ended with {done.returncode} and said of the pack: {about}")


def known_nodes(host: Path, arguments: list[str]) -> set[str]:
    """Of a server's /object_info."""
    server = subprocess.Popen(start(host, "--port", str(PORT), *arguments), cwd=host)
    try:
        for _ in range(120):
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/object_info", timeout=60) as answer:
                    return set(json.load(answer))
            except urllib.error.URLError:
                if server.poll() is not None:
                    break
        sys.exit(f"no answer from ComfyUI's server, exit status {server.poll()}")
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    host, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    quick_test(host, arguments)
    missing = set(NODES) - known_nodes(host, arguments)
    if missing:
        sys.exit(f"ComfyUI does not know {sorted(missing)}")
    sys.stdout.write(f"ComfyUI knows {', '.join(NODES)}\n")


if __name__ == "__main__":
    main()
