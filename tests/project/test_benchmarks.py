"""The programs of benchmarks/ and the tools of tests/support/, which people start by hand: all import and say what they
take; what computes in them runs on tiny inputs, so that a change of the library does not leave them behind."""

from __future__ import annotations

import ast
import importlib
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from nets import assert_close, random_net
from paths import ROOT, SUPPORT
from PIL import Image

from vitmatte.model.vitmatte import plain_copy

TINY = ROOT / "vitmatte" / "bundled" / "vitmatte-tiny"
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "benchmarks").glob("*.py"))
           if path.stem != "__init__"}
PROGRAMS = [name for name, text in SOURCES.items() if "argparse.ArgumentParser(" in text]
COMMANDS = {"reach": ("accuracy", "cost"), "refine": ("accuracy", "cost")}
HEAVY = {"make_golden"}  # imports transformers, which takes seconds
TOOLS = [path for path in sorted(SUPPORT.glob("*.py"))
         if "__main__" in path.read_text(encoding="utf-8") and path.stem not in HEAVY]
# Each tool is imported as if it were the first: without the repository in the path, and without what others imported.
IMPORT_TOOLS = """
import json, runpy, sys
support, *tools = sys.argv[1:]
sys.path.insert(0, support)
path, missing = list(sys.path), {}
for tool in tools:
    sys.path[:] = path
    for name in [name for name in sys.modules if name.split(".")[0] == "vitmatte"]:
        del sys.modules[name]
    try:
        runpy.run_path(tool, run_name="imported")
    except ModuleNotFoundError as error:
        missing[tool] = error.name
print(json.dumps(missing))
"""


def ours(module: str | None) -> bool:
    """Whether a module that was not found belongs to the repository."""
    first = (module or "").split(".")[0]
    return first in ("vitmatte", "benchmarks", "tests") or (SUPPORT / f"{first}.py").exists()


def imported(name: str):
    """A module of benchmarks/; skips where an optional package, or a part of Python that this system lacks, is not
    there."""
    try:
        return importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if ours(error.name):
            raise
        pytest.skip(f"needs {error.name}")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a program with arguments; gives what it printed."""
    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        imported(name).main()
        return capsys.readouterr().out

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of pictures as the programs' --data: an index, cut-outs with soft discs, and noise for photographs;
    beside it images, trimaps and alphas with the same names."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("fg", "bg", "images", "trimaps", "alphas"):
        (folder / name).mkdir()
    rng, lines = np.random.default_rng(0), ["file,kind,alpha,split"]
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    alpha = np.clip((0.7 - np.hypot(x, y)) * 4, 0, 1)
    trimap = np.where(alpha == 0, 0, np.where(alpha == 1, 255, 128)).astype(np.uint8)
    for i, kind in enumerate(("hair_fur_predicted",) * 2 + ("photo",) * 4):
        colours = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        if kind == "photo":
            file = f"bg/{i}.png"
            Image.fromarray(colours).save(folder / file)
        else:
            file = f"fg/{i}.png"
            Image.fromarray(np.dstack([colours, (alpha * 255).astype(np.uint8)])).save(folder / file)
            Image.fromarray(colours).save(folder / f"images/{i}.png")
            Image.fromarray(trimap).save(folder / f"trimaps/{i}.png")
            Image.fromarray((alpha * 255).astype(np.uint8)).save(folder / f"alphas/{i}.png")
        lines.append(f"{file},{kind},soft,val")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_imports(name):
    imported(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_says_what_it_takes(name, run, capsys):
    usages = ""
    for command in ((), *((command,) for command in COMMANDS.get(name, ()))):
        with pytest.raises(SystemExit) as stop:
            run(name, *command, "--help")
        assert stop.value.code == 0
        usages += capsys.readouterr().out.split("\n\n")[0]
    assert "usage:" in usages
    for line in (ast.get_docstring(ast.parse(SOURCES[name])) or "").splitlines():
        if re.search(rf"python -m benchmarks(\.{name}|`| |$)", line):
            for option in re.findall(r"--[a-z-]+", line):
                assert option in usages, f"the docstring names {option}"


@pytest.mark.slow
def test_tools_import_by_themselves(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", IMPORT_TOOLS, SUPPORT, *TOOLS], cwd=tmp_path, env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout.splitlines()[-1])
    assert not {tool: name for tool, name in missing.items() if ours(name)}


def test_forms_of_attention_agree():
    attention = imported("attention")
    torch.manual_seed(0)
    forms = attention.grid_forms(2, (3, 4), "cpu", torch.float32)
    positions = {name: call() for name, call in forms.items() if name != "without positions"}
    for found in positions.values():
        assert_close(found, positions["reference"], 1e-5)
    queries, keys, values, bias = attention.cell_inputs(25.0, "cpu", torch.float32)
    assert 0.05 < attention.denormal_share(queries, keys, bias) < 0.5
    expected = attention.fused(queries, keys, values, bias)
    for name in ("attend", "torch's own", "baddbmm, softmax, bmm"):
        assert_close(attention.cell_forms(queries, keys, values, bias, bias.clone())[name](), expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_runs(precision, run):
    found = run("attention", "--cases", "windows-1024", "cells", "--rounds", 1, "--precision", precision)
    assert len(re.findall(r"\| attend \| [\d.]+ ms", found)) == 2 and found.count("chunks of") == 4
    assert len(re.findall("ms", found)) == 7 + 2 * 3


@pytest.mark.slow
def test_activations_run(run, monkeypatch, tmp_path):
    activations = imported("activations")
    monkeypatch.setattr(activations, "random_folded",
                        lambda size: plain_copy(random_net(), device="cpu", dtype=torch.float32))
    run("activations", "--pictures", 1, "--side", 32, "--output", tmp_path)
    for part in (tmp_path / "activations.md").read_text().split("\n\n| values")[1:]:
        for kind in ("attention: products", "attention: relative terms", "block: tokens after it", "block: mlp.fc1"):
            assert f"\n| {kind} | " in part


@pytest.mark.parametrize("model", ["S", "B"])
def test_estimates_of_make_bench(model):
    bench = imported("__main__")
    case = {"model": model, "precision": "fp32", "side": 512, "device": "cpu"}
    some, everything = (bench.macs({**case, "share": share}) for share in (0.15, 1.0))
    # Each token takes 12 C^2 in each of 12 blocks, besides attention and the decoder.
    assert 1024 * 12 * 12 * (64 * bench.HEADS[model]) ** 2 < some < everything
    assert bench.scores_bytes(case) == 3 * bench.HEADS[model] * 1024**2 * 4


def test_make_bench_writes_its_tables(run, monkeypatch, tmp_path):
    """Without its processes, each of which takes seconds."""
    def measure(module: str, *arguments: str) -> dict:
        if module == "start":
            return {"import_seconds": 1.0, "load_seconds": 1.0}
        torch.save(torch.rand(1, 64, 64), json.loads(arguments[2])["keep"])
        return {"seconds": 1.0, "peak_bytes": 2**20, "product_rate": 1e9, "machine": "some machine"}

    bench = imported("__main__")
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "make_weights", lambda folder: None)
    run("__main__", "--models", "S", "--sides", 64, "--shares", 0.15, "--repeats", 1, "--device", "cpu", "--output",
        tmp_path)
    assert "| S fp32 | 64² | 15% | 1.00 s | 1 MB | 1.00 s | 1 MB | 1.00 |" in (tmp_path / "cpu-S-fp32.md").read_text()
    assert json.loads((tmp_path / "cpu-S-fp32.json").read_text())["cases"][0]["share_of_product_rate"] > 0


@pytest.mark.slow
def test_a_case_of_make_bench(run, monkeypatch):
    monkeypatch.setattr(imported("case"), "product_rate", lambda device, dtype: 1.0)
    case = {"side": 64, "share": 0.15, "precision": "fp32", "device": "cpu"}
    assert json.loads(run("case", TINY, "ours", json.dumps(case)))["seconds"] > 0
    assert json.loads(run("start", TINY, "ours"))["load_seconds"] > 0


@pytest.mark.slow
def test_times_of_models_and_parts(run):
    found = run("model_speed", "--side", 64, "--rounds", 1, "--no-classic")
    assert re.search(r"\| vitmatte-small \(random weights\) \| [\d.]+ \|", found)
    found = run("parts", "--side", 32, "--frames", 32, "--rounds", 1)
    assert found.count(" ms") == 5 + 1 + 2 + 5 * 2


@pytest.mark.slow
def test_times_of_other_nets(run, monkeypatch):
    assert json.loads(run("diffmatte", "--case", json.dumps({"net": "DiffMatte-S", "side": 64, "share": 0.15})))["cpu"]
    router = imported("mematte").Router
    monkeypatch.setattr(router, "routed", router.routed)  # the program replaces it, in a process of its own
    threads = torch.get_num_threads()
    found = json.loads(run("mematte", "--case", json.dumps([64, 0.15, 0.25]), "--threads", threads))
    assert found["routed"] == 0.25 and found["planned"] > 0


@pytest.mark.slow
def test_accuracy_runs(run, data):
    sources = "--pictures", *(data / name for name in ("images", "trimaps", "alphas"))
    assert "2 pictures" in run("refine", "accuracy", "net=vitmatte-tiny", *sources, "--data", 0.01, "--no-classic")
    found = run("reach", "accuracy", *sources, "--all", "--reach", 4, "--margin", 2)
    assert [line.split(" | ")[0] for line in found.splitlines()[-5:]] == [
        "| all", "| exact", "| local, grid", "| local 4", "| local 4, margin 2"]


@pytest.mark.slow
def test_costs_run(run, tmp_path):
    imported("reach")
    case = {"megapixels": 0.01, "unknown": 0.1, "strategy": "auto", "limit": 2**28,
            "photo": str(ROOT / "pictures/lemur.jpg")}
    assert json.loads(run("refine", "cost", "--case", json.dumps(case)))["refinement"] > 0
    cost = imported("reach_cost")  # its processes limit their memory, which this one must not
    trimap = cost.disc(64, 20)
    for how in ("local", "exact", "all"):
        assert cost.ours("bundled", how)(torch.rand(1, 64, 64, 3), trimap).shape == (1, 64, 64)


@pytest.mark.slow
def test_steady_runs(run, data, tmp_path, monkeypatch):
    how = "--data", data, "--frames", 3, "--sizes", "48x32", "--only", "translation"
    assert "0 of 3 mattes differ" in run("steady", "clips", *how)
    run("steady", "clips", *how, "--strip", tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip.png").height == 32 * 3
    assert "| translation |" in run("steady", "carry", *how)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    assert "| 48x32 |" in run("steady", "time", *how)


def test_trimaps_and_colours_run(run, data, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    found = run("trimap", "--side", 160, "--data", data)
    assert "radius 64, 160x160: ours" in found and "of 2 pictures" in found
    foreground = imported("foreground")
    assert [image.shape for image, _, _ in foreground.composites(data)] == [(64, 64, 3)] * 2
    image, alpha = foreground.scene(48, "edge")
    assert foreground.estimate("ours", image, alpha).shape == (48, 48, 3)


@pytest.mark.slow
def test_every_format_is_written():
    formats = imported("formats")
    for suffix, bits, what in formats.CASES:
        compression = formats.COMPRESSIONS[suffix][0]
        assert formats.measured(torch.rand(8, 8, 4), suffix, bits, what, compression, 1)[2] > 0


@pytest.mark.slow
def test_steps_of_the_long_run():
    for step in imported("long_run").steps(random.Random(0), [(32, 48)]):
        assert step() >= 0


def test_prompts_of_the_long_run_are_of_our_nodes():
    nodes = json.loads((ROOT / "locales/en/nodeDefs.json").read_text(encoding="utf-8"))
    for node in imported("long_host").prompt(0, 3, "vitmatte-tiny (bundled)", 4).values():
        if node["class_type"].startswith("ViTMatte"):
            assert set(node["inputs"]) <= set(nodes[node["class_type"]]["inputs"])


def test_pictures_are_made_with_the_templates_settings():
    pictures = imported("pictures")
    for template in (pictures.PORTRAIT, pictures.PRODUCT, pictures.SEGMENTED, pictures.SCREEN):
        mask = torch.zeros(1, 64, 64)
        mask[:, 16:48, 16:48] = 1
        trimap = pictures.make_trimap(mask, image=torch.rand(1, 64, 64, 3), **pictures.settings(template))
        assert trimap.shape == (1, 64, 64)


def test_pictures_for_folders_and_curves(run, tmp_path):
    folders = imported("folders")
    folders.make(tmp_path, 2, 16)
    folders.make_tiny(tmp_path / "photos", 2)
    assert len(list((tmp_path / "photos").glob("shot.*.jpg"))) == 2 and folders.digest(tmp_path)
    for name, column in (("log", "loss"), ("validation", "mse")):
        (tmp_path / f"{name}.csv").write_text(f"step,{column}\n1,2\n50,1\n100,.5\n")
    run("loss_curve", tmp_path, tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").size == (720, 260)
