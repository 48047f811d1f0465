"""ViTMatteSteady, and motion by a model of ComfyUI's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy_api.latest import io
from torch.nn import functional

from ..vitmatte.checks import check_picture
from ..vitmatte.video.steady import Steady
from .host import Progress, check_interrupt, loaded, plain_errors
from .preview import shown
from .schema import schema

OpticalFlow = io.Custom("OPTICAL_FLOW")
STEP = 8  # RAFT's sides are multiples of it
LEAST = 128  # and its pyramid needs this much


class ViTMatteSteady(io.ComfyNode):
    """Mattes of a clip's frames, made to hold still."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteSteady",
            display_name="Steady Mattes (ViTMatte)",
            search_aliases=["flicker", "deflicker mask", "temporal", "smooth mask video", "video matting"],
            description="Makes the mattes of a clip hold still: those of neighbouring frames, moved by motion, are "
                        "blended where the trimap is unknown. Not for unrelated pictures.",
            inputs=[
                io.Image.Input("image", tooltip="The frames, in order."),
                io.Mask.Input("alpha", tooltip="Their mattes, from ViTMatte Matting."),
                io.Mask.Input("trimap", tooltip="Their trimaps: what is known stays as it is. One may serve all."),
                io.Float.Input("steady", default=0.5, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="How much neighbouring mattes hold each other still; 0 changes nothing."),
                OpticalFlow.Input("optical_flow", optional=True,
                                  tooltip="A motion model, from Load Optical Flow Model, in place of the built-in "
                                          "one."),
            ],
            outputs=[io.Mask.Output("steady_alpha", display_name="alpha", tooltip="The steady mattes.")],
        )

    @classmethod
    @plain_errors()
    def execute(cls, image: torch.Tensor, alpha: torch.Tensor, trimap: torch.Tensor, steady: float,
                optical_flow: Any = None) -> io.NodeOutput:
        alpha, trimap = check_picture(image, alpha, "alpha"), check_picture(image, trimap, "trimap")
        if len(alpha) != len(image):
            raise ValueError(f"{len(alpha)} of alpha for {len(image)} frames; expected as many")
        steadier = Steady(steady, motion=None if optical_flow is None else motion_of(optical_flow))
        progress, made, blended = Progress(), [], 0.0
        for i, frame in enumerate(image):
            check_interrupt()
            done = steadier.push(frame, alpha[i].float(), trimap[i % len(trimap)].float())
            made += [one.alpha for one in done]
            progress(i + 1, len(image))
            blended += sum(one.blended for one in done)
        rest = steadier.finish()
        result = torch.stack(made + [one.alpha for one in rest])
        blended += sum(one.blended for one in rest)
        said = [f"neighbouring mattes had a part in {100 * blended / len(image):.0f} % of the unknown area"]
        return io.NodeOutput(result, ui=shown(result, check_interrupt, said if steady else []))


def motion_of(model: Any) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What `Steady` takes as motion, by the RAFT of an OPTICAL_FLOW wire (ComfyUI's Load Optical Flow Model).

    Raises:
        TypeError: a wire of another pack.
    """
    if not hasattr(model, "load_device") or not hasattr(model, "model"):
        raise TypeError(f"optical_flow is a {type(model).__name__}; expected a model from Load Optical Flow Model")

    def motion(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        net, device = loaded(model)
        height, width = first.shape[:2]
        size = [max(LEAST, -(-side // STEP) * STEP) for side in (height, width)]
        one, other = (functional.interpolate(picture[..., :3].permute(2, 0, 1)[None].to(device, torch.float32), size,
                                             mode="bilinear", antialias=True) * 2 - 1 for picture in (first, second))
        flow = functional.interpolate(net(one, other)[-1], (height, width), mode="bilinear")[0].permute(1, 2, 0)
        return (flow * flow.new_tensor([width / size[1], height / size[0]])).to(first.device)

    return motion
