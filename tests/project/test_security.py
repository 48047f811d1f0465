"""What the pack may not do: run a file's code, use the network unasked, leave the folders it was given."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pack
import pytest
import torch
from nets import random_net
from paths import ROOT
from PIL import Image

from vitmatte.files import whole_file
from vitmatte.pictures.writing import write_image
from vitmatte.weights.download import locate

SHIPPED = [ROOT / "__init__.py", *sorted((ROOT / "vitmatte").rglob("*.py")), *sorted((ROOT / "nodes").rglob("*.py"))]
RUNS_CODE = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
# Modules that run programs, talk to the network, or make objects of bytes.
FORBIDDEN = {"subprocess", "pty", "socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests",
             "httpx", "aiohttp", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "code", "codeop",
             "ctypes", "webbrowser", "yaml"}
NETWORK = {"hf_hub_download", "snapshot_download", "get_hf_file_metadata", "hf_hub_url", "HfApi", "HfFileSystem",
           "get_session", "http_get", "http_backoff", "http_stream_backoff"}


def name_of(node: ast.expr) -> str:
    """"torch.load" of the expression torch.load; "" of what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{name_of(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def names_in(path: Path) -> set[str]:
    """Every dotted name that a file uses."""
    return {name_of(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, (ast.Name, ast.Attribute))}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call of a file, by the name of what is called."""
    return [(name_of(node.func), node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)]


def imported(path: Path) -> set[str]:
    """The first part of every module that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_code_programs_or_connections(path):
    assert not imported(path) & FORBIDDEN
    for name, call in calls(path):
        assert name not in RUNS_CODE and not name.startswith(("os.system", "os.exec", "os.spawn", "os.popen")), name
        how = {key.arg: key.value for key in call.keywords}
        if name == "torch.load":
            safe = how.get("weights_only")
            assert isinstance(safe, ast.Constant) and safe.value is True, f"torch.load in {path.name}"
        assert "trust_remote_code" not in how and "allow_pickle" not in how
        assert name not in ("torch.jit.load", "torch.package.PackageImporter", "torch.hub.load", "np.fromfile")
    pickled = {name for name in names_in(path) if name.startswith("pickle.")}
    assert pickled <= {"pickle.UnpicklingError"}, f"{path.name} uses {pickled}"


def test_the_network_is_in_two_files():
    """Released models, and anybody's repositories."""
    talking = {path for path in SHIPPED if {name.split(".")[-1] for name in names_in(path)} & NETWORK}
    assert talking == {ROOT / "vitmatte" / "weights" / name for name in ("transfer.py", "repository.py")}


def from_the_hub(path: Path) -> set[tuple[str, str]]:
    """(module, name) of everything that a file imports from huggingface_hub."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        modules += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        found |= {(module, name.name) for module in modules if module.split(".")[0] == "huggingface_hub"
                  for name in node.names}
    return found


@pytest.mark.parametrize("path", [path for path in SHIPPED if from_the_hub(path)],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_inside_huggingface_hub_is_touched(path):
    """What it exports is used, by its name; its modules are neither imported nor changed."""
    exported = {"huggingface_hub": {"HfFileMetadata", "constants", "get_hf_file_metadata", "get_session",
                                    "hf_hub_download", "hf_hub_url", "try_to_load_from_cache"},
                "huggingface_hub.utils": {"build_hf_headers", "hf_raise_for_status", "tqdm"}}
    used = from_the_hub(path)
    assert all(name in exported.get(module, ()) for module, name in used), used
    assert not {name.split(".")[-1] for name, _ in calls(path)} & {"setattr", "import_module"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        assert not {name_of(target).split(".")[0] for target in targets if target} & {name for _, name in used}
    assert not [name for name in names_in(path) if name.startswith("sys.modules")]


def test_nothing_is_served_but_help_and_warnings():
    """No routes of its own on ComfyUI's server, no scripts in its pages but one, which shows what nodes say as text."""
    for path in SHIPPED:
        assert not {name.split(".")[-1] for name in names_in(path)} & {"PromptServer", "routes", "add_routes"}, path
    files = [path for path in (ROOT / "web").rglob("*") if path.is_file()]
    assert [path.name for path in files if path.suffix not in {".md", ".png", ".jpg", ".webp"}] == ["warnings.js"]
    script = (ROOT / "web" / "warnings.js").read_text(encoding="utf-8")
    assert re.findall(r'from "([^"]*)"', script) == [f"../../scripts/{name}.js" for name in ("api", "app", "widgets")]
    for word in ("fetch", "XMLHttp", "WebSocket", "eval", "Function(", "innerHTML", "outerHTML", "document", "import("):
        assert word not in script, word
    for path in (ROOT / "web").rglob("*.md"):
        assert "<script" not in path.read_text(encoding="utf-8").lower()


def watched(*arguments: object, **environment: str) -> dict:
    """What `watched.py` saw."""
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "support" / "watched.py"), *map(str, arguments)],
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "", **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def outside(paths: list[str], *folders: Path) -> list[str]:
    """The paths that lie in none of the folders."""
    return [path for path in paths if not any(Path(path).is_relative_to(folder) for folder in folders)]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["library", "nodes", "models"])
def test_no_network_no_programs_no_files(tmp_path, how):
    """Importing, loading a bundled or local model, computing and listing leave the world as it was."""
    home = tmp_path / "home"
    home.mkdir()
    random_net().save_pretrained(tmp_path / "net")
    command = {"library": ("library", tmp_path / "net"), "nodes": ("nodes",), "models": ("cli", "models")}[how]
    found = watched(*command, HOME=str(home), VITMATTE_HOME=str(home / "models"), TMPDIR=str(tmp_path),
                    COMFYUI_HOST="")
    assert found == {"network": [], "started": [], "written": found["written"], "status": 0}
    assert not outside(found["written"], tmp_path), "the stand-ins' models folder is all there may be"
    assert not list(home.iterdir())


def test_the_test_above_would_see(tmp_path):
    found = watched("control", tmp_path)
    assert len(found["network"]) == 1 and "127.0.0.1" in found["network"][0]
    assert found["started"]  # with Python 3.13 by way of posix_spawn, which is an event too
    assert found["written"] == [str(tmp_path / name) for name in ("a", "a", "b", "b")]


def test_the_command_line_writes_where_it_was_told_to(tmp_path):
    photos, masks, out = tmp_path / "photos", tmp_path / "masks", tmp_path / "out" / "deep"
    photos.mkdir(), masks.mkdir()
    for name in ("a b", "..", "ü", "-o"):  # a file's own name may be odd; "...png" is a hidden one, left alone
        Image.new("RGB", (40, 32), "red").save(photos / f"{name}.png", "PNG")
        Image.new("L", (40, 32), 255).save(masks / f"{name}.png", "PNG")
    before = {path: path.read_bytes() for path in photos.iterdir()}
    found = watched("cli", "cutout", photos, "--mask", masks, "-o", out, "--inner", 2, "--outer", 2)
    assert found["status"] == 0 and not found["network"] and not found["started"]
    assert sorted(path.name for path in out.iterdir()) == ["-o.png", "a b.png", "ü.png"]
    tried = outside(found["written"], tmp_path / "out")  # whether the folder can be made: made and removed, empty
    assert len(tried) == 2 and len(set(tried)) == 1
    assert re.fullmatch(r"\.writing-[0-9a-f]{12}", os.path.relpath(tried[0], tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "out", "photos"]
    assert before == {path: path.read_bytes() for path in photos.iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need rights there")
def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "precious.png").write_bytes(b"precious")
    (tmp_path / "out.png").symlink_to(tmp_path / "precious.png")
    write_image(tmp_path / "out.png", torch.zeros(4, 4, 3))
    assert (tmp_path / "precious.png").read_bytes() == b"precious" and not (tmp_path / "out.png").is_symlink()
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere" / "file")
    with whole_file(tmp_path / "gone.txt") as path:
        path.write_text("here")
    assert not (tmp_path / "nowhere").exists() and (tmp_path / "gone.txt").read_text() == "here"


@pytest.fixture(scope="module")
def nodes():
    _, found = pack.load()
    return {node.GET_SCHEMA().node_id: node for node in found}


OUTSIDE = ["../secret.safetensors", "sub/../../secret.safetensors", "..\\secret.safetensors", "{secret}", "/{secret}",
           "~/secret.safetensors", "file://{secret}", "hustvl/../secret.safetensors",
           "vitmatte-small-composition-1k/../../secret.safetensors", ".", "..", "", "/", "sub", "a\0b.safetensors"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_loader_stays_in_its_folders(nodes, tmp_path, monkeypatch, name):
    """A prompt through the API can hold any text in place of an entry of the list."""
    import folder_paths

    inside = tmp_path / "models"
    (inside / "sub").mkdir(parents=True)
    secret = tmp_path / "secret.safetensors"
    random_net().save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "model.safetensors").rename(secret)
    kinds = folder_paths.folder_names_and_paths["vitmatte"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "vitmatte", ([str(inside)], kinds))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = {"model_name": name.replace("{secret}", str(secret)), "precision": "fp32", "normalization": "as trained"}
    with pytest.raises((FileNotFoundError, ValueError)):
        nodes["ViTMatteModelLoader"].execute(**chosen)
    try:
        said = nodes["ViTMatteModelLoader"].fingerprint_inputs(**chosen)
    except ValueError:
        return
    assert said == chosen["model_name"]  # and nothing of the file's size or time


@pytest.mark.parametrize("picture", ["../tests/data/golden.safetensors", "portrait.jpg", "/etc/hostname", "", "."])
def test_the_example_node_shows_its_own_pictures(nodes, picture):
    with pytest.raises(ValueError, match="expected one of portrait"):
        nodes["ViTMatteExample"].execute(picture=picture, frames=1)


@pytest.mark.parametrize("name", ["hustvl/../vitmatte-tiny", "../vitmatte-tiny", "vitmatte-small-composition-1k/..",
                                  "http://127.0.0.1/model.safetensors"])
def test_a_name_that_is_no_models_is_a_path_and_never_an_address(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model"):
        locate(name)
