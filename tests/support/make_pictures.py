"""Pictures of the pack in ComfyUI, made from its real web UI.

    COMFYUI_HOST=... python tests/support/make_pictures.py [template ...]

- docs/images/graph.png: the template Cut out hair and fur (ViTMatte matting) after a run, for README.md.
- workflows/NAME.jpg: what the card of each template shows, from its own result (of clips: make_clip.py).
- web/docs/NODE/node.jpg: each node after a run, for its help page.

For the host see webui.py. It needs pillow.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps
from webui import ROOT, Browser, Server

SIDE = 512  # pixels, of a card
NODE = 700  # pixels, width of a node on its help page, with MARGIN around it
GRAPH = 1840  # pixels, width of the graph
MARGIN = 16
CARD_BYTES, NODE_BYTES = 60_000, 80_000
HAIR, PORTRAIT = "Cut out hair and fur (ViTMatte matting)", "Change the background of a portrait (ViTMatte matting)"
CLIP, STEADY = "Video matting of any length (ViTMatte)", "Video matting without flicker (ViTMatte)"
WITHOUT_CARD = (CLIP, STEADY)  # make_clip.py makes theirs
# Those that need a model of ComfyUI's have cards made by hand.
TEMPLATES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json")
                   if not re.search("your photo|SAM 3", path.stem))
NODES = {HAIR: ["ViTMatteExample", "ViTMatteModelLoader", "ViTMatteTrimap", "ViTMatteTrimapPreview",
                     "ViTMatteMatting", "ViTMatteForeground"],
         PORTRAIT: ["ViTMatteReplaceBackground"],
         CLIP: ["ViTMatteExampleVideo", "ViTMatteVideo"],
         STEADY: ["ViTMatteSteady"]}
SETTINGS = {  # nothing over the nodes that is not theirs
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None", "Comfy.NodeBadge.NodeIdBadgeMode": "None",
    "Comfy.NodeBadge.NodeLifeCycleBadgeMode": "None",
}


def save_jpeg(picture: Image.Image, path: Path, most: int) -> None:
    """As good as `most` bytes allow."""
    for quality in range(92, 40, -2):
        data = BytesIO()
        picture.convert("RGB").save(data, "JPEG", quality=quality, optimize=True, subsampling=0 if quality > 80 else 2)
        if data.tell() <= most:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.getvalue())
            return
    raise RuntimeError(f"{path}: more than {most} bytes")


def opaque(picture: Image.Image, side: int = 32) -> Image.Image:
    """Over a checkerboard where it is transparent."""
    board = Image.new("RGB", picture.size, (255, 255, 255))
    draw = ImageDraw.Draw(board)
    for top in range(0, picture.height, side):
        for left in range(top // side % 2 * side, picture.width, 2 * side):
            draw.rectangle((left, top, left + side - 1, top + side - 1), fill=(200, 200, 200))
    rgba = picture.convert("RGBA")
    board.paste(rgba, mask=rgba.getchannel("A"))
    return board


def card(before: Image.Image, after: Image.Image) -> Image.Image:
    """The picture on the left, what became of it on the right; of a clip, four of its frames."""
    frames = getattr(after, "n_frames", 1)
    sheet = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    if frames > 1:
        half = (SIDE - 4) // 2
        for i in range(4):
            after.seek(round(i * (frames - 1) / 3))
            sheet.paste(ImageOps.fit(after.convert("RGB"), (half, half)), (i % 2 * (half + 4), i // 2 * (half + 4)))
        return sheet
    left, right = (opaque(ImageOps.fit(picture, (SIDE, SIDE))) for picture in (before, after))
    sheet.paste(right)
    sheet.paste(left.crop((0, 0, SIDE // 2, SIDE)), (0, 0))
    ImageDraw.Draw(sheet).line((SIDE // 2, 0, SIDE // 2, SIDE), fill=(255, 255, 255), width=4)
    return sheet


def run(browser: Any, template: str) -> list[dict]:
    """Opens and runs a template in a fresh page; its pictures."""
    browser.open(settings=SETTINGS)
    browser.openTemplate(name=template)
    done = browser.run()
    if done["status"] != "success" or done["missing"]:
        raise RuntimeError(f"{template}: {done}")
    return browser.results()


def photograph(browser: Any, to: Path, *, width: float, node: str | None = None) -> Image.Image:
    """The graph, or a node of it, with MARGIN around; twice as many pixels as the page's."""
    place = browser.show(type=node, width=(width - 2 * MARGIN) / 2)
    margin = MARGIN / 2
    browser.shot(path=str(to), clip={"x": place["x"] - margin, "y": place["y"] - margin,
                                     "width": place["width"] + 2 * margin, "height": place["height"] + 2 * margin})
    return Image.open(to).convert("RGB")


def main() -> None:
    host = Path(os.environ["COMFYUI_HOST"])
    with tempfile.TemporaryDirectory() as folder:
        base, shot = Path(folder) / "base", Path(folder) / "shot.png"
        for template in sys.argv[1:] or TEMPLATES:
            # A server of its own for each: what it has computed before it does not show again.
            with Server(host, base) as server, Browser(host, server.url, scale=2) as browser:
                results = run(browser, template)
                if template not in WITHOUT_CARD:
                    first, last = (base / image["type"] / image["subfolder"] / image["filename"]
                                   for image in (results[0]["images"][0], results[-1]["images"][0]))
                    save_jpeg(card(Image.open(first), Image.open(last)),
                              ROOT / "workflows" / f"{template}.jpg", CARD_BYTES)
                if template == HAIR:
                    graph = photograph(browser, shot, width=GRAPH)
                    # Half the bytes, and text as crisp; without dither the photograph would show bands.
                    graph = graph.quantize(palette=graph.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
                    graph.save(ROOT / "docs" / "images" / "graph.png", optimize=True)
                for node in NODES.get(template, []):
                    save_jpeg(photograph(browser, shot, width=NODE, node=node),
                              ROOT / "web" / "docs" / node / "node.jpg", NODE_BYTES)


if __name__ == "__main__":
    main()
