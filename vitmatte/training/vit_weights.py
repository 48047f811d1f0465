"""A plain vision transformer's weights as the backbone's beginning, as the paper does with MAE and DINO.

Read are the names of timm, MAE and DINO (`patch_embed.proj`, `blocks.0.attn.qkv`, ...), which are ViTDet's too. The
patch embedding gets a zero fourth channel for the trimap. What a plain transformer does not have (relative positions,
residual blocks) keeps its fresh values; what ViTMatte does not have (class token, last norm, head) is left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ..model.vitmatte import ViTMatte
from ..weights.names import hub_name
from ..weights.tensors import read_tensors

log = logging.getLogger(__name__)

OURS = re.compile(r"pos_embed$|patch_embed\.proj\.|blocks\.\d+\.(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.")
KEEP_FRESH = ("rel_pos_", ".residual.")


def load_plain_backbone(net: ViTMatte, path: str) -> None:
    """Gives the net's backbone the weights of a plain ViT in a file; blocks beyond the net's number are left out.

    Raises:
        FileNotFoundError, ValueError: not there, not a plain ViT, or of another width, patch or position grid.
    """
    state = adapted(read_tensors(path), net, path)
    expected = net.backbone.state_dict()
    lacking = [n for n in expected if n not in state and not any(part in n for part in KEEP_FRESH)]
    if lacking:
        raise ValueError(f"{path} lacks {len(lacking)} tensors of this backbone: {', '.join(lacking[:5])}; it has "
                         "fewer blocks, or is another kind of net")
    net.backbone.load_state_dict(state, strict=False)
    log.info("backbone from %s: %d tensors", path, len(state))


def adapted(content: Mapping[str, object], net: ViTMatte, where: str) -> dict[str, Tensor]:
    """The tensors of a plain ViT by this backbone's names, the patch embedding widened by zeros."""
    for key in ("model", "state_dict", "teacher"):
        inner = content.get(key)
        if isinstance(inner, Mapping):
            content = inner
    expected, found = net.backbone.state_dict(), {}
    for name, value in content.items():
        plain = name.removeprefix("module.").removeprefix("backbone.")
        if not isinstance(value, Tensor) or not OURS.match(plain):
            continue
        ours = hub_name(f"backbone.{plain}").removeprefix("backbone.")
        if ours not in expected:
            continue
        shape = expected[ours].shape
        if ours.endswith("projection.weight") and value.shape[1] < shape[1]:
            zeros = value.new_zeros(value.shape[0], shape[1] - value.shape[1], *value.shape[2:])
            value = torch.cat([value, zeros], dim=1)
        if value.shape != shape:
            raise ValueError(f"{where}: {name} is {list(value.shape)}, this backbone needs {list(shape)}; give the "
                             "recipe's model the width, patch and pretrain_image_size of that file")
        found[ours] = value.float()
    if not found:
        raise ValueError(f"{where} holds no plain ViT; expected names such as patch_embed.proj.weight and "
                         "blocks.0.attn.qkv.weight")
    return found
