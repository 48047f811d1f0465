"""The shape of the house: who may import whom, and what may not be there at all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "vitmatte").glob("*.py"))
TRAINING = sorted((ROOT / "vitmatte" / "training").glob("*.py"))
NODES = sorted((ROOT / "nodes").glob("*.py"))

# Each module and what of the library it may import.
ARROWS = {
    "size": set(),
    "files": set(),
    "fields": set(),
    "hub_config": {"fields", "files", "hub"},
    "vitdet_config": {"fields", "hub_config"},
    "config": {"fields", "hub_config", "vitdet_config"},
    "outputs": set(),
    "net": {"hub", "hub_config", "pretrained"},
    "pretrained": {"backbone", "checkpoint", "files", "hub_config", "model", "net", "weights_file"},
    "steps": set(),
    "distance": {"steps"},
    "regions": {"steps"},
    "strands": {"distance", "regions", "steps"},
    "trimap": {"checks", "distance", "regions", "steps", "strands"},
    "compositing": {"checks", "steps", "trimap"},
    "foreground": {"checks", "steps"},
    "cutout": {"checks", "compositing", "foreground", "steps"},
    "execution": {"size"},
    "enlarge": {"execution"},
    "tiles": {"enlarge", "size"},
    "image_files": {"files"},
    "attention": {"execution"},
    "linear": set(),
    "checks": set(),
    "block": {"attention", "execution", "linear", "size", "vitdet_config"},
    "backbone": {"block", "checks", "execution", "net", "outputs", "vitdet_config", "work"},
    "foreign_sources": {"config"},
    "foreign": {"checks", "config", "outputs", "execution", "foreign_sources", "size"},
    "decoder": {"config", "enlarge", "execution", "size", "tiles"},
    "loss": set(),
    "metrics": set(),
    "model": {"backbone", "config", "decoder", "execution", "foreign", "loss", "net", "outputs"},
    "weights_file": set(),
    "checkpoint": {"config", "decoder", "hub_config", "model", "vitdet_config", "weights_file"},
    "image_input": set(),
    "processed": set(),
    "uncrop": {"size"},
    "processor_config": {"config", "fields", "files", "hub"},
    "processing": {"config", "image_input", "processed", "processor_config", "size", "uncrop"},
    "models": {"checkpoint", "hub_config"},
    "hub": {"checkpoint", "config", "fields", "hub_config", "models"},
    "work": {"vitdet_config"},
    "memory": {"config", "decoder", "execution", "processing", "size", "vitdet_config"},
    "frame": {"execution", "memory", "model", "processing", "size", "tiles"},
    "inference": {"checkpoint", "checks", "frame", "hub", "processing", "trimap"},
    "traceable": {"backbone", "block", "model", "processing", "trimap"},
    "tracing": {"backbone", "checkpoint", "vitdet_config", "frame", "inference", "model", "traceable"},
    "export": {"execution", "files", "frame", "inference", "model", "models", "processing", "tracing"},
    "trimap_options": {"image_files", "trimap"},
    "evaluate": {"files", "image_files", "inference", "metrics", "models", "trimap"},
    "jobs": {"image_files"},
    "signals": set(),
    "cli": {"checks", "compositing", "cutout", "evaluate", "execution", "export", "hub", "image_files", "inference",
            "jobs", "models", "signals", "training", "trimap_options"},
    "__main__": {"cli"},
    "__init__": None,  # gathers the public names
}

# Optional packages, imported inside functions only, and where.
OPTIONAL = {"export": {"onnxruntime"}}

# The same for training: the modules beside it, and what of the library.
TRAINING_ARROWS = {
    "__init__": (set(), set()),
    "from_json": (set(), set()),
    "recipe": ({"from_json"}, {"checks", "config", "execution", "fields", "loss"}),
    "pictures": ({"recipe"}, {"image_files"}),
    "placing": ({"pictures"}, set()),
    "optics": (set(), set()),
    "light": ({"optics"}, set()),
    "strands": (set(), set()),
    "sheer": ({"optics"}, set()),
    "composites": ({"light", "optics", "pictures", "placing", "recipe", "sheer", "strands"}, {"trimap"}),
    "stream": ({"composites", "recipe"}, set()),
    "optimizer": (set(), set()),
    "average": (set(), set()),
    "pretrained": (set(), {"checkpoint", "model", "weights_file"}),
    "state": ({"average", "optimizer", "pretrained", "recipe"}, {"files", "model", "weights_file"}),
    "validation": ({"composites", "light", "pictures", "recipe", "stream"},
                   {"image_files", "metrics", "processing"}),
    "loop": ({"composites", "pictures", "recipe", "state", "stream", "validation"},
             {"execution", "loss", "processing"}),
    "publish": (set(), {"checkpoint", "hub_config", "files", "processing", "weights_file"}),
    "command": ({"loop", "recipe"}, set()),
}


def imports(path: Path) -> list[tuple[int, str]]:
    """(relative level, module) of every import of a file, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found += [(node.level, module or name.name) for name in node.names]
    return found


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_arrows_of_the_library(path):
    allowed = ARROWS[path.stem]
    ours = {module.split(".")[0] for level, module in imports(path) if level == 1}
    assert allowed is None or ours <= allowed, f"{path.name} imports {sorted(ours - allowed)}"
    assert all(level <= 1 for level, _ in imports(path)), f"{path.name} reaches out of the library"


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_arrows_of_training(path):
    beside, library = TRAINING_ARROWS[path.stem]
    for level, allowed in ((1, beside), (2, library)):
        found = {module.split(".")[0] for at, module in imports(path) if at == level}
        assert found <= allowed, f"training/{path.name} imports {sorted(found - allowed)}"
    assert all(level <= 2 for level, _ in imports(path)), f"{path.name} reaches out of the library"


@pytest.mark.parametrize("path", [*LIBRARY, *TRAINING], ids=lambda path: path.stem)
def test_the_library_knows_only_its_packages(path):
    known = {*sys.stdlib_module_names, "torch", "numpy", "PIL", "huggingface_hub", "safetensors", "tqdm", "filelock",
             "scipy"}
    known |= OPTIONAL.get(path.stem, set())
    strange = {module.split(".")[0] for level, module in imports(path) if level == 0} - known
    assert not strange, f"{path.name} imports {sorted(strange)}"


def test_one_file_talks_to_comfyuis_memory_management():
    for path in NODES:
        talks = any(level == 0 and module.startswith("comfy.") for level, module in imports(path))
        assert talks == (path.stem == "host"), path.name
        knows_folders = any(module == "folder_paths" for _, module in imports(path))
        assert knows_folders == (path.stem == "folders"), path.name


def test_the_library_runs_without_comfyui():
    code = ("import sys, vitmatte, vitmatte.cli; strange = [m for m in sys.modules if m.split('.')[0] in "
            "('comfy', 'comfy_api', 'folder_paths', 'nodes', 'transformers', 'cv2', 'kornia', 'scipy', "
            "'huggingface_hub', 'safetensors', 'onnx', 'onnxscript', 'onnxruntime')]; print(strange)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_small():
    for path in [*LIBRARY, *TRAINING, *NODES]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


@pytest.mark.parametrize("pattern", [r"(?<!\.)\beval\(", r"\bexec\(", r"weights_only=False", r"pickle\.load",
                                     r"os\.system", r"subprocess", r"trust_remote_code=True"])
def test_nothing_that_runs_strangers_code(pattern):
    for path in [*LIBRARY, *TRAINING, *NODES, ROOT / "__init__.py"]:
        assert not re.search(pattern, path.read_text(encoding="utf-8")), f"{pattern} in {path.name}"
