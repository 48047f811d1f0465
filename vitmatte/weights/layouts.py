"""Layouts of checkpoints, told by their names, and each brought to the hub's names.

The hub's own (safetensors or pytorch_model.bin); hustvl's (.pth, flat or under "model" as detectron2 writes it), which
MEMatte's and DiffMatte's authors use too; and nets with another library's backbone, whose names in the decoder are the
hub's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .diffmatte import check_backbone, is_diffmatte
from .mematte import is_mematte, is_starting_point, with_routers_in_blocks, without_teacher
from .names import described_content, hub_name, shown, without_prefix

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

# What a net with a backbone of another library has of ours.
OTHER_BACKBONE = {"decoder.convstream.convs.0.conv.weight", "decoder.matting_head.matting_convs.3.weight"}

State = dict[str, Tensor]


def canonical_state(content: Mapping[str, Any], where: str = "checkpoint") -> tuple[State, str]:
    """Tensors by the hub's names, from any known layout.

    Args:
        content: what a file holds: a state dict, perhaps under "model" or "state_dict", perhaps with a common
            prefix such as "module.".
        where: names the file in messages.

    Returns:
        (tensors by name, name of the layout found).

    Raises:
        ValueError: when it is no ViTMatte's, or holds something other than floating-point tensors.
    """
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
    for name in content:
        if not isinstance(name, str):
            raise ValueError(f"{where} has {name!r:.60} among its names; expected a state dict, whose names are text")
    content = without_prefix(content)
    if is_diffmatte(content):
        check_backbone(content, where)
    if "backbone.embeddings.projection.weight" in content:
        layout = "hub"
    elif is_starting_point(content):
        raise ValueError(f"{where} holds a net and its teacher, but no routers: it is what training of a MEMatte "
                         "starts from, not one that was trained. Load the ViTMatte that it was made of, or a trained "
                         "MEMatte")
    elif is_mematte(content):
        layout = "MEMatte"
        content = {hub_name(name): value for name, value in with_routers_in_blocks(without_teacher(content)).items()}
    elif "backbone.patch_embed.proj.weight" in content:
        layout = "hustvl"
        content = {hub_name(name): value for name, value in content.items()}
    elif set(content) >= OTHER_BACKBONE:
        layout = "other backbone"
    else:
        raise ValueError(f"{where} is not a ViTMatte: {described_content(content)}. Expected names such as "
                         "backbone.embeddings.projection.weight (hub) or backbone.patch_embed.proj.weight (hustvl)")
    for name, value in content.items():
        # Another library's backbone has whole numbers too: tables of places, counts.
        whole = name.endswith("num_batches_tracked") or (layout == "other backbone" and name.startswith("backbone."))
        _check_tensor(value, f"{where}: {shown(name)}", count=whole)
    return dict(content), layout


def _check_tensor(value: Any, what: str, *, count: bool) -> None:
    """Raises ValueError for what cannot be a weight, or (count) a BatchNorm's count of batches."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} is a {type(value).__name__}; expected a tensor")
    if value.dtype not in ((*DTYPES, torch.int64, torch.int32) if count else DTYPES):
        raise ValueError(f"{what} is {value.dtype}; expected float32, float16 or bfloat16. "
                         "Quantised files are not supported")
    if value.layout != torch.strided or value.is_meta:
        raise ValueError(f"{what} is a {'meta' if value.is_meta else 'sparse'} tensor; expected a plain one")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"{what} declares {list(value.shape)}, more than the file holds; it is damaged")
