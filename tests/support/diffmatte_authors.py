"""DiffMatte as its authors' code computes it, from a copy of that (github.com/YihanHu-2022/DiffMatte), never ours."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import torch
from authors_code import MEAN, STD, imported
from torch import nn
from torch.nn import functional as F

COMMIT = "12082fd"  # of the code that parity was measured with
EINOPS = {"repeat": lambda x, _, b: x[None].expand(b, -1),
          "reduce": lambda x, _, of: of(x, dim=(1, 2, 3), keepdim=True),
          "rearrange": lambda x, _: x[:, None, None, None]}


def build(code: Path, *, backbone: dict[str, Any], decoder: dict[str, Any], steps: int, scale: float) -> nn.Module:
    """Their DifMatte, sampled by DDIM, in evaluation mode.

    Args:
        code: the folder of their repository.
        backbone: arguments of their ViT. decoder: of their DUNet.
        steps, scale: of their diffusion.
    """
    vit, dunet, difmodel, difmatte, gauss = imported(code, (
        "backbone.vit", "decoder.DUNet", "meta_arch.difmodel", "meta_arch.difmatte", "diffusion.uniform_gauss"), EINOPS)
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
