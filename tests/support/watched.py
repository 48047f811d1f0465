"""Runs the pack in a process of its own, and prints as JSON what it did to the world outside (Python's audit events).

    python watched.py library MODEL | nodes | control FOLDER | cli ARGUMENT...

{"network": [...], "written": [paths], "started": [...]}: connections, files and folders made, changed or removed, and
programs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.")
STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.startfile", "pty.")
CHANGED = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate",
           "tempfile.", "shutil.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

seen: dict[str, list[str]] = {"network": [], "written": [], "started": []}
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not watching:
        return
    if event.startswith(NETWORK):
        seen["network"].append(f"{event} {arguments[1:]}")
    elif event.startswith(STARTED):
        seen["started"].append(f"{event} {arguments[0]}")
    elif event.startswith(CHANGED):
        paths = arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]
        seen["written"] += [os.path.abspath(os.fsdecode(path)) for path in paths if isinstance(path, (str, bytes))]
    elif event == "open" and isinstance(arguments[0], (str, bytes)) and arguments[2] & WRITING:
        seen["written"].append(os.path.abspath(os.fsdecode(arguments[0])))


def use_the_library(model: str) -> None:
    import torch

    from vitmatte import cut_out, load_model, make_trimap, matte

    mask = torch.zeros(40, 40)
    mask[10:30, 10:30] = 1
    image = torch.rand(1, 40, 40, 3)
    for name in ("vitmatte-tiny", model):
        cut_out(image, matte(load_model(name), image, make_trimap(mask, inner=4, outer=4)))


def use_the_nodes() -> None:
    import pack

    _, nodes = pack.load()
    by_id = {node.GET_SCHEMA().node_id: node for node in nodes}
    image, mask = by_id["ViTMatteExample"].execute(picture="portrait", frames=1).result
    image, mask = (plane[:, 200:264, 300:364] for plane in (image, mask))
    trimap = by_id["ViTMatteTrimap"].execute(mask=mask, inner=4.0, outer=4.0).result[0]
    chosen = {"model_name": "vitmatte-tiny (bundled)", "precision": "auto", "normalization": "as trained"}
    by_id["ViTMatteModelLoader"].fingerprint_inputs(**chosen)
    for name in by_id["ViTMatteModelLoader"].GET_SCHEMA().inputs[0].options:
        by_id["ViTMatteModelLoader"].fingerprint_inputs(**{**chosen, "model_name": name})  # asks nobody for it
    model = by_id["ViTMatteModelLoader"].execute(**chosen).result[0]
    by_id["ViTMatteMatting"].execute(model=model, image=image, trimap=trimap)


def do_what_is_forbidden(folder: str) -> None:
    import socket
    import subprocess

    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))
    subprocess.run([sys.executable, "-c", ""], check=True)
    file, other = Path(folder) / "a", Path(folder) / "b"
    file.write_text("")
    file.rename(other)
    other.unlink()


def main() -> None:
    global watching
    how, *arguments = sys.argv[1:]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
    sys.addaudithook(watch)
    import torch  # noqa: F401  what torch does to the world when it is imported is its own affair

    watching, status = True, 0
    if how == "library":
        use_the_library(*arguments)
    elif how == "nodes":
        use_the_nodes()
    elif how == "control":
        do_what_is_forbidden(*arguments)
    else:
        from vitmatte.cli.main import main as command

        status = command(arguments)
    watching = False
    sys.stdout.write("\n" + json.dumps({**seen, "status": status}) + "\n")


if __name__ == "__main__":
    main()
