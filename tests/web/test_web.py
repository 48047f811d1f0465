"""The pack in ComfyUI's real web UI; runs where COMFYUI_HOST names a host with a browser (see webui.py)."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from paths import DATA
from PIL import Image
from webui import ROOT, Browser, Server

HOST = Path(os.environ.get("COMFYUI_HOST", "."))
SHOTS = os.environ.get("COMFYUI_SHOTS")  # a folder for a picture of the page at the end of each test
TEMPLATES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
RUN = [name for name in TEMPLATES if "your photo" not in name and "SAM 3" not in name]  # need no model of ComfyUI's
SAVED = sorted((DATA / "saved").glob("*.json"))
LOCALES = ROOT / "locales"
# ComfyUI looks for an English page in the folder of the translations first, and some ask their makers' server about the
# nodes of a graph that has unknown ones.
KNOWN = re.compile(r"/docs/ViTMatte\w+/en\.md|https://api\.comfy\.org/")

pytestmark = [pytest.mark.host, pytest.mark.slow,
              pytest.mark.skipif(not (HOST / "ui" / "node_modules" / "playwright-core").is_dir(),
                                 reason="COMFYUI_HOST names no ComfyUI with a browser")]


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
def browser(driver, request):
    """A fresh page; afterwards nothing of the pack has made an error."""
    driver.open(locale=getattr(request, "param", "en"))
    yield driver
    if SHOTS:
        driver.shot(path=f"{SHOTS}/{re.sub('[^a-z0-9]+', '_', request.node.name)}.png")
    assert [problem for problem in driver.errors() if "ViTMatte" in problem and not KNOWN.search(problem)] == []


def check_run(browser, *, pictures):
    """Run finishes, nothing is refused, and these nodes show pictures.

    What ComfyUI remembers from the run before it does not send again, except for nodes that save.
    """
    done = browser.run()
    assert (done["status"], done["error"], done["refused"] or {}) == ("success", None, {})
    assert done["missing"] == [] and pictures <= set(done["shown"])


def test_templates_have_their_pictures(browser):
    assert browser.templates() == dict.fromkeys(TEMPLATES, 512)


@pytest.mark.parametrize("name", RUN)
def test_templates_run_from_their_browser(browser, name):
    types = browser.openTemplate(name=name)
    if "ViTMatteVideo" in types:  # shows its file, which is no picture
        check_run(browser, pictures=set())
        return
    assert "ViTMatteMatting" in types
    check_run(browser, pictures={"ViTMatteMatting", "ViTMatteTrimap"})


# What of the pack is found, and down to which place: the words of its own name first.
@pytest.mark.parametrize(("words", "title", "place"), [
    ("matting", "ViTMatte Matting", 1),
    ("trimap", "Trimap from Mask (ViTMatte)", 1),
    ("cut out", "Cut Out Foreground (ViTMatte)", 1),
    ("remove background", "Remove or Replace Background (ViTMatte)", 4),
])
def test_the_search_box_finds_the_nodes(browser, words, title, place):
    shot = f"{SHOTS}/search_{words.replace(' ', '_')}.png" if SHOTS else None
    found = [entry.splitlines()[0].strip() for entry in browser.search(text=words, path=shot)]
    assert title in found[:place], found


@pytest.mark.parametrize("words", ["matting", "remove background"])
def test_the_templates_are_found_by_their_titles(browser, words):
    found = browser.searchTemplates(text=words)
    ours = [name for name in TEMPLATES if words in name.lower()]
    assert ours and set(ours) <= set(found)


def test_the_blueprint_is_found(browser, server):
    """Where the host has blueprints (since 0.3.67)."""
    found = [entry.splitlines()[0].strip() for entry in browser.search(text="remove background")]
    (blueprint,) = (path.stem for path in (ROOT / "subgraphs").glob("*.json"))
    try:
        with urllib.request.urlopen(f"{server.url}/global_subgraphs", timeout=60):
            assert blueprint in found[:4], found
    except urllib.error.HTTPError:
        pytest.skip("this ComfyUI has no blueprints")


def link_mask_to_matting(path: Path) -> dict:
    """A template in which the rough mask goes straight to the trimap input, as beginners do."""
    graph = json.loads(path.read_text(encoding="utf-8"))
    nodes = {node["type"]: node for node in graph["nodes"]}
    mask = nodes["ViTMatteExample"]["id"]
    wire = next(entry["link"] for entry in nodes["ViTMatteMatting"]["inputs"] if entry["name"] == "trimap")
    for link in graph["links"]:
        if link[0] == wire:
            link[1:3] = [mask, 1]
    nodes["ViTMatteTrimap"]["outputs"][0]["links"].remove(wire)
    nodes["ViTMatteExample"]["outputs"][1]["links"].append(wire)
    return graph


def test_a_rough_mask_in_place_of_a_trimap_is_said_on_the_node(browser, tmp_path):
    hair = ROOT / "workflows" / "Cut out hair and fur (ViTMatte matting).json"
    rough = tmp_path / "rough.json"
    rough.write_text(json.dumps(link_mask_to_matting(hair)), encoding="utf-8")
    browser.openFile(path=str(rough))
    done = browser.runRaw()
    assert done["status"] == "success" and list(done["warnings"]) == ["ViTMatteMatting"]
    assert "looks like a rough mask" in done["warnings"]["ViTMatteMatting"]
    browser.open()
    browser.openFile(path=str(hair))
    assert browser.runRaw()["warnings"] == {}


def test_a_batch_is_shown_whole(browser):
    browser.openFile(path=str(ROOT / "workflows" / "Video background removal (ViTMatte matting).json"))
    shown = browser.runRaw()["pictures"]
    assert shown["ViTMatteMatting"] == shown["ViTMatteTrimap"] == 8


def test_every_language_is_served(server):
    with urllib.request.urlopen(f"{server.url}/i18n", timeout=60) as answer:
        served = json.load(answer)
    for folder in LOCALES.iterdir():
        ours = json.loads((folder / "nodeDefs.json").read_text(encoding="utf-8"))
        assert ours.items() <= served[folder.name]["nodeDefs"].items(), folder.name


@pytest.mark.parametrize(("browser", "language"), [(name, name) for name in ("en", "fr", "zh")], indirect=["browser"])
def test_nodes_and_help_speak_the_language(browser, language):
    browser.openFile(path=str(ROOT / "workflows" / "Cut out hair and fur (ViTMatte matting).json"))
    said = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))["ViTMatteMatting"]
    shown = browser.texts(type="ViTMatteMatting")
    assert shown["title"] == said["display_name"] and shown["tooltip"] == said["description"]
    names = {part["name"] for part in said["inputs"].values()}
    assert names <= {*shown["inputs"], *shown["widgets"]}
    assert shown["inputTooltip"] == said["inputs"]["model"]["tooltip"]
    assert shown["outputs"] == [said["outputs"]["0"]["name"]]

    page = ROOT / "web" / "docs" / ("ViTMatteMatting.md" if language == "en" else f"ViTMatteMatting/{language}.md")
    help_page = browser.help(type="ViTMatteMatting")
    assert page.read_text(encoding="utf-8").split("\n")[0].replace("**", "") in help_page["text"]
    assert len(help_page["pictures"]) == 2  # the node, and what a wrong trimap does
    assert all(picture["width"] >= 300 for picture in help_page["pictures"]), help_page["pictures"]


@pytest.mark.parametrize("node", ["ViTMatteExample", "ViTMatteModelLoader", "ViTMatteTrimap", "ViTMatteTrimapPreview",
                                  "ViTMatteForeground"])
def test_help_shows_all_its_pictures(browser, node):
    browser.openFile(path=str(ROOT / "workflows" / "Cut out hair and fur (ViTMatte matting).json"))
    shown = browser.help(type=node)["pictures"]
    named = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (ROOT / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8"))
    assert [picture["source"].split("/docs/")[1] for picture in shown] == named and len(named) >= 2
    assert all(picture["width"] >= 300 for picture in shown), shown


def test_pictures_of_nodes_taller_than_the_page_have_their_top(browser, tmp_path):
    """As make_pictures.py takes them for the help pages: the page's bars hide nothing of the title."""
    browser.openTemplate(name="Video matting of any length (ViTMatte)")
    place = browser.show(type="ViTMatteVideo", width=500)
    browser.shot(path=str(tmp_path / "node.png"), clip=place)
    picture = np.asarray(Image.open(tmp_path / "node.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 1000  # the page is as high at first
    title = picture[5:25, 400:480]  # beside its text
    assert abs(title - title[-1, -1]).max() <= 3, "one colour, from the upper edge on"


def test_from_a_photograph_and_a_mask_painted_by_hand_to_a_cutout(browser, server):
    """What the note of the template says where there is no Remove Background."""
    browser.openTemplateRaw(name="Remove background from your photo (ViTMatte matting)")
    browser.closeDialogs()
    person = [[0.35, 0.05], [0.65, 0.05], [0.72, 0.3], [0.6, 0.55], [0.8, 0.75], [0.85, 0.97], [0.03, 0.97],
              [0.1, 0.65], [0.35, 0.55], [0.25, 0.3]]
    for node in ("LoadBackgroundRemovalModel", "RemoveBackground"):
        browser.remove(type=node)
    browser.paintMask(path=str(ROOT / "pictures" / "portrait.jpg"), polygons=[person])
    browser.wire(**{"from": {"type": "LoadImage", "slot": "MASK"}, "to": {"type": "ViTMatteTrimap", "slot": "mask"}})
    done = browser.runRaw()
    assert (done["status"], done["error"], done["warnings"]) == ("success", None, {})
    cutout = Image.open(sorted((server.base / "output" / "ViTMatte").glob("cutout*.png"))[-1])
    alpha = np.asarray(cutout.getchannel("A")) / 255
    assert cutout.size == (800, 800) and 0.3 < alpha.mean() < 0.7
    assert alpha[350, 330] == 1 and alpha[40, 40] == 0


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_workflows_saved_elsewhere_run_here(browser, path):
    """Saved from the web UI of an older and a newer ComfyUI (make_saved.py)."""
    wanted = [node["type"] for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]]
    assert sorted(browser.openFile(path=str(path))) == sorted(wanted)
    check_run(browser, pictures={"SaveImage"})


def test_what_is_saved_here_is_opened_again(browser, server):
    template = ROOT / "workflows" / "Refine a SAM mask (ViTMatte matting).json"
    browser.openFile(path=str(template))
    browser.save(name="saved here")
    saved = server.base / "user" / "default" / "workflows" / "saved here.json"

    def values(path):
        nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
        return {node["id"]: (node["type"], node.get("widgets_values") or []) for node in nodes}

    assert values(saved) == values(template)
    browser.open()
    browser.openFile(path=str(saved))
    check_run(browser, pictures={"SaveImage"})
