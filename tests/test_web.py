"""The pack in ComfyUI's real web UI; runs where COMFYUI_HOST names a host with a browser (see webui.py)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from webui import ROOT, Browser, Server

HOST = Path(os.environ.get("COMFYUI_HOST", "."))
TEMPLATES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
SAVED = sorted((ROOT / "tests" / "data" / "saved").glob("*.json"))
LOCALES = ROOT / "locales"
LANGUAGES = sorted(path.name for path in LOCALES.iterdir() if (ROOT / f"web/docs/ViTMatteMatting/{path.name}.md").is_file())
# ComfyUI looks for an English page in the folder of the translations first.
KNOWN = "/docs/ViTMatteMatting/en.md"

pytestmark = pytest.mark.skipif(not (HOST / "ui" / "node_modules" / "playwright-core").is_dir(),
                                reason="COMFYUI_HOST names no ComfyUI with a browser")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(HOST, tmp_path_factory.mktemp("base")) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def driver(server):
    with Browser(HOST, server.url) as driver:
        yield driver


@pytest.fixture
def browser(driver):
    """The page in English; afterwards nothing of the pack has made an error."""
    driver.open()
    yield driver
    assert [problem for problem in driver.errors() if "ViTMatte" in problem and KNOWN not in problem] == []


def check_run(browser, *, pictures):
    """Run finishes, nothing is refused, and nodes that give pictures show them."""
    done = browser.run()
    assert (done["status"], done["error"], done["refused"] or {}) == ("success", None, {})
    assert done["missing"] == [] and pictures <= set(done["shown"])


def test_templates_have_their_pictures(browser):
    cards = browser.templates()
    assert sorted(cards) == TEMPLATES
    for name, picture in cards.items():
        assert picture["width"] >= 256 and f"/{name}.jpg" in picture["source"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_run_from_their_browser(browser, name):
    types = browser.openTemplate(name=name)
    assert "ViTMatteMatting" in types
    check_run(browser, pictures={"ViTMatteMatting", "ViTMatteTrimap"})


# What of the pack is found, and down to which place: the words of its own name first.
@pytest.mark.parametrize(("words", "title", "place"), [
    ("matting", "ViTMatte Matting", 1),
    ("trimap", "Trimap from Mask (ViTMatte)", 1),
    ("cut out", "Cut Out Foreground (ViTMatte)", 1),
    ("remove background", "Remove or Replace Background (ViTMatte)", 3),
])
def test_the_search_box_finds_the_nodes(browser, words, title, place):
    found = [entry.splitlines()[0].strip() for entry in browser.search(text=words)]
    assert title in found[:place], found


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_help_is_shown(driver, language):
    driver.open(locale=language)
    driver.openFile(path=str(ROOT / "workflows" / "cut_out.json"))
    shown = driver.help(type="ViTMatteMatting")
    page = ROOT / "web" / "docs" / ("ViTMatteMatting.md" if language == "en" else f"ViTMatteMatting/{language}.md")
    assert page.read_text(encoding="utf-8").split("\n")[0].replace("**", "") in shown["text"]
    assert len(shown["pictures"]) == 1 and shown["pictures"][0]["width"] >= 300, shown["pictures"]


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_nodes_speak_the_language(driver, language):
    driver.open(locale=language)
    driver.openFile(path=str(ROOT / "workflows" / "cut_out.json"))
    said = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))["ViTMatteMatting"]
    shown = driver.texts(type="ViTMatteMatting")
    assert shown["title"] == said["display_name"] and shown["tooltip"] == said["description"]
    names = {part["name"] for part in said["inputs"].values()}
    assert names <= {*shown["inputs"], *shown["widgets"]}
    assert shown["inputTooltip"] == said["inputs"]["model"]["tooltip"]
    assert shown["outputs"] == [said["outputs"]["0"]["name"]]


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_workflows_saved_elsewhere_run_here(browser, path):
    """Saved from the web UI of an older and a newer ComfyUI (make_saved.py)."""
    wanted = [node["type"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]]
    assert sorted(browser.openFile(path=str(path))) == sorted(wanted)
    check_run(browser, pictures={"ViTMatteMatting"})


def test_what_is_saved_here_is_opened_again(browser, server):
    template = ROOT / "workflows" / "refine_segmentation_mask.json"
    browser.openFile(path=str(template))
    browser.save(name="saved here")
    saved = server.base / "user" / "default" / "workflows" / "saved here.json"

    def values(path):
        nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
        return {node["id"]: (node["type"], node.get("widgets_values")) for node in nodes}

    assert values(saved) == values(template)
    browser.open()
    browser.openFile(path=str(saved))
    check_run(browser, pictures={"ViTMatteMatting"})
