"""ViTMatteMatting."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..vitmatte.inference.scope import STRATEGIES, Strategy
from ..vitmatte.trimap.known import doubts, lacking
from .host import HostedModel, check_interrupt
from .preview import shown
from .schema import advanced, schema
from .types import ViTMatteModel

OWN = -1.0  # of refine: as the model was made for


class ViTMatteMatting(io.ComfyNode):
    """Picture and trimap to the alpha matte."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteMatting",
            display_name="ViTMatte Matting",
            search_aliases=["alpha matte", "image matting", "hair mask", "refine mask", "remove background", "cut out",
                            "rembg"],
            description="Computes the alpha matte of a picture at its full size, with every hair, from a trimap. "
                        "Where the trimap is black or white the matte is the same. Cut Out Foreground and Remove "
                        "or Replace Background take it from there.",
            inputs=[
                ViTMatteModel.Input("model", tooltip="From Load ViTMatte Model."),
                io.Image.Input("image", tooltip="One picture or a batch; an alpha channel is ignored."),
                io.Mask.Input("trimap", tooltip="0 = background, 1 = subject, anything between = unknown. As many as "
                                                "pictures, or one for all, of the same size."),
                advanced(io.Combo.Input(
                    "strategy", options=list(STRATEGIES), default="auto", optional=True,
                    tooltip="exact: the net as it is, at any size. grid: its widest blocks compare every second row "
                            "and column only, which is faster above 2K and less accurate. local: they compare what is "
                            "around, as far as the net was trained to see, and only what surrounds unknown areas is "
                            "computed; fastest for large pictures with thin edges. auto: local for nets that were "
                            "trained so, else exact.")),
                advanced(io.Int.Input(
                    "memory_limit", display_name="memory_limit (MB)", default=0, min=0, max=1024 * 1024, step=64,
                    optional=True,
                    tooltip="MB that the matte may take besides the model; less is slower, never smaller. 0 = what is "
                            "fastest.")),
                io.Float.Input(
                    "refine", default=OWN, min=OWN, max=100.0, step=0.1, round=0.001, optional=True,
                    tooltip="Afterwards brings the matte into line with the picture's colours where the trimap is "
                            "unknown: 0 = not at all, 1 = usual, more = follows the colours more and the model less, "
                            "-1 = as the model was made for: 1 for the bundled one, 0 for released ones. Fine strands "
                            "become sharper; it takes about as long again."),
            ],
            outputs=[io.Mask.Output("alpha", display_name="alpha", tooltip="The matte, 1 = opaque subject.")],
        )

    @classmethod
    def execute(cls, model: HostedModel, image: torch.Tensor, trimap: torch.Tensor, strategy: Strategy = "auto",
                memory_limit: int = 0, refine: float = OWN) -> io.NodeOutput:
        check_model(model)
        alpha = model.matte(image, trimap, strategy=strategy, memory_limit=memory_limit,
                             refine=None if refine == OWN else refine)
        return io.NodeOutput(alpha, ui=shown(alpha, check_interrupt, [*lacking(trimap), *doubts(trimap)]))


def check_model(model: object) -> None:
    """Raises TypeError unless a model is one of ours."""
    if not isinstance(model, HostedModel):
        raise TypeError(f"model is a {type(model).__name__} of another node pack, whose wires have the same name; "
                        "expected a model from Load ViTMatte Model")
