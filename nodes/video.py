"""ViTMatteVideo: a clip in, a video file out, frame by frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy_api.latest import io

from ..vitmatte.compositing.blend import FITS, SCREENS
from ..vitmatte.inference.scope import STRATEGIES
from ..vitmatte.video.clip import matte_clip
from ..vitmatte.video.write import Kind, writers
from .clips import Frames, clip_of, masks_of, video_of
from .cutout import colour_taken
from .host import HostedModel, Progress, check_interrupt, plain_errors
from .matting import check_model
from .motion import OpticalFlow
from .preview import MOST, SIDE, shown_video
from .schema import advanced, picked, schema
from .trimap import area_inputs
from .types import ViTMatteModel
from .video_options import FORMATS, RESULTS, VideoOptions


class ViTMatteVideo(io.ComfyNode):
    """A clip and its masks to a video file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteVideo",
            display_name="Matte Video (ViTMatte)",
            search_aliases=["video matting", "video background removal", "rotoscope", "prores alpha", "green screen",
                            "transparent video", "remove video background"],
            description="Cuts the subject out of a clip of any length, one frame after the other, and writes the "
                        "result to the output folder: memory does not grow with the clip. Its rate and sound stay.",
            inputs=[
                io.Video.Input("video", tooltip="The clip. One from Load Video is read frame by frame."),
                ViTMatteModel.Input("model", tooltip="From Load ViTMatte Model."),
                io.Mask.Input("mask", optional=True,
                              tooltip="Rough masks, 1 = subject: one for all frames, or one for each. With carry: of "
                                      "the first frame, or the first ones."),
                io.Video.Input("mask_video", optional=True,
                               tooltip="The masks as a video, white = subject, instead of mask: it is read frame by "
                                       "frame too."),
                *area_inputs(),
                io.Boolean.Input("carry", default=False, optional=True,
                                 tooltip="Frames without a mask get the one before, moved by motion; it stops, and "
                                         "says at which frame, where motion cannot be followed."),
                io.Float.Input("steady", default=0.5, min=0.0, max=1.0, step=0.05, round=0.001, optional=True,
                               tooltip="How much the mattes of neighbouring frames, moved by motion, hold each other "
                                       "still. 0: every frame for itself."),
                io.Combo.Input("result", options=list(RESULTS), default="cut-out", optional=True,
                               tooltip="cut-out: the subject on transparency. on background: before background, "
                                       "background_video or the colour. matte: alpha as grey. fill and matte: two "
                                       "files, the subject's colours without transparency and the matte."),
                io.Combo.Input("format", options=list(FORMATS), default="ProRes 4444 (.mov)", optional=True,
                               tooltip="ProRes for editors, VP9 for the web, FFV1 without any loss. H.264 has no "
                                       "transparency."),
                picked(io.String.Input("colour", default="#00b140", optional=True,
                                       tooltip="Of the background where none is connected, and around it.")),
                io.Combo.Input("fit", options=list(FITS), default="cover", optional=True,
                               tooltip="How a background of another size is used; see Remove or Replace Background."),
                io.Combo.Input("despill", options=list(SCREENS), default="none", optional=True,
                               tooltip="Take the light of a green or blue screen from the subject."),
                advanced(io.Combo.Input("strategy", options=list(STRATEGIES), default="auto", optional=True,
                                        tooltip="See ViTMatte Matting.")),
                io.String.Input("filename_prefix", default="video/ViTMatte", optional=True,
                                tooltip="Of the new file in the output folder."),
                io.Image.Input("background", optional=True,
                               tooltip="For on background: one picture, or one for each frame (the last one stays)."),
                io.Video.Input("background_video", optional=True,
                               tooltip="For on background: a clip that runs along; it begins again where it ends."),
                OpticalFlow.Input("optical_flow", optional=True,
                                  tooltip="A motion model for steady, from Load Optical Flow Model, in place of the "
                                          "built-in one."),
            ],
            outputs=[io.Video.Output("result_video", display_name="video",
                                     tooltip="The file that was written; of two, the fill.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, colour: str | None = None) -> bool | str:
        """Before anything is computed."""
        return colour_taken(colour)

    @classmethod
    @plain_errors()
    def execute(cls, video: Any, model: HostedModel, mask: torch.Tensor | None = None, mask_video: Any = None,
                **options: Any) -> io.NodeOutput:
        check_model(model)
        given = VideoOptions(**options)
        given.check()
        clip = clip_of(video)
        masks = masks_of(clip, mask, mask_video, carried=given.carry)
        targets, subfolder = given.targets(clip)
        progress, frames = Progress(), Frames(clip.count, MOST, SIDE)

        def show(index: int, alpha: torch.Tensor, pictures: dict[Kind, torch.Tensor]) -> None:
            progress.show(index, alpha)
            frames.add(index, pictures[targets[0].kind])

        with writers(targets, clip) as found:
            report = matte_clip(
                clip, masks, list(zip(targets, found, strict=True)), trimap_of=given.trimap,
                matte=partial(model.matte_frame, strategy=given.strategy, memory_limit=0), look=given.look(clip),
                steady=given.steadier(), carry=given.carrier(masks, clip), device=model.device, on_progress=progress,
                on_frame=show, check_interrupt=check_interrupt)
        files = [{"filename": target.path.name, "subfolder": subfolder, "type": "output"} for target in targets]
        return io.NodeOutput(video_of(str(targets[0].path)),
                             ui=shown_video(files, frames.kept, check_interrupt, report.said()))
