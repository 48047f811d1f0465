"""ViTMatte in plain PyTorch: alpha mattes from a picture and a trimap.

    from vitmatte import load_model, make_trimap, matte

    model = load_model("vitmatte-tiny")
    alpha = matte(model, image, make_trimap(mask, inner=10, outer=10))

Pictures are [B, H, W, 3], masks, trimaps and mattes [B, H, W], all floating point in 0..1, 1 = foreground.
"""

from .compositing.cutout import cut_out, replace_background
from .compositing.foreground import estimate_foreground
from .export.onnx import export_onnx
from .export.program import export_program
from .huggingface.config import VitMatteConfig
from .huggingface.model import VitMatteForImageMatting, load_net
from .huggingface.outputs import BackboneOutput, ImageMattingOutput
from .huggingface.processing import VitMatteImageProcessor, VitMatteImageProcessorFast, VitMatteImageProcessorPil
from .huggingface.vitdet import VitDetBackbone, VitDetModel
from .huggingface.vitdet_config import VitDetConfig
from .inference.matting import matte
from .inference.model import MattingModel, load_model
from .refinement.refine import refine_matte
from .trimap.make import make_trimap
from .version import __version__ as __version__
from .video.carry import Carry, LostError
from .video.steady import Steady
from .weights.download import DownloadError, download
from .weights.released import RELEASED

__all__ = [
    "RELEASED",
    "BackboneOutput",
    "Carry",
    "DownloadError",
    "ImageMattingOutput",
    "LostError",
    "MattingModel",
    "Steady",
    "VitDetBackbone",
    "VitDetConfig",
    "VitDetModel",
    "VitMatteConfig",
    "VitMatteForImageMatting",
    "VitMatteImageProcessor",
    "VitMatteImageProcessorFast",
    "VitMatteImageProcessorPil",
    "cut_out",
    "download",
    "estimate_foreground",
    "export_onnx",
    "export_program",
    "load_model",
    "load_net",
    "make_trimap",
    "matte",
    "refine_matte",
    "replace_background",
]
