"""A workflow as the web UI of a ComfyUI saves it, for test_web.py.

    COMFYUI_HOST=... python tests/support/make_saved.py

Written to tests/data/saved/, named by the frontend's version; another version opens and runs them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from paths import DATA
from webui import Browser, Server

TEMPLATE = "Change the background of a portrait (ViTMatte matting)"  # has every kind of widget


def main() -> None:
    host = Path(os.environ["COMFYUI_HOST"])
    with (tempfile.TemporaryDirectory() as base, Server(host, Path(base)) as server,
          Browser(host, server.url) as browser):
        version = browser.open()
        browser.openTemplate(name=TEMPLATE)
        browser.save(name="saved")
        to = DATA / "saved" / f"frontend-{version}.json"
        to.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(base) / "user" / "default" / "workflows" / "saved.json", to)


if __name__ == "__main__":
    main()
