"""The templates in workflows/ and the blueprint in subgraphs/: known nodes, valid values, and a run of each."""

from __future__ import annotations

import json
from pathlib import Path

import pack
import pytest
import torch

NODES = {node.GET_SCHEMA().node_id: node for node in pack.load()[1]}
CORE = {"SaveImage": "images", "SaveAnimatedWEBP": "images"}
TEMPLATES = sorted((pack.ROOT / "workflows").glob("*.json"))
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


def run(graph: dict, changed: dict) -> dict[str, list[torch.Tensor]]:
    """What reaches the nodes that save, by their type."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    links = {link[0]: link for link in graph["links"]}
    done: dict[int, tuple] = {}

    def result(number: int) -> tuple:
        if number not in done:
            node = nodes[number]
            inputs = {port["name"]: result(links[port["link"]][1])[links[port["link"]][2]]
                      for port in node["inputs"] if port.get("link") is not None}
            given = {**values(node), **{key: value for key, value in changed.items() if key in values(node)}}
            done[number] = NODES[node["type"]].execute(**inputs, **given).result
        return done[number]

    saved: dict[str, list[torch.Tensor]] = {}
    for node in graph["nodes"]:
        if node["type"] in CORE:
            link = links[next(port["link"] for port in node["inputs"] if port["name"] == CORE[node["type"]])]
            saved.setdefault(node["type"], []).append(result(link[1])[link[2]])
    return saved


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_run_as_they_are(path: Path):
    graph = json.loads(path.read_text(encoding="utf-8"))
    types = [node["type"] for node in graph["nodes"]]
    assert set(types) <= {*NODES, *CORE, "MarkdownNote"} and "MarkdownNote" in types
    assert "extra" in graph and not any(node["mode"] for node in graph["nodes"])
    with torch.inference_mode():
        saved = run(graph, {"frames": 1} if path.stem != "video_frames" else {"frames": 2})
    for pictures in saved.values():
        for picture in pictures:
            assert picture.ndim == 4 and min(picture.shape[1:3]) >= 500
            assert picture[..., :3].std() > 0.1
            if picture.shape[-1] == 4:
                assert 0.05 < picture[..., 3].mean() < 0.95
    assert saved


def test_templates_have_thumbnails():
    from PIL import Image

    assert len(TEMPLATES) >= 6
    for path in TEMPLATES:
        with Image.open(path.with_suffix(".jpg")) as picture:
            assert min(picture.size) >= 256
        assert path.with_suffix(".jpg").stat().st_size < 100_000
