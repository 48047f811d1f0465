"""The clip that comes with the pack, and the cards of the templates that take it: `python tests/support/make_clip.py`.

- pictures/clip.mp4 pans and zooms over pictures/lemur.jpg. The masks are the picture's own, moved with it:
  clip-masks.mkv has one for each frame, clip-mask.png that of the first.
- workflows/NAME.jpg for the templates of clips, from cut-outs of the clip.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from make_pictures import CARD_BYTES, SIDE, opaque, save_jpeg
from paths import ROOT
from PIL import Image, ImageOps

sys.path.insert(0, str(ROOT))

from vitmatte.cli.main import main as vitmatte  # noqa: E402

PICTURES = ROOT / "pictures"
SIZE = 512, 320  # width, height
FRAMES, RATE = 48, 24
BYTES = 300_000  # of all files together, at most


def window(picture: Image.Image, number: int) -> Image.Image:
    """What a frame shows of a picture."""
    share = number / (FRAMES - 1)
    scale = 0.92 + 0.08 * math.cos(math.pi * share)  # pixels of the picture in one of the frame
    left = (picture.width - SIZE[0] * scale) * (0.1 + 0.8 * (0.5 - 0.5 * math.cos(math.pi * share)))
    top = (picture.height - SIZE[1] * scale) * (0.5 + 0.3 * math.sin(2 * math.pi * share))
    return picture.transform(SIZE, Image.Transform.AFFINE, (scale, 0, left, 0, scale, top), Image.Resampling.BICUBIC)


def encoded(name: str, pictures: list[Image.Image], encoder: str, layout: str, options: dict[str, str]) -> None:
    with av.open(str(PICTURES / name), "w", options={"movflags": "faststart"} if name.endswith("mp4") else {}) as file:
        stream = file.add_stream(encoder, rate=RATE)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.options = layout, options
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24" if picture.mode == "RGB" else "gray")
            file.mux(stream.encode(frame.reformat(format=layout)))
        file.mux(stream.encode(None))


def main() -> None:
    photo = Image.open(PICTURES / "lemur.jpg").convert("RGB")
    mask = Image.open(PICTURES / "lemur-mask.png").convert("L")
    masks = [window(mask, i).point(lambda value: 255 * (value > 127)) for i in range(FRAMES)]
    frames = [window(photo, i) for i in range(FRAMES)]
    encoded("clip.mp4", frames, "libx264", "yuv420p", {"crf": "24", "preset": "slow"})
    encoded("clip-masks.mkv", masks, "ffv1", "gray", {"level": "3", "coder": "1", "context": "1", "g": "48"})
    masks[0].save(PICTURES / "clip-mask.png", optimize=True)
    total = sum((PICTURES / name).stat().st_size for name in ("clip.mp4", "clip-masks.mkv", "clip-mask.png"))
    assert total <= BYTES, total
    cards()


def cards() -> None:
    """Four frames of the cut-out on each card, over transparency and over green."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.mkv"
        vitmatte(["video", str(PICTURES / "clip.mp4"), "--mask", str(PICTURES / "clip-masks.mkv"), "--steady", "0.5",
                  "--inner", "12", "--outer", "14", "--low", "0.5", "--high", "0.5", "-o", str(path)])
        with av.open(str(path)) as file:
            levels = [frame.to_ndarray(format="gbrap16le") for frame in file.decode(video=0)]
    found = [Image.fromarray((level >> 8).astype(np.uint8)) for level in levels]
    green = [Image.alpha_composite(Image.new("RGBA", SIZE, (0, 177, 64, 255)), one) for one in found]
    half = (SIDE - 4) // 2
    for name, pictures in (("Video matting of any length (ViTMatte)", found),
                           ("Video matting without flicker (ViTMatte)", green)):
        sheet = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
        for i in range(4):
            picture = opaque(ImageOps.fit(pictures[round(i * (FRAMES - 1) / 3)], (half, half)))
            sheet.paste(picture, (i % 2 * (half + 4), i // 2 * (half + 4)))
        save_jpeg(sheet, ROOT / "workflows" / f"{name}.jpg", CARD_BYTES)


if __name__ == "__main__":
    main()
