"""The templates in workflows/ and the blueprint in subgraphs/: known nodes, valid values, and a run of each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pack
import pytest
import torch
from clips import write_video
from make_templates import CORE as CORES
from make_templates import HIGH, WIDE, files

from vitmatte.video.file import VideoFile

NODES = {node.GET_SCHEMA().node_id: node for node in pack.load()[1]}
CORE = {"SaveImage": "images", "SaveAnimatedWEBP": "images"}
TEMPLATES = sorted((pack.ROOT / "workflows").glob("*.json"))
VIDEOS = [path for path in TEMPLATES if re.search("any length|without flicker", path.stem)]
MODELS = [path for path in TEMPLATES if "your photo" in path.stem or "SAM 3" in path.stem]  # need a file of ComfyUI's
WIDGETS = ("INT", "FLOAT", "BOOLEAN", "COMBO", "STRING")


def values(node: dict) -> dict:
    """What a node's widgets are set to, by input; they are stored by place."""
    ports = [port for port in NODES[node["type"]].GET_SCHEMA().inputs if port.io_type in WIDGETS]
    assert len(ports) == len(node["widgets_values"]), node["type"]
    found = dict(zip((port.id for port in ports), node["widgets_values"], strict=True))
    for port in ports:
        value = found[port.id]
        if port.io_type == "COMBO":
            assert value in port.options, (port.id, value)
        elif port.io_type in ("INT", "FLOAT"):
            assert port.min <= value <= port.max, (port.id, value)
    return found


def compute(graph: dict, changed: dict, given_in: tuple = ()) -> Callable[[int], torch.Tensor]:
    """A function from the number of a link to what it carries; `given_in` is what reaches a subgraph."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    links = {link[0]: link for link in graph["links"]}
    done: dict[int, tuple] = {-10: given_in}

    def result(number: int) -> tuple:
        if number not in done:
            node = nodes[number]
            inputs = {port["name"]: result(links[port["link"]][1])[links[port["link"]][2]]
                      for port in node["inputs"] if port.get("link") is not None}
            own = values(node) if node["type"] in NODES else {}
            given = {**own, **{key: value for key, value in changed.items() if key in own}}
            done[number] = (NODES[node["type"]].execute(**inputs, **given).result if node["type"] in NODES
                            else Parts.run(node["type"], inputs))
        return done[number]

    return lambda number: result(links[number][1])[links[number][2]]


def saved_by(graph: dict, changed: dict) -> list[torch.Tensor]:
    """What reaches the nodes that save."""
    carried = compute(graph, changed)
    return [carried(port["link"]) for node in graph["nodes"] if node["type"] in CORE
            for port in node["inputs"] if port["name"] == CORE[node["type"]]]


def test_templates_are_as_made():
    made = files()
    assert {path for path in made if path.parent.name == "workflows"} == set(TEMPLATES)
    for path, content in made.items():
        assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(content)), \
            "run python tests/support/make_templates.py"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_are_found_and_can_be_read(path: Path):
    """A card's title is the file's name; below some zoom the frontends leave out all text."""
    assert re.search("matting", path.stem, re.I) and "ViTMatte" in path.stem and len(path.stem) <= 60
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    left, top = (min(node["pos"][i] for node in nodes) for i in (0, 1))
    right, bottom = (max(node["pos"][i] + node["size"][i] for node in nodes) for i in (0, 1))
    assert right - left <= WIDE and bottom - top <= HIGH
    boxes = [(*node["pos"], node["pos"][0] + node["size"][0], node["pos"][1] + node["size"][1]) for node in nodes]
    for i, (x, y, far, low) in enumerate(boxes):
        for u, v, other_far, other_low in boxes[:i]:
            assert far <= u or other_far <= x or low + 30 <= v or other_low + 30 <= y, "nodes overlap"
    (note,) = [node for node in nodes if node["type"] == "MarkdownNote"]
    assert note["pos"] == [left, top] and note["widgets_values"][0].startswith("### ")
    for node in nodes:
        for model in node["properties"].get("models", ()):
            assert model["name"] in note["widgets_values"][0]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_templates_with_comfyuis_own_models(path: Path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    types = {node["type"] for node in graph["nodes"]}
    assert types <= {*NODES, *CORES, "MarkdownNote"} and {"ViTMatteTrimap", "ViTMatteMatting"} <= types
    for node in graph["nodes"]:
        if node["type"] in NODES:
            values(node)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in TEMPLATES if path not in MODELS + VIDEOS],
                         ids=lambda path: path.stem)
def test_templates_run_as_they_are(path: Path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    types = [node["type"] for node in graph["nodes"]]
    assert set(types) <= {*NODES, *CORE, "MarkdownNote"} and "MarkdownNote" in types
    assert "extra" in graph and not any(node["mode"] for node in graph["nodes"])
    with torch.inference_mode():
        saved = saved_by(graph, {"frames": 2 if path.stem.startswith("Video") else 1})
    assert saved
    for picture in saved:
        assert picture.ndim == 4 and min(picture.shape[1:3]) >= 400
        assert picture[..., :3].std() > 0.1
        if picture.shape[-1] == 4:
            assert 0.05 < picture[..., 3].mean() < 0.95


@pytest.mark.parametrize("path", [path for path in TEMPLATES if "Product" not in path.stem
                                  and "any length" not in path.stem], ids=lambda path: path.stem)
def test_templates_take_masks_of_a_translucent_brush(path: Path):
    """Strokes of older mask editors' brush leave 0.7 where they do not overlap. The product's template wants grey to be
    unknown."""
    (node,) = [node for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]
               if node["type"] == "ViTMatteTrimap"]
    mask = torch.zeros(1, 96, 96)
    mask[:, 20:76, 20:76] = 1
    strokes = mask.clone()
    strokes[:, 22:74:2, 22:74] = 0.7
    given = {**values(node), "strands": 0.0}
    execute = NODES["ViTMatteTrimap"].execute
    assert execute(mask=strokes, **given).result[0].equal(execute(mask=mask, **given).result[0])


class Parts:
    """ComfyUI's nodes for videos, as far as the templates use them."""

    @staticmethod
    def run(kind: str, inputs: dict) -> tuple:
        if kind == "GetVideoComponents":
            clip = VideoFile(inputs["video"].get_stream_source())
            return torch.stack([frame.image for frame in clip.frames()]), None, float(clip.rate)
        if kind == "ImageToMask":
            return (inputs["image"][..., 0],)
        return (inputs,)


@pytest.mark.slow
@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: path.stem)
def test_templates_of_videos_run_as_they_are(path: Path, monkeypatch, tmp_path):
    """On the first frames of the clip that comes with the pack."""
    pytest.importorskip("av")
    for name, layout, encoder in (("clip.mp4", "yuv420p", "libx264"), ("clip-masks.mkv", "gray", "ffv1")):
        few = VideoFile(pack.ROOT / "pictures" / name, frames=(1, 3))
        frames = [frame.image if layout == "yuv420p" else frame.image[..., 0] for frame in few.frames()]
        write_video(tmp_path / name, frames, layout=layout, encoder=encoder, colours=few.colours)
    shutil.copy(pack.ROOT / "pictures" / "clip-mask.png", tmp_path)
    monkeypatch.setattr(f"{pack.NAME}.nodes.example.FOLDER", tmp_path)
    graph = json.loads(path.read_text(encoding="utf-8"))
    assert {node["type"] for node in graph["nodes"]} <= {*NODES, *CORES} and "extra" in graph
    with torch.inference_mode():
        carried = compute(graph, {})
        if "any length" in path.stem:
            (node,) = [node for node in graph["nodes"] if node["type"] == "ViTMatteVideo"]
            inputs = {port["name"]: carried(port["link"]) for port in node["inputs"] if port.get("link") is not None}
            made = NODES["ViTMatteVideo"].execute(**inputs, **values(node))
            video = VideoFile(made.result[0].get_stream_source())
            assert video.count == 3 and video.size == (320, 512)
            assert "neighbouring mattes" in made.ui["vitmatte_warnings"][0]
        else:
            (node,) = [node for node in graph["nodes"] if node["type"] == "SaveVideo"]
            images = carried(node["inputs"][0]["link"])["images"]
            assert images.shape == (3, 320, 512, 3) and images.std() > 0.1


def test_the_blueprint_is_the_chain_of_nodes():
    (path,) = (pack.ROOT / "subgraphs").glob("*.json")
    graph = json.loads(path.read_text(encoding="utf-8"))
    (inside,) = graph["definitions"]["subgraphs"]
    (outside,) = graph["nodes"]
    assert outside["type"] == inside["id"]
    for kind in ("inputs", "outputs"):
        assert [port["name"] for port in outside[kind]] == [port["name"] for port in inside[kind]]
    nodes = {str(node["id"]): node for node in inside["nodes"]}
    assert all(name in values(nodes[number]) for number, name in outside["properties"]["proxyWidgets"])
    links = [[link[key] for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
             for link in inside["links"]]
    image, mask = torch.rand(1, 64, 64, 3), torch.zeros(1, 64, 64)
    mask[:, 20:44, 20:44] = 1
    with torch.inference_mode():
        carried = compute({"nodes": inside["nodes"], "links": links}, {}, (image, mask))
        cutout, alpha, look = (carried(port["linkIds"][0]) for port in inside["outputs"])
    assert cutout.shape == (1, 64, 64, 4) and cutout[..., 3].equal(alpha) and look.shape == (1, 64, 64, 3)
    shown = {name for _, name in outside["properties"]["proxyWidgets"]}
    assert {"invert", "inner", "outer", "strands"} <= shown
    assert "remove background" in path.stem.lower() and path.stem == inside["name"]


def test_no_other_folder_hides_the_templates():
    """ComfyUI serves the first folder of these names that a pack has, and lists the templates of all of them."""
    assert not any((pack.ROOT / name).exists() for name in ("example_workflows", "example", "examples", "workflow"))


def test_templates_have_thumbnails():
    from PIL import Image

    assert len(TEMPLATES) >= 6
    for path in TEMPLATES:
        with Image.open(path.with_suffix(".jpg")) as picture:
            assert min(picture.size) >= 256
        assert path.with_suffix(".jpg").stat().st_size < 100_000
