"""What a release states about itself, and the files around the code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
from paths import ROOT
from PIL import Image

import vitmatte

RAW = "https://raw.githubusercontent.com/comfyui-vitmatte/ComfyUI-ViTMatte/main/"
WORKFLOWS = sorted((ROOT / ".github").glob("**/*.yml"))

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")  # pytest brings tomli where needed
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def release_notes():
    """`.github/release_notes.py`, which is part of the repository and not of the pack."""
    spec = importlib.util.spec_from_file_location("release_notes", ROOT / ".github" / "release_notes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version(release_notes):
    version = PROJECT["project"]["version"]
    assert version == vitmatte.__version__ == release_notes.newest_entry()[0]
    assert release_notes.notes(f"v{version}")
    with pytest.raises(ValueError, match=re.escape(f"versions differ: the tag 9.9.9, pyproject.toml {version}")):
        release_notes.notes("v9.9.9")


def test_notes_are_the_newest_versions_alone(release_notes, tmp_path, monkeypatch):
    log = "# Changelog\n\n## [Unreleased]\n\n- d\n\n## [1.1.0] - 2026-02-03\n\n### Added\n\n- c\n\n"
    (tmp_path / "CHANGELOG.md").write_text(log + "## [1.0.0] - 2026-01-02\n\n- a\n\n[1.1.0]: https://b\n")
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    assert release_notes.newest_entry() == ("1.1.0", "### Added\n\n- c")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    with pytest.raises(ValueError, match="has no entry like"):
        release_notes.newest_entry()


def test_every_version_in_the_changelog_has_its_link():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased" and headings == re.findall(r"^\[(.+?)\]: https://", text, re.MULTILINE)


def test_the_same_packages_everywhere():
    assert PROJECT["project"]["dependencies"] == (ROOT / "requirements.txt").read_text().split()


@pytest.mark.parametrize(("key", "shape", "largest"), [("Icon", (1, 1), 400), ("Banner", (21, 9), 1680)])
def test_pictures_of_the_registry(key, shape, largest):
    url = PROJECT["tool"]["comfy"][key]
    assert url.startswith(RAW) and PROJECT["project"]["urls"]["Repository"] in RAW.replace(
        "raw.githubusercontent.com", "github.com")
    file = ROOT / url.removeprefix(RAW)
    with Image.open(file) as picture:
        width, height = picture.size
    assert width * shape[1] == height * shape[0] and width <= largest
    assert file.stat().st_size < 256 * 1024


def tracked() -> list[str]:
    """The repository's files as git knows them."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_no_large_files():
    for name in tracked():
        assert (ROOT / name).stat().st_size <= 16 * 2**20, name
        assert "__pycache__" not in name


def test_the_pack_leaves_out_development_alone():
    """Patterns without a leading slash hold in every folder: /docs/ must not take web/docs/ along."""
    pathspec = pytest.importorskip("pathspec")
    ignored = pathspec.PathSpec.from_lines("gitwildmatch", (ROOT / ".comfyignore").read_text().splitlines())
    left = {name.split("/")[0] for name in tracked() if not ignored.match_file(name)}
    assert left >= {"__init__.py", "nodes", "vitmatte", "workflows", "web", "locales", "subgraphs", "pictures",
                    "pyproject.toml", "requirements.txt", "LICENSE", "NOTICE.md", "README.md", "CHANGELOG.md"}
    assert not left & {"tests", "benchmarks", "docs", ".github", ".ci", "Makefile", "CONTRIBUTING.md", "mkdocs.yml",
                       "requirements-docs.txt"}
    kept = [name for name in tracked() if not ignored.match_file(name)]
    for must in ("vitmatte/bundled/vitmatte-tiny/model.safetensors", "web/docs/ViTMatteMatting.md",
                 "locales/en/nodeDefs.json", "workflows/Refine a SAM mask (ViTMatte matting).json",
                 "pictures/portrait.jpg"):
        assert must in kept


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_yaml(path):
    yaml = pytest.importorskip("yaml")
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    for used in re.findall(r"uses: (\S+)", text):
        assert used.startswith("./") and (ROOT / used).is_file() or re.search(r"@v\d+$", used), used
    for script in re.findall(r"python (?:\S*/)?(\.github/\S+\.py)", text):
        assert (ROOT / script).is_file(), script
    if path.parent.name == "workflows":
        assert content["permissions"] == {"contents": "read"}


def test_workflows_try_what_is_promised():
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    pythons = jobs["tests"]["strategy"]["matrix"]["python"]
    stated = [line.rsplit(" ", 1)[1] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line]
    assert pythons == stated and PROJECT["project"]["requires-python"] == f">={pythons[0]}"
