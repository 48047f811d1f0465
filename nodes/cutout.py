"""ViTMatteForeground and ViTMatteReplaceBackground."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..vitmatte import cut_out, replace_background
from ..vitmatte.checks import check_choice
from ..vitmatte.compositing.blend import FITS, SCREENS
from ..vitmatte.compositing.blend import colour as as_colour
from .host import Progress, check_interrupt
from .preview import shown
from .schema import advanced, picked, schema

COLOURS = {"estimated": True, "as in the picture": False}


def _despill() -> io.Combo.Input:
    return io.Combo.Input("despill", options=list(SCREENS), default="none", optional=True,
                          tooltip="Take the light of a green or blue screen from the subject, also where it is opaque.")


def colour_taken(colour: str | None) -> bool | str:
    """True, or what is wrong with a colour, as `validate_inputs` has it; None is a colour that another node gives."""
    try:
        return colour is None or as_colour(colour) is not None
    except ValueError as error:
        return str(error)


class ViTMatteForeground(io.ComfyNode):
    """Picture and matte to the subject's own colours."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteForeground",
            display_name="Cut Out Foreground (ViTMatte)",
            search_aliases=["cutout", "cut-out", "remove background", "transparent background", "foreground colour",
                            "foreground estimation", "despill", "matting"],
            description="Estimates the subject's own colours where the picture shows them mixed with the background, "
                        "as in hair, so that no fringe of the old background stays around the cut-out.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch; an alpha channel is ignored."),
                io.Mask.Input("alpha", tooltip="The matte, 1 = opaque subject. As many as pictures, or one of either "
                                               "for all of the other, of the same size."),
                _despill(),
            ],
            outputs=[
                io.Image.Output("foreground", display_name="foreground",
                                tooltip="The subject's colours, continued beyond it: to be used with the matte."),
                io.Image.Output("cutout", display_name="cut-out",
                                tooltip="The same with the matte as (straight) transparency, for Save Image."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, alpha: torch.Tensor, despill: str = "none") -> io.NodeOutput:
        cutout = cut_out(image, alpha, despill=despill, on_progress=Progress(), check_interrupt=check_interrupt)
        return io.NodeOutput(cutout[..., :3], cutout, ui=shown(cutout, check_interrupt))


class ViTMatteReplaceBackground(io.ComfyNode):
    """The subject before another background."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteReplaceBackground",
            display_name="Remove or Replace Background (ViTMatte)",
            search_aliases=["change background", "new background", "composite", "green screen", "despill", "matting"],
            description="Puts the subject before another picture or a plain colour, at its own full size, without a "
                        "fringe of the old background. For transparency take Cut Out Foreground.",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch; an alpha channel is ignored."),
                io.Mask.Input("alpha", tooltip="The matte, 1 = opaque subject, of the same size."),
                io.Image.Input("background", optional=True,
                               tooltip="Of any size: one for all, or as many as pictures. Without it the colour is "
                                       "used."),
                io.Combo.Input("fit", options=list(FITS), default="cover",
                               tooltip="How a background of another size is used: cover scales it over all and keeps "
                                       "its middle, contain shows all of it with the colour around, stretch changes "
                                       "its proportions, tile repeats it."),
                picked(io.String.Input("colour", default="#ffffff",
                                       tooltip="Without a background, and around it: #RRGGBB, #RGB or a name such as "
                                               "red.")),
                io.Combo.Input("foreground_colours", options=list(COLOURS), default="estimated",
                               tooltip="estimated removes the old background's colour from hair and edges. As in the "
                                       "picture: for an image that is the foreground of Cut Out Foreground."),
                advanced(io.Boolean.Input(
                    "linear_light", default=False,
                    tooltip="Mix light as a camera does and not sRGB values: thin hair is then brighter on dark and "
                            "fainter on bright backgrounds.")),
                _despill(),
            ],
            outputs=[io.Image.Output("result", display_name="image", tooltip="The new picture.")],
        )

    @classmethod
    def validate_inputs(cls, colour: str | None = None) -> bool | str:
        """Before anything is computed."""
        return colour_taken(colour)

    @classmethod
    def execute(cls, image: torch.Tensor, alpha: torch.Tensor, fit: str, colour: str, foreground_colours: str,
                linear_light: bool, background: torch.Tensor | None = None, despill: str = "none") -> io.NodeOutput:
        check_choice("foreground_colours", foreground_colours, COLOURS)
        fill = as_colour(colour)
        result = replace_background(image, alpha, fill if background is None else background, fit=fit, fill=fill,
                                    linear=linear_light, estimate=COLOURS[foreground_colours], despill=despill,
                                    on_progress=Progress(), check_interrupt=check_interrupt)
        return io.NodeOutput(result, ui=shown(result, check_interrupt))
