"""The samples in transformers' documentation of ViTMatte and VitDet, run as they stand but for the import."""

from __future__ import annotations

import doctest
import io
import os
import re
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from paths import ROOT
from PIL import Image

TINY = ROOT / "vitmatte" / "bundled" / "vitmatte-tiny"

transformers = pytest.importorskip("transformers")


def picture(mode: str) -> bytes:
    """A PNG of the size that the documentation's sample has."""
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (20, 30, 3), generator=generator, dtype=torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(small).convert(mode).resize((960, 640)).save(file, "PNG")
    return file.getvalue()


FILES = {
    "/datasets/hf-internal-testing/image-matting-fixtures/resolve/main/image.png": picture("RGB"),
    "/datasets/hf-internal-testing/image-matting-fixtures/resolve/main/trimap.png": picture("L"),
    **{f"/hustvl/vitmatte-small-composition-1k/resolve/*/{name}": (TINY / name).read_bytes()
       for name in ("config.json", "model.safetensors", "preprocessor_config.json")},
}


class Answer(BaseHTTPRequestHandler):
    """As much of the hub as the samples ask for; the bundled model stands in for the released one."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        content = FILES.get(re.sub(r"/resolve/[0-9a-f]{40}/", "/resolve/*/", self.path))
        self.send_response(404 if content is None else 200)
        if content is not None:
            self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    do_HEAD = do_GET


@pytest.fixture(scope="module")
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), [
    ("vitmatte.configuration_vitmatte", "VitMatteConfig"),
    ("vitmatte.modeling_vitmatte", "VitMatteForImageMatting.forward"),
    ("vitdet.configuration_vitdet", "VitDetConfig"),
    ("vitdet.modeling_vitdet", "VitDetModel.forward"),
    ("vitdet.modeling_vitdet", "VitDetBackbone.forward"),
])
def test_samples_run(module, name, hub, tmp_path):
    holder = __import__(f"transformers.models.{module}", fromlist=["x"])
    for part in name.split("."):
        holder = getattr(holder, part)
    examples = doctest.DocTestParser().get_examples(holder.__doc__ or "")
    source = "".join(f"{example.source}" for example in examples)
    assert "from transformers import" in source
    wanted = [want for example in examples if (want := example.want.replace("```", "").strip())]
    # What the sample shows is printed, as the interactive interpreter would.
    shown = "".join(f"print({example.source.strip()})\n" if example.want.replace("```", "").strip()
                    and not example.source.startswith("print") else example.source for example in examples)
    script = tmp_path / "sample.py"
    script.write_text(shown.replace("from transformers import", "from vitmatte import"), encoding="utf-8")
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT),
                   "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == wanted


@pytest.mark.slow
def test_the_demonstration_runs_offline(tmp_path):
    script = ROOT / "docs" / "examples" / "matting_and_background.py"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, env=environment, cwd=tmp_path)
    found = {name: Image.open(tmp_path / f"{name}.png") for name in ("alpha", "cutout", "lake")}
    assert {name: (image.mode, image.size) for name, image in found.items()} == {
        "alpha": ("L", (800, 800)), "cutout": ("RGBA", (800, 800)), "lake": ("RGB", (800, 800)),
    }
    share = sum(found["alpha"].histogram()[1:255]) / 800**2
    assert 0.005 < share < 0.2  # hair: neither none of it nor everything is between subject and background
