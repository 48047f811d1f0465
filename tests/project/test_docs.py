"""The documentation agrees with the code: what pages name is there, commands are taken, samples run."""

from __future__ import annotations

import argparse
import importlib.util
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from paths import ROOT

import vitmatte
from vitmatte.cli.main import _parser
from vitmatte.inference.scope import STRATEGIES

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
TESTS = {path.stem for path in (ROOT / "tests").rglob("test_*.py")} | {
    name for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^\s*def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)}
FOREIGN_TESTS = ROOT / "docs" / "transformers-suite.md"  # names tests of transformers
FOLDERS = "vitmatte|nodes|tests|benchmarks|docs|web|locales|workflows|subgraphs|pictures"


def script(name: str) -> ModuleType:
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_blocks(page: Path) -> Iterator[list[str]]:
    """The blocks of code of a page, indented or between fences, without the language."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield block.splitlines()
    for block in re.findall(r"(?:^ {4}\S.*\n(?:\n(?= {4}))?)+", text, re.MULTILINE):
        yield [line[4:] for line in block.splitlines() if line.strip()]


def test_readme_is_short():
    words = [word for word in (ROOT / "README.md").read_text(encoding="utf-8").split() if re.search(r"\w", word)]
    assert len(words) <= 1000


def test_readmes_sections_are_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)", text, re.MULTILINE)
    assert headings == ["Install in ComfyUI", "Your first graph", "Nodes", "Models", "Library", "Command line",
                        "From a clone", "Links"]
    assert 0 < text.index("![") < text.index("## ") and "make demo" in text and "make test" in text


def test_the_picture_of_the_layers_is_up_to_date():
    layers = script("layers")
    assert layers.PICTURE.read_text(encoding="utf-8") == layers.picture(), "run python docs/layers.py"


def test_the_picture_shows_what_the_structure_says():
    import test_structure as structure

    for name, others in script("layers").wings().items():
        if name in structure.WINGS:
            assert others == {other for module, imported in structure.GRAPH.items()
                              if structure.wing(module) == name and module not in structure.TOP
                              for other in map(structure.wing, imported)} - {name, "ground"}, name


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?://|#", target):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_and_modules_that_are_named_are_there(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*\w/?)`", text):
        # What a contributor will write, and transformers' own files, are none of ours.
        assert (ROOT / path).exists() or re.search(r"[A-Z_]{4,}|^tests/models/", path), path
    for name in re.findall(r"\bvitmatte(?:\.\w+)+", " ".join(re.findall(r"`[^`\n]+`|^::: .*$", text, re.MULTILINE))):
        parts = name.split(".")
        while parts and not ROOT.joinpath(*parts).with_suffix(".py").is_file() and not ROOT.joinpath(*parts).is_dir():
            parts.pop()
        rest = name.split(".")[len(parts):]
        found = importlib.import_module(".".join(parts))
        for part in rest[:1]:
            assert hasattr(found, part) or part in ("onnx", "py", "safetensors", "pt2"), name


@pytest.mark.parametrize("page", [page for page in PAGES if page != FOREIGN_TESTS],
                         ids=[name for name in IDS if "transformers-suite" not in name])
def test_tests_that_are_named_are_there(page):
    missing = set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))) - TESTS
    assert not missing, f"{sorted(missing)}: renamed, or gone? The page says what they hold"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_scripts_that_are_called_are_there(page):
    for module in re.findall(r"python -m ((?:benchmarks|tests|vitmatte)[\w.]*)", page.read_text(encoding="utf-8")):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", makefile, re.MULTILINE))
    for block in code_blocks(page):
        for line in block:
            if match := re.match(r"make ([a-z-]+)", line):
                assert any(match.group(1) in target.split() for target in targets), line


COMMANDS = sorted({line for page in PAGES for block in code_blocks(page) for line in block
                   if re.match(r"(python -m )?vitmatte [a-z]+ ", line)})


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_taken(line):
    words = shlex.split(line, comments=True)
    _parser().parse_args(words[words.index("vitmatte") + 1:])


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    return next(action.choices for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))


def test_the_page_of_the_command_line_has_every_option():
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sections = {name: part for part in text.split("\n## ") for name in subcommands() if re.match(
        rf"vitmatte [^\n]*\b{name}\b", part)}
    assert set(sections) == set(subcommands())
    for name, parser in subcommands().items():
        known = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
        named = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", " ".join(re.findall(r"`[^`]+`", sections[name]))))
        shared = set(re.findall(r"`(--[\w-]+)`", sections["trimap"])) if name in ("cutout", "video") else set()
        assert known - named - shared == set(), f"{name}: not on the page"
        assert named - known - {"--photo"} == set(), f"{name}: the command has no such option"


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    same = {"VitMatteImageProcessorFast", "VitMatteImageProcessorPil"}  # other names of VitMatteImageProcessor
    assert set(vitmatte.__all__) - same == set(re.findall(r"^::: vitmatte\.(\w+)$", text, re.MULTILINE))


@pytest.mark.parametrize("strategy", [strategy for strategy in STRATEGIES if strategy != "exact"])
def test_every_strategy_is_explained(strategy):
    for name, how in (("speed.md", rf"\*{strategy}\*"), ("exact-inference.md", rf'strategy="{strategy}"'),
                      ("command-line.md", rf"`--strategy`.*\b{strategy}\b")):
        assert re.search(how, (ROOT / "docs" / name).read_text(encoding="utf-8")), f"{strategy} is not in docs/{name}"


def samples() -> list[tuple[str, str]]:
    """The Python samples that run as they stand, or given a picture."""
    return [(f"{page.name}-{number}", "\n".join(block)) for page in (ROOT / "README.md", ROOT / "docs" / "library.md")
            for number, block in enumerate(code_blocks(page)) if block and block[0].startswith("from vitmatte")]


@pytest.mark.parametrize(("name", "code"), samples(), ids=[name for name, _ in samples()])
def test_samples_run(name, code, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "pictures", tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    mask = torch.zeros(1, 96, 80)
    mask[:, 20:70, 20:60] = 1
    given = {"image": torch.rand(1, 96, 80, 3), "mask": mask, "scene": torch.rand(1, 40, 50, 3)}
    (tmp_path / "sample.py").write_text(code, encoding="utf-8")
    alpha = runpy.run_path(str(tmp_path / "sample.py"), given)["alpha"]
    assert isinstance(alpha, torch.Tensor) and alpha.dtype == torch.float32 and 0 < float(alpha.mean()) < 1


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    text = script("docstrings").as_markdown(
        "Does it.\n\nArgs:\n    a, b: shapes [B, H, W]; `x[0]` is code.\n    c: one,\n        on two lines.\n\n"
        "Raises:\n    TypeError: for this. ValueError: for\n        that.")
    assert "- `a`, `b`: shapes `[B, H, W]`; `x[0]` is code.\n- `c`: one, on two lines." in text
    assert text.endswith("**Raises**\n\n- `TypeError`: for this.\n- `ValueError`: for that.")
