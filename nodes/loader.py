"""ViTMatteModelLoader."""

from __future__ import annotations

from comfy_api.latest import io

from ..vitmatte.checks import check_choice
from ..vitmatte.inference.context import PRECISIONS
from . import folders
from .host import HostedModel
from .schema import advanced, schema
from .types import ViTMatteModel

NORMALIZATIONS = {"as trained": "as_trained", "as on the hub": "hub"}


class ViTMatteModelLoader(io.ComfyNode):
    """Loads a ViTMatte."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="ViTMatteModelLoader",
            display_name="Load ViTMatte Model",
            search_aliases=["matting model", "image matting", "vitmatte loader", "alpha matte model"],
            description="Loads a ViTMatte image matting model. The bundled one works offline; a released one is "
                        "downloaded once, to models/<name>, when it is chosen and first run.",
            inputs=[
                io.Combo.Input("model_name", options=folders.choices(), default=folders.BUNDLED,
                               tooltip="The bundled small model, a model released by ViTMatte's authors (trained on "
                                       "data with non-commercial or research terms), or a file in models/vitmatte."),
                io.Combo.Input("precision", options=["auto", *PRECISIONS], default="auto",
                               tooltip="auto: fp16 where ComfyUI uses it, else fp32."),
                advanced(io.Combo.Input(
                    "normalization", options=list(NORMALIZATIONS), default="as trained",
                    tooltip="as trained: the input the net was trained with. as on the hub: what "
                            "preprocessor_config.json says and transformers-based nodes feed it.")),
            ],
            outputs=[ViTMatteModel.Output("model", display_name="model", tooltip="For ViTMatte Matting.")],
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str, precision: str, normalization: str) -> str:
        return folders.fingerprint(model_name)

    @classmethod
    def execute(cls, model_name: str, precision: str, normalization: str) -> io.NodeOutput:
        check_choice("precision", precision, ("auto", *PRECISIONS))
        check_choice("normalization", normalization, NORMALIZATIONS)
        return io.NodeOutput(HostedModel(folders.resolve(model_name), precision=precision,
                                         normalization=NORMALIZATIONS[normalization],
                                         folder=folders.download_folder()))
