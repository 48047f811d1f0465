"""DiffMatte as its authors' code computes it, from a copy of that (github.com/YihanHu-2022/DiffMatte), never ours.

Of the packages their modules import, only what inference uses is stood in for here: detectron2's Conv2d and LayerNorm,
einops, and names of timm, fvcore, fairscale, torchvision and OpenCV that are not called.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

COMMIT = "12082fd"  # of the code that parity was measured with
MEAN, STD = (123.675 / 255, 116.280 / 255, 103.530 / 255), (58.395 / 255, 57.120 / 255, 57.375 / 255)
PACKAGES = ("modeling", "modeling.backbone", "modeling.decoder", "modeling.diffusion", "modeling.meta_arch")


class ChannelNorm(nn.Module):
    """detectron2.layers.LayerNorm: over the channels of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * ((x - mean) / torch.sqrt(variance + 1e-6)) + self.bias[:, None, None]


class Mlp(nn.Module):
    """timm.models.layers.Mlp."""

    def __init__(self, in_features: int, hidden_features: int, act_layer: Any) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class BlockBase(nn.Module):
    """detectron2.layers.CNNBlockBase."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()


def _nothing(*_: Any, **__: Any) -> None:
    return None


STANDINS: dict[str, dict[str, Any]] = {
    "detectron2": {}, "detectron2.modeling": {}, "detectron2.modeling.backbone": {}, "fvcore": {}, "fvcore.nn": {},
    "fairscale": {}, "fairscale.nn": {}, "timm": {}, "timm.models": {}, "torchvision": {}, "cv2": {},
    "detectron2.layers": {"CNNBlockBase": BlockBase, "Conv2d": nn.Conv2d, "ShapeSpec": object,
                          "get_norm": lambda name, channels: ChannelNorm(channels)},
    "detectron2.modeling.backbone.fpn": {"_assert_strides_are_log2_contiguous": _nothing},
    "detectron2.structures": {"ImageList": object},
    "fvcore.nn.weight_init": {"c2_msra_fill": _nothing},
    "fairscale.nn.checkpoint": {"checkpoint_wrapper": _nothing},
    "timm.models.layers": {"DropPath": nn.Identity, "Mlp": Mlp, "trunc_normal_": nn.init.trunc_normal_},
    "einops": {"repeat": lambda x, _, b: x[None].expand(b, -1),
               "reduce": lambda x, _, of: of(x, dim=(1, 2, 3), keepdim=True),
               "rearrange": lambda x, _: x[:, None, None, None]},
}


@contextlib.contextmanager
def _importable(code: Path) -> Iterator[None]:
    """Their modules one by one: the packages' own __init__ import what nobody here needs."""
    names = (*STANDINS, *PACKAGES)
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name in names}
    for name, inside in STANDINS.items():
        module = types.ModuleType(name)
        vars(module).update(inside)
        sys.modules[name] = module
    sys.modules["fvcore.nn"].weight_init = sys.modules["fvcore.nn.weight_init"]
    for name in PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(code.joinpath(*name.split(".")))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name in names or name.startswith("modeling.")]:
            del sys.modules[name]
        sys.modules.update(kept)


def build(code: Path, *, backbone: dict[str, Any], decoder: dict[str, Any], steps: int, scale: float) -> nn.Module:
    """Their DifMatte, sampled by DDIM, in evaluation mode.

    Args:
        code: the folder of their repository.
        backbone: arguments of their ViT. decoder: of their DUNet.
        steps, scale: of their diffusion.
    """
    with _importable(code):
        vit, dunet, difmodel, difmatte, gauss = (importlib.import_module(f"modeling.{name}") for name in (
            "backbone.vit", "decoder.DUNet", "meta_arch.difmodel", "meta_arch.difmatte", "diffusion.uniform_gauss"))
    gauss.tqdm = lambda pairs, **_: pairs
    common = {"norm_layer": partial(nn.LayerNorm, eps=1e-6), "use_rel_pos": True, "out_feature": "last_feat",
              "drop_path_rate": 0, "in_chans": 4, "patch_size": 16, "mlp_ratio": 4, "qkv_bias": True}
    model = difmodel.DifModel(backbone=vit.ViT(**common, **backbone), pixel_mean=MEAN, pixel_std=STD,
                              decoder=dunet.DUNet(**decoder), backbone_in_channel=4, decoder_in_channel=7)
    diffusion = gauss.UniformGauss(gauss.ModelMeanType.START_X, None, timesteps=steps, noise_schedule="linear",
                                   scale=scale)
    return difmatte.DifMatte(model=model, diffusion=diffusion, input_format="RGB", size_divisibility=32,
                             args={"use_ddim": True, "clip_denoised": True}).eval()


@torch.no_grad()
def alpha(net: Any, image: torch.Tensor, trimap: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Their alpha [H, W] of image [H, W, 3] and trimap [H, W] (0, 0.5, 1) from noise [H, W]; known pixels as they come
    out of the last step."""
    given = {"image": image.permute(2, 0, 1)[None], "trimap": trimap[None, None]}
    with contextlib.redirect_stderr(io.StringIO()):
        found = net.diffusion.ddim_sample(net.model, given["trimap"].shape, given, noise=noise[None, None])
    return F.hardtanh(found[0, 0], 0.0, 1.0)
