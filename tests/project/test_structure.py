"""The shape of the house: which wing rests on which, that imports make no circle, and what may not be there at all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from paths import ROOT

LIBRARY = sorted(path for path in (ROOT / "vitmatte").rglob("*.py"))
NODES = sorted((ROOT / "nodes").glob("*.py"))

# Each wing and the wings it rests on. "ground" is what lies in vitmatte/ itself; every wing may use it.
WINGS: dict[str, set[str]] = {
    "ground": set(),
    "model": set(),
    "trimap": set(),
    "pictures": set(),
    "evaluation": {"trimap"},
    "refinement": {"trimap"},
    "compositing": {"trimap"},
    "weights": {"model"},
    "inference": {"model", "refinement", "trimap", "weights"},
    "video": {"compositing", "pictures", "trimap"},
    "export": {"inference", "model", "trimap", "weights"},
    "huggingface": {"inference", "model", "weights"},
    "shots": {"compositing", "inference", "pictures", "refinement", "trimap", "weights"},
    "training": {"evaluation", "inference", "model", "pictures", "trimap", "weights"},
    "cli": {"compositing", "evaluation", "export", "inference", "pictures", "refinement", "shots", "training", "trimap",
            "video", "weights"},
}
# What gathers names for people who import the library, or starts the command line, and may use every wing.
TOP = {"vitmatte", "vitmatte.__main__", "vitmatte.scale"}
# The documented interface is for people who import the library: without it nodes and command line still run.
ONLY_FROM_TOP = "huggingface"

# Packages that are no part of every install, imported inside functions only, and where.
OPTIONAL = {"vitmatte.export.onnx": {"onnxruntime"}, "vitmatte.pictures.packages": {"OpenImageIO", "av"},
            "vitmatte.shots.on_ray": {"ray"}}
PACKAGES = {"torch", "numpy", "PIL", "huggingface_hub", "safetensors", "tqdm", "filelock", "scipy", "kornia"}

MAX_LINES = 250
# Longer files, and why each is one.
LONG_FILES: dict[str, str] = {}


def module_of(path: Path) -> str:
    """The dotted name of a file below the root."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in LIBRARY}


def imports(path: Path) -> list[str]:
    """Every module that a file imports, inside functions too; ours by their full names."""
    here = module_of(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[:len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            inner = [f"{module}.{name.name}" for name in node.names]
            found += [name if name in MODULES else module for name in inner]
    return found


GRAPH = {name: {m for m in imports(path) if m in MODULES and m != name} for name, path in MODULES.items()}


def wing(module: str) -> str:
    """The wing that a module of ours lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "vitmatte" / parts[1]).is_dir() else "ground"


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty where there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module):], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            if found := walk(other, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := walk(module, []))), [])


def test_imports_make_no_circle():
    # A package's own file runs whenever something below it is imported; ours import nothing.
    found = circle({name: others for name, others in GRAPH.items() if name not in TOP})
    assert not found, " -> ".join(found)


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("name", [name for name in GRAPH if name not in TOP])
def test_wings_rest_on_what_is_left_of_them(name):
    allowed = {"ground", wing(name), *WINGS[wing(name)]} if wing(name) != "ground" else {"ground"}
    wrong = sorted(other for other in GRAPH[name] if wing(other) not in allowed)
    assert not wrong, f"{name}, in {wing(name)}, imports {wrong}"


def test_the_order_of_the_wings_is_one():
    assert not circle(WINGS)
    assert {wing(name) for name in MODULES if name not in TOP} == set(WINGS)


def test_the_documented_interface_is_imported_at_the_top_alone():
    users = {name for name, others in GRAPH.items() if wing(name) != ONLY_FROM_TOP
             and any(wing(other) == ONLY_FROM_TOP for other in others)}
    assert users <= TOP
    for path in NODES:
        assert ONLY_FROM_TOP not in path.read_text(encoding="utf-8"), path.name


def test_packages_import_nothing():
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name not in TOP:
            assert not imports(path), f"{name} imports something"


@pytest.mark.parametrize("name", MODULES)
def test_the_library_knows_only_its_packages(name):
    known = {*sys.stdlib_module_names, *PACKAGES, "vitmatte", *OPTIONAL.get(name, set())}
    strange = {module.split(".")[0] for module in imports(MODULES[name])} - known
    assert not strange, f"{name} imports {sorted(strange)}"


def test_one_file_talks_to_comfyuis_memory_management():
    for path in NODES:
        modules = imports(path)
        talks = any(module.startswith("comfy.") for module in modules)
        assert talks == (path.stem == "host"), path.name
        assert ("folder_paths" in modules) == (path.stem == "folders"), path.name


def test_the_library_runs_without_comfyui():
    code = ("import sys, vitmatte, vitmatte.cli.main; strange = [m for m in sys.modules if m.split('.')[0] in "
            "('comfy', 'comfy_api', 'folder_paths', 'nodes', 'transformers', 'cv2', 'kornia', 'scipy', "
            "'huggingface_hub', 'safetensors', 'av', 'OpenImageIO', 'onnx', 'onnxscript', 'onnxruntime')]; "
            "print(strange)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [*LIBRARY, *NODES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_stay_small(path):
    lines, name = len(path.read_text(encoding="utf-8").splitlines()), path.relative_to(ROOT).as_posix()
    assert lines <= MAX_LINES or name in LONG_FILES, f"{lines} lines; split it, or give a reason in LONG_FILES"
    assert lines > MAX_LINES or name not in LONG_FILES, f"{name} is short again: take it out of LONG_FILES"


@pytest.mark.parametrize("pattern", [r"(?<!\.)\beval\(", r"\bexec\(", r"weights_only=False", r"pickle\.load",
                                     r"os\.system", r"subprocess", r"trust_remote_code=True"])
def test_nothing_that_runs_strangers_code(pattern):
    for path in [*LIBRARY, *NODES, ROOT / "__init__.py"]:
        assert not re.search(pattern, path.read_text(encoding="utf-8")), f"{pattern} in {path.name}"
