"""Names of parameters: hustvl's as the hub's, and what a file that is no ViTMatte most likely is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_PREFIXES = 4  # wrappers around a net, such as module._orig_mod.

# What a file that is no ViTMatte most likely is, by a piece of a parameter's name.
STRANGERS = {
    "diffusion_model.": "a Stable Diffusion checkpoint",
    "double_blocks.": "a Flux model",
    "rebnconv": "a U2-Net (rembg)",
    "bb.layers.": "a BiRefNet",
    "lora_": "a LoRA",
    "mask_decoder.": "a Segment Anything model",
}

# hustvl's name of a module -> the hub's, for whole segments only; the first pair that fits a place wins.
RENAMED = (
    (("backbone", "pos_embed"), ("backbone", "embeddings", "position_embeddings")),
    (("backbone", "patch_embed", "proj"), ("backbone", "embeddings", "projection")),
    (("backbone", "blocks"), ("backbone", "encoder", "layer")),
    (("attn",), ("attention",)),
    (("decoder", "fusion_blks"), ("decoder", "fusion_blocks")),
    (("bn",), ("batch_norm",)),
)


def hub_name(name: str) -> str:
    """hustvl's name of a parameter as the hub's."""
    parts = tuple(name.split("."))
    for old, new in RENAMED:
        for i in range(len(parts) - len(old) + 1):
            if parts[i:i + len(old)] == old and (i == 0 or len(old) == 1):
                parts = parts[:i] + new + parts[i + len(old):]
                break
    return ".".join(parts)


def shown(name: str) -> str:
    """A name for a message: damaged files may have long ones, and ones that terminals obey."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= 120 else f"{name[:60]}...{name[-40:]}"


def without_prefix(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content without a prefix that all its names have, such as "module."."""
    for prefix in ("module.", "_orig_mod.", "model.", "net.") * MAX_PREFIXES:
        if content and all(name.startswith(prefix) for name in content):
            content = {name[len(prefix):]: value for name, value in content.items()}
    return content


def described_content(content: Mapping[str, Any]) -> str:
    """What a file that is no ViTMatte holds, for a message."""
    if not content:
        return "it holds no tensors"
    names = [shown(name) for name in content]
    for piece, what in STRANGERS.items():
        if any(piece in name for name in names):
            return f"it looks like {what}"
    return f"it holds {len(names)} entries, the first {', '.join(names[:3])}"
