"""The templates in workflows/ and the blueprint in subgraphs/, laid out from what is said here of each.

    python tests/support/make_templates.py

A template is named by what people search for, is at most WIDE x HIGH pixels, and has its note at the top left. Widgets
take the nodes' defaults unless said otherwise. Pictures on the cards: make_pictures.py.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pack

WIDE, HIGH = 1400, 880  # pixels; at 1600x1000 the frontends show such a graph at a zoom at which all text can be read
GAP, COLUMN, TITLE = 30, 320, 30  # pixels
NOTE = {"color": "#432", "bgcolor": "#653"}
WIDGETS = ("INT", "FLOAT", "BOOLEAN", "COMBO", "STRING")

# ComfyUI's own nodes: inputs by name and type ("widget" for one that has no socket to fill), outputs, widgets' values.
CORE: dict[str, dict[str, Any]] = {
    "MarkdownNote": {},
    "LoadImage": {"outputs": [("IMAGE", "IMAGE"), ("MASK", "MASK")], "values": ["example.png", "image"]},
    "LoadBackgroundRemovalModel": {
        "outputs": [("bg_model", "BACKGROUND_REMOVAL")], "values": ["birefnet.safetensors"],
        "models": [{"name": "birefnet.safetensors", "directory": "background_removal",
                    "url": "https://huggingface.co/Comfy-Org/BiRefNet/resolve/main/background_removal/"
                           "birefnet.safetensors"}]},
    "RemoveBackground": {"inputs": [("image", "IMAGE"), ("bg_removal_model", "BACKGROUND_REMOVAL")],
                         "outputs": [("mask", "MASK")]},
    "SaveImage": {"inputs": [("images", "IMAGE")], "values": ["ViTMatte/cutout"]},
    "SaveAnimatedWEBP": {"inputs": [("images", "IMAGE")], "values": ["ViTMatte/clip", 8, False, 85, "default"]},
    "LoadVideo": {"outputs": [("VIDEO", "VIDEO")], "values": ["", "image"]},
    "GetVideoComponents": {"inputs": [("video", "VIDEO")],
                           "outputs": [("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT")]},
    "ImageToMask": {"inputs": [("image", "IMAGE"), ("channel", "COMBO", "widget")], "outputs": [("MASK", "MASK")],
                    "values": ["red"]},
    "CheckpointLoaderSimple": {
        "outputs": [("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")],
        "values": ["sam3.1_multiplex_fp16.safetensors"],
        "models": [{"name": "sam3.1_multiplex_fp16.safetensors", "directory": "checkpoints",
                    "url": "https://huggingface.co/Comfy-Org/sam3.1/resolve/main/checkpoints/"
                           "sam3.1_multiplex_fp16.safetensors"}]},
    "CLIPTextEncode": {"inputs": [("clip", "CLIP")], "outputs": [("CONDITIONING", "CONDITIONING")],
                       "values": ["person"]},
    "SAM3_VideoTrack": {"inputs": [("images", "IMAGE"), ("model", "MODEL"), ("initial_mask", "MASK"),
                                   ("conditioning", "CONDITIONING")],
                        "outputs": [("track_data", "SAM3_TRACK_DATA")], "values": [0.5, 1, 1]},
    "SAM3_TrackToMask": {"inputs": [("track_data", "SAM3_TRACK_DATA")], "outputs": [("masks", "MASK")], "values": [""]},
    "CreateVideo": {"inputs": [("images", "IMAGE"), ("audio", "AUDIO"), ("fps", "FLOAT", "widget")],
                    "outputs": [("VIDEO", "VIDEO")], "values": [24]},
    "SaveVideo": {"inputs": [("video", "VIDEO")], "values": ["video/ViTMatte", "auto", "auto"]},
}

PHOTO, MASK, MODEL = "photo", "rough", "model"  # names of nodes in what follows
# The brush of older mask editors is translucent and leaves masks of 0.7 to 1; at the node's defaults all that is less
# than 1 would be unknown.
HARD = {"low": 0.5, "high": 0.5}
SETTINGS = {"strategy": "auto", "refine": 1.0}  # of ViTMatte Matting
OF_CLIPS = {"refine": 0.0}  # which takes half the time; Steady does more for a clip
OWN = ("**Your own picture:** put **Load Image** in place of Example Picture and paint over the subject in its mask "
       "editor, or connect the mask of Remove Background, SAM or any other node. What was painted by hand wants larger "
       "*inner* and *outer*.")


def chain(example: str, trimap: dict, prefix: str, *, strands: bool, frames: int = 1, cut: bool = True,
          despill: str = "none", save: str = "SaveImage") -> list[list[tuple]]:
    """The columns of a template that starts from an example picture; a node is (name, type, height, links, values)."""
    picture = (PHOTO, 0)
    loader = (MODEL, "ViTMatteModelLoader", 110, {}, {})
    first = [(PHOTO, "ViTMatteExample", 290, {}, {"picture": example, "frames": frames})]
    third = [("matte", "ViTMatteMatting", 354, {"model": (MODEL, 0), "image": picture, "trimap": ("trimap", 0)},
              SETTINGS),
             ("look", "ViTMatteTrimapPreview", 286, {"image": picture, "trimap": ("trimap", 0)}, {})]
    if cut:
        first = [("note", "MarkdownNote", 310, {}, None), *first, loader]
        made = ("cut", "ViTMatteForeground", 380, {"image": picture, "alpha": ("matte", 0)}, {"despill": despill})
    else:
        lake = ("lake", "ViTMatteExample", 210, {}, {"picture": "lake"})
        first = [("note", "MarkdownNote", 220, {}, None), *first, lake]
        third = [loader, *third]
        made = ("cut", "ViTMatteReplaceBackground", 430,
                {"image": picture, "alpha": ("matte", 0), "background": ("lake", 0)}, {"despill": despill})
    links = {"mask": (PHOTO, 1), **({"image": picture} if strands else {})}
    return [
        first,
        [("trimap", "ViTMatteTrimap", 640, links, trimap)],
        third,
        [made, ("save", save, 330, {"images": ("cut", int(cut))}, [prefix, *CORE[save]["values"][1:]])],
    ]


TEMPLATES: dict[str, tuple[str, list[list[tuple]]]] = {
    "Remove background from your photo (ViTMatte matting)": (
        "### Your photo, every hair kept\n"
        "1. Choose your picture in **Load Image**.\n2. Press **Run**. The cut-out is in Save Image, with "
        "transparency.\n\n"
        "Needs `birefnet.safetensors` in `models/background_removal`; ComfyUI offers the download. **Without it**, or "
        "in a ComfyUI without Remove Background: delete its two nodes, paint over the subject in Load Image's mask "
        "editor (right-click), connect MASK to the trimap, and set *inner* and *outer* to 5.\n\nOld background "
        "left? Raise *inner*. Hair cut off? Raise *outer*.",
        [
            [("note", "MarkdownNote", 300, {}, None),
             (PHOTO, "LoadImage", 280, {}, None),
             ("bg", "LoadBackgroundRemovalModel", 60, {}, None),
             (MASK, "RemoveBackground", 50, {"image": (PHOTO, 0), "bg_removal_model": ("bg", 0)}, None)],
            [("trimap", "ViTMatteTrimap", 640, {"mask": (MASK, 0), "image": (PHOTO, 0)},
              {"inner": 1.5, "outer": 2.5, "unit": "% of subject size", "low": 0.5, "high": 0.5, "strands": 3.0,
               "fill_holes": 200, "remove_specks": 200})],
            [(MODEL, "ViTMatteModelLoader", 110, {}, {}),
             ("matte", "ViTMatteMatting", 334,
              {"model": (MODEL, 0), "image": (PHOTO, 0), "trimap": ("trimap", 0)}, SETTINGS),
             ("look", "ViTMatteTrimapPreview", 300, {"image": (PHOTO, 0), "trimap": ("trimap", 0)}, {})],
            [("cut", "ViTMatteForeground", 390, {"image": (PHOTO, 0), "alpha": ("matte", 0)}, {}),
             ("save", "SaveImage", 370, {"images": ("cut", 1)}, None)],
        ]),
    "Cut out hair and fur (ViTMatte matting)": (
        "### Cut out with every hair\n"
        "**Trimap from Mask**: grey is what ViTMatte decides. Cover all hair with it, and little else; **Preview "
        "Trimap** shows it in yellow.\n\n**ViTMatte Matting** gives the matte at full size. **Cut Out Foreground** "
        f"takes the old background's colour out of the hair.\n\n{OWN}",
        chain("portrait", {"inner": 20, "outer": 30, **HARD}, "ViTMatte/cutout", strands=False)),
    "Change the background of a portrait (ViTMatte matting)": (
        "### A portrait before another background\n"
        "*strands* lets the unknown area follow hair further than *outer*. Without *background* the **colour** is "
        f"used.\n\n{OWN}",
        chain("portrait", {"inner": 20, "outer": 10, "strands": 30, **HARD}, "ViTMatte/portrait", strands=True,
              cut=False)),
    "Green screen keying without spill (ViTMatte matting)": (
        "### Green screen without spill\n"
        "*foreground_colours* estimated takes the screen out of hair; *despill* green takes its light from the "
        "subject, and greys what is green by itself."
        f"\n\n{OWN}",
        chain("green screen", {"inner": 20, "outer": 10, "strands": 30, **HARD}, "ViTMatte/no-spill", strands=True,
              cut=False, despill="green")),
    "Product photo on transparent background (ViTMatte matting)": (
        "### Product on transparency\n"
        "The mask is black, grey and white: grey is what is see-through or too fine to paint. *inner* and *outer* are "
        "0, so grey alone is unknown.\n\n**Cut Out Foreground** gives a picture with transparency; Save Image keeps "
        "it. At full size two knots of the wood stay, and a light haze right of the blades."
        f"\n\n{OWN}",
        chain("plant", {"inner": 0, "outer": 0}, "ViTMatte/product", strands=False)),
    "Refine a SAM mask (ViTMatte matting)": (
        "### Refine a mask of SAM or Remove Background\n"
        "Their masks are 1 = subject: connect one in place of the example's.\n\n*fill_holes* and *remove_specks*: up "
        "to which area they are mistakes. *inner* and *outer* must cover what the mask gets wrong; *strands* follows "
        "fur further out. A mask that is good already: low 0.1, high 0.9, small radii.",
        chain("lemur with a segmentation",
              {"inner": 14, "outer": 12, "fill_holes": 500, "remove_specks": 500, "strands": 20, **HARD},
              "ViTMatte/refined",
              strands=True)),
    "Video background removal (ViTMatte matting)": (
        "### Video: a batch of frames\n"
        "Here 8 frames with a mask for each; one mask for all works too.\n\n**Your own clip:** Load Video and Get "
        "Video Components, with masks of SAM. For editing elsewhere: Cut Out Foreground and Save Image, a PNG for each "
        "frame.",
        chain("lemur", {"inner": 12, "outer": 16, **HARD}, "ViTMatte/clip", strands=False, frames=8, cut=False,
              save="SaveAnimatedWEBP")),
    "Video matting of any length (ViTMatte)": (
        "### A clip of any length\n"
        "**Matte Video** works frame by frame: memory does not grow with the clip. *steady* holds edges still.\n\nThe "
        "file is in the output folder; choose *ProRes 4444* for editors.\n\n**Your own clip:** put **Load Video** in "
        "place of Example Clip, and connect a video of masks, or masks as of SAM. With *carry* a mask of the first "
        "frame does, as long as its motion can be followed.",
        [
            [("note", "MarkdownNote", 330, {}, None),
             ("clip", "ViTMatteExampleVideo", 90, {}, {}),
             (MODEL, "ViTMatteModelLoader", 110, {}, {})],
            [("cut", "ViTMatteVideo", 880, {"video": ("clip", 0), "model": (MODEL, 0), "mask_video": ("clip", 2)},
              {"inner": 12, "outer": 14, "low": 0.5, "high": 0.5, "format": "VP9 (.webm)"})],
        ]),
    "Video matting without flicker (ViTMatte)": (
        "### Steady mattes in a batch\n"
        "**Steady Mattes** blends the mattes of neighbouring frames, moved by motion, where the trimap is unknown. "
        "Here masks for all frames come from a video.\n\n**Your own clip:** Load Video and Get Video Components, with "
        "masks of SAM. All frames are in memory at once; for long clips take **Matte Video**.",
        [
            [("note", "MarkdownNote", 250, {}, None),
             ("clip", "ViTMatteExampleVideo", 90, {}, {}),
             ("parts", "GetVideoComponents", 110, {"video": ("clip", 0)}, None),
             ("masks", "GetVideoComponents", 110, {"video": ("clip", 2)}, None),
             (MASK, "ImageToMask", 60, {"image": ("masks", 0)}, None)],
            [("trimap", "ViTMatteTrimap", 640, {"mask": (MASK, 0)},
              {"inner": 12, "outer": 14, "low": 0.5, "high": 0.5}),
             (MODEL, "ViTMatteModelLoader", 110, {}, {})],
            [("matte", "ViTMatteMatting", 330,
              {"model": (MODEL, 0), "image": ("parts", 0), "trimap": ("trimap", 0)}, OF_CLIPS),
             ("steady", "ViTMatteSteady", 330,
              {"image": ("parts", 0), "alpha": ("matte", 0), "trimap": ("trimap", 0)}, {})],
            [("cut", "ViTMatteReplaceBackground", 430, {"image": ("parts", 0), "alpha": ("steady", 0)},
              {"colour": "#00b140"}),
             ("made", "CreateVideo", 80, {"images": ("cut", 0), "audio": ("parts", 1), "fps": ("parts", 2)}, None),
             ("save", "SaveVideo", 140, {"video": ("made", 0)}, None)],
        ]),
    "Video matting from SAM 3 masks (ViTMatte)": (
        "### SAM 3 finds, ViTMatte cuts out\n"
        "1. Choose a clip in **Load Video**.\n2. Say what to cut out in **CLIP Text Encode**.\n3. Press "
        "**Run**.\n\nNeeds `sam3.1_multiplex_fp16.safetensors` in `models/checkpoints` (ComfyUI offers the download) "
        "and a ComfyUI with SAM3 Video Track. All frames are in memory at once: try a few seconds first.",
        [
            [("note", "MarkdownNote", 250, {}, None),
             ("clip", "LoadVideo", 240, {}, None),
             ("parts", "GetVideoComponents", 110, {"video": ("clip", 0)}, None),
             ("sam", "CheckpointLoaderSimple", 100, {}, None)],
            [("words", "CLIPTextEncode", 110, {"clip": ("sam", 1)}, None),
             ("track", "SAM3_VideoTrack", 180,
              {"images": ("parts", 0), "model": ("sam", 0), "conditioning": ("words", 0)}, None),
             (MASK, "SAM3_TrackToMask", 60, {"track_data": ("track", 0)}, None),
             (MODEL, "ViTMatteModelLoader", 110, {}, {})],
            [("trimap", "ViTMatteTrimap", 570, {"mask": (MASK, 0), "image": ("parts", 0)},
              {"inner": 2.0, "outer": 2.5, "unit": "% of subject size", "fill_holes": 200, "remove_specks": 200,
               **HARD}),
             ("look", "ViTMatteTrimapPreview", 240, {"image": ("parts", 0), "trimap": ("trimap", 0)}, {})],
            [("matte", "ViTMatteMatting", 204,
              {"model": (MODEL, 0), "image": ("parts", 0), "trimap": ("trimap", 0)}, OF_CLIPS),
             ("cut", "ViTMatteReplaceBackground", 260, {"image": ("parts", 0), "alpha": ("matte", 0)},
              {"colour": "#00b140"}),
             ("made", "CreateVideo", 80, {"images": ("cut", 0), "audio": ("parts", 1), "fps": ("parts", 2)}, None),
             ("save", "SaveVideo", 140, {"video": ("made", 0)}, None)],
        ]),
}

BLUEPRINT = "Remove Background, Keep Every Hair (ViTMatte)"


def ports(kind: str, values: Any) -> tuple[list[tuple], list[tuple], list]:
    """(inputs as (name, shown name, type, has a widget, optional), outputs as (name, type), widgets' values)."""
    schema = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in pack.load()[1]}.get(kind)
    if schema is None:
        core = CORE[kind]
        inputs = [(name, name, port, bool(widget), False) for name, port, *widget in core.get("inputs", [])]
        return inputs, core.get("outputs", []), core.get("values", []) if values is None else values
    unknown = set(values) - {port.id for port in schema.inputs}
    assert not unknown, (kind, unknown)
    inputs = [(port.id, port.display_name or port.id, port.io_type, port.io_type in WIDGETS, bool(port.optional))
              for port in schema.inputs]
    inputs.sort(key=lambda port: port[3])  # sockets first, as the frontends have them
    given = [values.get(port.id, port.default) for port in schema.inputs if port.io_type in WIDGETS]
    return inputs, [(port.display_name, port.io_type) for port in schema.outputs], given


def graph(columns: list[list[tuple]]) -> tuple[list[dict], list[list]]:
    """(nodes, links) of columns of nodes."""
    numbers = {node[0]: i + 1 for i, node in enumerate(node for column in columns for node in column)}
    nodes: dict[str, dict] = {}
    links: list[list] = []
    for i, column in enumerate(columns):
        y = 0
        for name, kind, height, _, values in column:
            inputs, outputs, given = ports(kind, values)
            node: dict[str, Any] = {
                "id": numbers[name], "type": kind, "pos": [i * (COLUMN + GAP), y], "size": [COLUMN, height],
                "flags": {}, "order": numbers[name] - 1, "mode": 0, "inputs": [],
                "outputs": [{"localized_name": shown, "name": shown, "type": port, "links": []}
                            for shown, port in outputs],
                "properties": {"Node name for S&R": kind, **({"models": CORE[kind]["models"]}
                                                             if "models" in CORE.get(kind, {}) else {})},
                "widgets_values": given,
            }
            for port, shown, port_type, widget, optional in inputs:
                entry = {"localized_name": shown, "name": port, "type": port_type, "link": None}
                if optional:
                    entry["shape"] = 7
                if widget:
                    entry["widget"] = {"name": port}
                node["inputs"].append(entry)
            nodes[name] = node
            y += height + TITLE + GAP
    for column in columns:
        for name, _, _, wired, _ in column:
            for port, (source, slot) in wired.items():
                at = next(i for i, entry in enumerate(nodes[name]["inputs"]) if entry["name"] == port)
                kind = nodes[source]["outputs"][slot]["type"]
                links.append([len(links) + 1, numbers[source], slot, numbers[name], at, kind])
                nodes[name]["inputs"][at]["link"] = len(links)
                nodes[source]["outputs"][slot]["links"].append(len(links))
    return list(nodes.values()), links


def template(note: str, columns: list[list[tuple]]) -> dict:
    """A workflow as the frontends save it."""
    nodes, links = graph(columns)
    for node in nodes:
        if node["type"] == "MarkdownNote":
            node.update(title="How it works", widgets_values=[note], **NOTE)
    return {"id": str(uuid.UUID(int=0)), "revision": 0, "last_node_id": len(nodes), "last_link_id": len(links),
            "nodes": nodes, "links": links, "groups": [], "config": {}, "extra": {}, "version": 0.4}


def blueprint() -> dict:
    """Picture and rough mask to cut-out, matte and a preview of the trimap, as one node of the node library."""
    columns = [
        [("model", "ViTMatteModelLoader", 110, {}, {}), ("trimap", "ViTMatteTrimap", 640, {}, {})],
        [("matte", "ViTMatteMatting", 414, {"model": ("model", 0), "trimap": ("trimap", 0)}, SETTINGS),
         ("look", "ViTMatteTrimapPreview", 350, {"trimap": ("trimap", 0)}, {})],
        [("cut", "ViTMatteForeground", 400, {"alpha": ("matte", 0)}, {})],
    ]
    names = ["model", "trimap", "matte", "look", "cut"]
    nodes, inner = graph(columns)
    by_name = dict(zip(names, nodes, strict=True))
    links = [dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))
             for link in inner]

    def wire(origin: int, origin_slot: int, target: int, target_slot: int, kind: str) -> int:
        links.append({"id": len(links) + 1, "origin_id": origin, "origin_slot": origin_slot, "target_id": target,
                      "target_slot": target_slot, "type": kind})
        return len(links)

    def name_of(text: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"vitmatte/{text}"))

    def port(i: int, name: str, kind: str, wired: list[int], x: int) -> dict:
        return {"id": name_of(name), "name": name, "type": kind, "linkIds": wired, "localized_name": name,
                "pos": [x, 20 + 20 * i]}

    inputs, outputs = [], []
    for i, (name, kind, targets) in enumerate((("image", "IMAGE", ("trimap", "matte", "look", "cut")),
                                               ("mask", "MASK", ("trimap",)))):
        wired = []
        for target in targets:
            at = next(k for k, entry in enumerate(by_name[target]["inputs"]) if entry["name"] == name)
            wired.append(wire(-10, i, by_name[target]["id"], at, kind))
            by_name[target]["inputs"][at]["link"] = wired[-1]
        inputs.append(port(i, name, kind, wired, -220))
    for i, (name, kind, source, slot) in enumerate((("cut-out", "IMAGE", "cut", 1), ("alpha", "MASK", "matte", 0),
                                                    ("trimap preview", "IMAGE", "look", 0))):
        number = wire(by_name[source]["id"], slot, -20, i, kind)
        by_name[source]["outputs"][slot]["links"].append(number)
        outputs.append(port(i, name, kind, [number], 1260))
    shown = [("model", "model_name"), ("trimap", "inner"), ("trimap", "outer"), ("trimap", "unit"),
             ("trimap", "invert"), ("trimap", "strands"), ("cut", "despill")]
    inside = {
        "id": name_of("blueprint"), "version": 1, "revision": 0, "config": {}, "name": BLUEPRINT,
        "state": {"lastGroupId": 0, "lastNodeId": len(nodes), "lastLinkId": len(links), "lastRerouteId": 0},
        "inputNode": {"id": -10, "bounding": [-300, 0, 120, 80]},
        "outputNode": {"id": -20, "bounding": [1240, 0, 120, 100]},
        "inputs": inputs, "outputs": outputs, "widgets": [], "nodes": nodes, "groups": [], "links": links,
        "extra": {}, "category": "Image/Matting",
        "description": "Removes the background of a picture and keeps every hair, from a rough mask: trimap, ViTMatte "
                       "matting, cut-out.",
    }
    outside = {
        "id": 1, "type": inside["id"], "pos": [0, 0], "size": [340, 340], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": entry["name"], "localized_name": entry["name"], "type": entry["type"], "link": None}
                   for entry in inputs],
        "outputs": [{"name": entry["name"], "localized_name": entry["name"], "type": entry["type"], "links": []}
                    for entry in outputs],
        "properties": {"proxyWidgets": [[str(by_name[node]["id"]), widget] for node, widget in shown]},
        "widgets_values": [], "title": BLUEPRINT,
    }
    return {"revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [outside], "links": [], "version": 0.4,
            "definitions": {"subgraphs": [inside]}, "extra": {}}


def files() -> dict[Path, dict]:
    """All that this file makes, by path."""
    made = {pack.ROOT / "workflows" / f"{name}.json": template(*content) for name, content in TEMPLATES.items()}
    made[pack.ROOT / "subgraphs" / f"{BLUEPRINT}.json"] = blueprint()
    return made


def main() -> None:
    for path, content in files().items():
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
