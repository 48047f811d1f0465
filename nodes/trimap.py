"""ViTMatteTrimap and ViTMatteTrimapPreview."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..vitmatte import make_trimap
from ..vitmatte.checks import check_choice, check_plane
from ..vitmatte.compositing.overlay import tint
from ..vitmatte.trimap.known import lacking
from .host import Progress, check_interrupt
from .preview import shown
from .schema import advanced, schema

UNITS = {"pixels": "pixels", "% of subject size": "percent"}


def area_inputs(needs: str = "") -> list[Any]:
    """The inputs that say what of a mask is unknown; `make_trimap` has the same, but for the unit (`UNITS`).

    Args:
        needs: ends the text on strands.
    """
    return [
        io.Float.Input("inner", default=10.0, min=0.0, max=4096.0, step=0.5, round=0.01,
                       tooltip="How far the unknown area reaches into the subject, in the unit below."),
        io.Float.Input("outer", default=20.0, min=0.0, max=4096.0, step=0.5, round=0.01,
                       tooltip="How far the unknown area reaches into the background, in the unit below."),
        io.Combo.Input("unit", options=list(UNITS), default="pixels", optional=True,
                       tooltip="Of inner, outer and strands. The subject's size is the side of a square of its "
                               "area, measured in each frame."),
        io.Boolean.Input("invert", default=False, optional=True,
                         tooltip="The mask is 1 where the background is, like that of Load Image for a "
                                 "picture with transparency."),
        advanced(io.Float.Input(
            "low", default=0.0, min=0.0, max=1.0, step=0.01, round=0.0001, optional=True,
            tooltip="Mask values up to this are background.")),
        advanced(io.Float.Input(
            "high", default=1.0, min=0.0, max=1.0, step=0.01, round=0.0001, optional=True,
            tooltip="Mask values from this on are subject; between low and high is unknown. Set both to 0.5 "
                    "for a hard mask with smooth (anti-aliased) edges.")),
        advanced(io.Int.Input(
            "fill_holes", display_name="fill_holes (px²)", default=0, min=0, max=100_000_000, step=50,
            optional=True,
            tooltip="Holes in the mask of up to so many pixels (area) are filled; 0 keeps all.")),
        advanced(io.Int.Input(
            "remove_specks", display_name="remove_specks (px²)", default=0, min=0, max=100_000_000, step=50,
            optional=True,
            tooltip="Separate bits of up to so many pixels (area) are removed; 0 keeps all.")),
        io.Float.Input("strands", default=0.0, min=0.0, max=4096.0, step=0.5, round=0.01, optional=True,
                       tooltip="So much further than outer the unknown area may follow fine strands (hair, "
                               "fur) in the picture." + needs),
    ]


class ViTMatteTrimap(io.ComfyNode):
    """A trimap from a rough mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteTrimap",
            display_name="Trimap from Mask (ViTMatte)",
            search_aliases=["trimap", "mask to trimap", "unknown area", "dilate erode mask", "matting"],
            description="Makes a trimap from a rough mask, a soft one, or a matte to refine: white is surely the "
                        "subject, black surely not, and grey, along the mask's edge, is for ViTMatte to decide. Cover "
                        "all hair with grey.",
            inputs=[
                io.Mask.Input("mask", tooltip="Rough mask, 1 (white) = subject, as SAM and Remove Background give it. "
                                              "Soft pixels count as unknown; see low and high."),
                *area_inputs(" Needs image."),
                io.Image.Input("image", optional=True,
                               tooltip="The picture: strands looks at it, and the mask's size is held against it."),
                io.Mask.Input("unknown", optional=True, tooltip="Look here: what is white in it becomes unknown."),
                io.Mask.Input("foreground", optional=True, tooltip="What is white in it is surely the subject."),
                io.Mask.Input("background", optional=True, tooltip="What is white in it is surely background."),
            ],
            outputs=[io.Mask.Output("trimap", display_name="trimap", tooltip="0, 0.5 (unknown) and 1.")],
        )

    @classmethod
    def execute(cls, mask: torch.Tensor, inner: float, outer: float, unit: str = "pixels",
                **options: object) -> io.NodeOutput:
        check_choice("unit", unit, UNITS)
        check_painted(mask, options.get("foreground"), options.get("unknown"))
        trimap = make_trimap(mask, inner=inner, outer=outer, unit=UNITS[unit], on_progress=Progress(),
                             check_interrupt=check_interrupt, **options)
        return io.NodeOutput(trimap, ui=shown(trimap, check_interrupt, lacking(trimap)))


def check_painted(mask: torch.Tensor, *others: torch.Tensor | None) -> None:
    """Raises ValueError for a mask that is 0 everywhere, unless another one marks something; see `check_plane` too."""
    check_plane(mask, "mask")
    if not any(plane is not None and bool(plane.any()) for plane in (mask, *others)):
        size = f"{mask.shape[-1]}x{mask.shape[-2]}"
        why = " (64x64 of nothing is what Load Image gives for a picture without a mask)" if size == "64x64" else ""
        raise ValueError(f"the mask is empty: it is 0 everywhere{why}. Paint over the subject in the mask editor "
                         "(right-click on Load Image), or connect the mask of Remove Background or SAM")


class ViTMatteTrimapPreview(io.ComfyNode):
    """A picture with its trimap's areas tinted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteTrimapPreview",
            display_name="Preview Trimap (ViTMatte)",
            search_aliases=["trimap overlay", "show trimap", "mask overlay", "matting"],
            description="Shows a trimap over its picture: subject green, unknown yellow, background blue. All hair "
                        "should be under yellow, and as little else as possible.",
            inputs=[
                io.Image.Input("image", tooltip="The picture; an alpha channel is ignored."),
                io.Mask.Input("trimap", tooltip="Its trimap, of the same size."),
            ],
            outputs=[io.Image.Output("preview", display_name="preview", tooltip="The tinted picture.")],
            is_output_node=True,  # shown also when nothing takes its picture
        )

    @classmethod
    def execute(cls, image: torch.Tensor, trimap: torch.Tensor) -> io.NodeOutput:
        preview = tint(image, trimap, on_progress=Progress(), check_interrupt=check_interrupt)
        return io.NodeOutput(preview, ui=shown(preview, check_interrupt, lacking(trimap)))
