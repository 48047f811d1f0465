"""ViTMatteExample and ViTMatteExampleVideo."""

from __future__ import annotations

from pathlib import Path

import torch
from comfy_api.latest import io

from ..vitmatte.checks import check_choice
from ..vitmatte.pictures.reading import read_image, read_mask
from .clips import video_of
from .host import check_interrupt
from .preview import shown
from .schema import schema

FOLDER = Path(__file__).parent.parent / "pictures"
PICTURES = {  # picture and rough mask
    "portrait": ("portrait.jpg", "portrait-mask.png"),
    "lemur": ("lemur.jpg", "lemur-mask.png"),
    "lemur with a segmentation": ("lemur.jpg", "lemur-segmentation.png"),
    "plant": ("plant.jpg", "plant-mask.png"),
    "green screen": ("green-screen.jpg", "portrait-mask.png"),
    "lake": ("lake.jpg", None),
}
WINDOW = 0.75  # share of the picture's width that a clip's frames show


class ViTMatteExample(io.ComfyNode):
    """The pictures that come with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteExample",
            display_name="Example Picture (ViTMatte)",
            search_aliases=["matting example", "sample image", "test picture"],
            description="A picture that comes with the pack and a rough mask of its subject, so that the templates run "
                        "as they are. Put Load Image and a mask of your own in its place.",
            inputs=[
                io.Combo.Input("picture", options=list(PICTURES), default="portrait",
                               tooltip="Where they are from: NOTICE.md. lake is a background without a subject; its "
                                       "mask is empty."),
                io.Int.Input("frames", default=1, min=1, max=1000,
                             tooltip="1: the picture. More: a clip of so many frames which pans over it from left to "
                                     "right."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The picture, or the clip's frames."),
                io.Mask.Output("mask", display_name="mask", tooltip="A rough mask of the subject, 1 = subject."),
            ],
            is_output_node=True,  # of others, ComfyUI does not show again what is still cached
        )

    @classmethod
    def execute(cls, picture: str, frames: int) -> io.NodeOutput:
        check_choice("picture", picture, PICTURES)
        photo, rough = PICTURES[picture]
        image = read_image(FOLDER / photo)
        mask = read_mask(FOLDER / rough) if rough else torch.zeros(image.shape[:3])
        return io.NodeOutput(pan(image, frames), pan(mask, frames), ui=shown(image, check_interrupt))


class ViTMatteExampleVideo(io.ComfyNode):
    """The clip that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteExampleVideo",
            display_name="Example Clip (ViTMatte)",
            search_aliases=["matting example", "sample video", "test clip"],
            description="A clip that comes with the pack, of two seconds, and rough masks of its subject, so that the "
                        "templates run as they are. Put Load Video and masks of your own in its place.",
            inputs=[],
            outputs=[
                io.Video.Output("video", display_name="video", tooltip="The clip."),
                io.Mask.Output("mask", display_name="mask", tooltip="A rough mask of the first frame, 1 = subject."),
                io.Video.Output("mask_video", display_name="mask_video",
                                tooltip="Rough masks of all frames as a video, white = subject."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(video_of(str(FOLDER / "clip.mp4")), read_mask(FOLDER / "clip-mask.png"),
                             video_of(str(FOLDER / "clip-masks.mkv")))


def pan(picture: torch.Tensor, frames: int) -> torch.Tensor:
    """`frames` windows that move over a picture [1, H, W, ...] from its left to its right edge; the picture if 1."""
    if frames == 1:
        return picture
    width = picture.shape[2]
    window = round(WINDOW * width)
    starts = [round(i * (width - window) / (frames - 1)) for i in range(frames)]
    return torch.cat([picture[:, :, start:start + window] for start in starts])
