"""ViTMatte in plain PyTorch: alpha mattes from a picture and a trimap.

    from vitmatte import load_model, make_trimap, matte

    model = load_model("vitmatte-tiny")
    alpha = matte(model, image, make_trimap(mask, inner=10, outer=10))

Pictures are [B, H, W, 3], masks, trimaps and mattes [B, H, W], all floating point in 0..1, 1 = foreground.
"""

from .backbone import VitDetBackbone, VitDetModel
from .checkpoint import load_net
from .config import VitMatteConfig
from .cutout import cut_out, replace_background
from .export import export_onnx, export_program
from .foreground import estimate_foreground
from .hub import DownloadError, download
from .inference import MattingModel, load_model, matte
from .model import VitMatteForImageMatting
from .models import RELEASED
from .outputs import BackboneOutput, ImageMattingOutput
from .processing import VitMatteImageProcessor, VitMatteImageProcessorFast, VitMatteImageProcessorPil
from .trimap import make_trimap
from .vitdet_config import VitDetConfig

__version__ = "0.1.0"

__all__ = [
    "RELEASED",
    "BackboneOutput",
    "DownloadError",
    "ImageMattingOutput",
    "MattingModel",
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
    "replace_background",
]
