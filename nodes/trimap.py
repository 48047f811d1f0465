"""ViTMatteTrimap."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui

from ..vitmatte import make_trimap
from .preview import first_frames


class ViTMatteTrimap(io.ComfyNode):
    """A trimap from a rough mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ViTMatteTrimap",
            display_name="Trimap from Mask (ViTMatte)",
            category="image/mask",
            description="Makes a trimap: white is surely the subject, black surely not, and grey, along the mask's "
                        "edge, is for ViTMatte to decide. Cover all hair with grey.",
            inputs=[
                io.Mask.Input("mask", tooltip="Rough mask, 1 (white) = subject. Soft pixels count as unknown."),
                io.Float.Input("inner", default=10.0, min=0.0, max=4096.0, step=0.5, round=0.01,
                               tooltip="Pixels by which the unknown area reaches into the subject."),
                io.Float.Input("outer", default=20.0, min=0.0, max=4096.0, step=0.5, round=0.01,
                               tooltip="Pixels by which the unknown area reaches into the background."),
            ],
            outputs=[io.Mask.Output("trimap", display_name="trimap", tooltip="0, 0.5 (unknown) and 1.")],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor, inner: float, outer: float) -> io.NodeOutput:
        trimap = make_trimap(mask, inner=inner, outer=outer)
        return io.NodeOutput(trimap, ui=ui.PreviewMask(first_frames(trimap), cls=cls))
