"""Checkpoint files to nets: read -> canonical names -> configuration -> strict load, each a function on plain dicts.

Layouts: the hub's (safetensors or pytorch_model.bin), hustvl's (.pth, flat or under "model" as detectron2 writes
it), and bare files, whose configuration is inferred from their shapes. Pickles are read with `weights_only`.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .config import CONFIG_NAME, VitDetConfig, VitMatteConfig
from .files import whole_file
from .model import VitMatteForImageMatting

WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HEAD_EPS = 1e-5  # torch's default, which the head's BatchNorm keeps whatever batch_norm_eps says

State = dict[str, Tensor]

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


def find_weights(path: str | os.PathLike[str]) -> Path:
    """The weights file of a folder, or the file itself.

    Raises:
        FileNotFoundError: nothing there, or no weights in the folder. ValueError: several that could be meant.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}")
    if path.is_file():
        return path
    for name in WEIGHTS_NAMES:
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no weights in {path}; expected {WEIGHTS_NAMES[0]}, or one file that ends in "
                                f"{', '.join(SUFFIXES)}")
    if len(found) > 1:
        raise ValueError(f"{path} has several weights files ({', '.join(p.name for p in found[:5])}); name one of them")
    return found[0]


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a weights file; tensors stay on disk (memory-mapped) until they are used.

    Raises:
        ValueError: when the file is empty, cut short, or not what its name says; the message says which.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if size == 0:
        raise ValueError(f"{path} is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)")
    if head.lstrip()[:1] == b"<":
        raise ValueError(f"{path} is a web page, not weights; the download was answered with an error page")
    declared = int.from_bytes(head[:8], "little")
    if path.suffix.lower() == ".safetensors" or (head[8:9] == b"{" and declared < size):
        return _read_safetensors(path)
    return _read_pickle(path, zipped=head.startswith(b"PK"))


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} ({path.stat().st_size:,} bytes) is not a whole safetensors file ({error}); it is "
                         "cut short, damaged or another kind of file: download it again") from error


def _read_pickle(path: Path, *, zipped: bool) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise ValueError(f"{path} holds Python objects besides tensors, which could run code; refused. "
                             "Save its state dict alone, best as .safetensors") from error
        raise ValueError(f"{path} is not a PyTorch weights file, or is damaged ({error})") from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OverflowError, MemoryError,
            IndexError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} ({path.stat().st_size:,} bytes) is not a PyTorch weights file, or is cut short "
                         f"({first}); download it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a dict of tensors (a state dict)")
    return content


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
    content = _without_prefix(content)
    if "backbone.embeddings.projection.weight" in content:
        layout = "hub"
    elif "backbone.patch_embed.proj.weight" in content:
        layout = "hustvl"
        content = {hub_name(name): value for name, value in content.items()}
    else:
        raise ValueError(f"{where} is not a ViTMatte: {_describe(content)}. Expected names such as "
                         "backbone.embeddings.projection.weight (hub) or backbone.patch_embed.proj.weight (hustvl)")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{where}: {name} is a {type(value).__name__}; expected a tensor")
        if value.dtype not in DTYPES and not name.endswith("num_batches_tracked"):
            raise ValueError(f"{where}: {name} is {value.dtype}; expected float32, float16 or bfloat16. "
                             "Quantised files are not supported")
    return dict(content), layout


def _without_prefix(content: Mapping[str, Any]) -> dict[str, Any]:
    names = list(content)
    for prefix in ("module.", "_orig_mod.", "model.", "net."):
        if names and all(isinstance(name, str) and name.startswith(prefix) for name in names):
            return _without_prefix({name[len(prefix):]: value for name, value in content.items()})
    return dict(content)


def _describe(content: Mapping[str, Any]) -> str:
    if not content:
        return "it holds no tensors"
    names = [str(name) for name in content]
    for piece, what in STRANGERS.items():
        if any(piece in name for name in names):
            return f"it looks like {what}"
    return f"it holds {len(names)} entries, the first {', '.join(names[:3])}"


def hub_name(name: str) -> str:
    """hustvl's name of a parameter as the hub's."""
    parts = tuple(name.split("."))
    for old, new in RENAMED:
        for i in range(len(parts) - len(old) + 1):
            if parts[i:i + len(old)] == old and (i == 0 or len(old) == 1):
                parts = parts[:i] + new + parts[i + len(old):]
                break
    return ".".join(parts)


def infer_config(state: Mapping[str, Tensor], where: str = "checkpoint") -> VitMatteConfig:
    """The configuration of a net from the shapes of its tensors (hub names).

    Epsilons and the activation leave no trace in shapes; the published nets' are assumed. Two lengths of relative
    position tables tell window blocks (the shorter) from global ones.

    Raises:
        ValueError: when the shapes leave something open; then a config.json is needed beside the file.
    """
    try:
        return _infer_config(state)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{where}: its configuration cannot be told from its tensors ({error.args[0]}); put the "
                         "config.json of the net beside it") from error


def _infer_config(state: Mapping[str, Tensor]) -> VitMatteConfig:
    hidden, channels, patch, _ = state["backbone.embeddings.projection.weight"].shape
    layer = "backbone.encoder.layer."
    blocks = 1 + max(int(name[len(layer):].split(".")[0]) for name in state if name.startswith(layer))
    lengths = [state[f"{layer}{i}.attention.rel_pos_h"].shape[0] for i in range(blocks)]
    widest = max(state[f"{layer}{i}.attention.rel_pos_w"].shape[0] for i in range(blocks))
    height, width = ((length + 1) // 2 * patch for length in (max(lengths), widest))
    residual = [i for i in range(blocks) if f"{layer}{i}.residual.conv1.weight" in state]
    if len(set(lengths)) == 1:
        raise KeyError("which blocks attend in windows")
    windowed = [i for i in range(blocks) if lengths[i] == min(lengths)]
    positions = state.get("backbone.embeddings.position_embeddings")
    pretrained = round((positions.shape[1] - 1) ** 0.5) * patch if positions is not None else 224
    streams = [state[name].shape[0] for name in _numbered(state, "decoder.convstream.convs.{}.conv.weight")]
    fusions = [state[name].shape[0] for name in _numbered(state, "decoder.fusion_blocks.{}.conv.conv.weight")]
    return VitMatteConfig(
        backbone_config=VitDetConfig(
            hidden_size=hidden,
            num_hidden_layers=blocks,
            num_attention_heads=hidden // state[f"{layer}0.attention.rel_pos_h"].shape[1],
            mlp_ratio=state[f"{layer}0.mlp.fc1.weight"].shape[0] / hidden,
            image_size=height if height == width else [height, width],
            pretrain_image_size=pretrained,
            patch_size=patch,
            num_channels=channels,
            qkv_bias=f"{layer}0.attention.qkv.bias" in state,
            window_block_indices=windowed,
            residual_block_indices=residual,
            use_absolute_position_embeddings=positions is not None,
            use_relative_position_embeddings=True,
            window_size=(min(lengths) + 1) // 2,
        ),
        hidden_size=hidden,
        convstream_hidden_sizes=streams,
        fusion_hidden_sizes=fusions,
    )


def _numbered(state: Mapping[str, Tensor], pattern: str) -> list[str]:
    names = (pattern.format(i) for i in range(len(state)))
    found = []
    for name in names:
        if name not in state:
            break
        found.append(name)
    return found


def fold_batch_norm(state: Mapping[str, Tensor], config: VitMatteConfig) -> State:
    """The weights of the same net without BatchNorms: w' = w * s, b' = (b - mean) * s + beta, s = gamma /
    sqrt(var + eps). Computed in double precision; everything else is passed through."""
    folded = dict(state)
    for mean in [name for name in state if name.endswith(".running_mean")]:
        norm = mean.removesuffix(".running_mean")
        head = norm.endswith("matting_convs.1")
        conv, eps = (norm[:-1] + "0", HEAD_EPS) if head else (norm[:-len("batch_norm")] + "conv", config.batch_norm_eps)
        weight, bias = state[f"{conv}.weight"], state.get(f"{conv}.bias")
        moved = -state[mean].double() if bias is None else bias.double() - state[mean].double()
        scale = state[f"{norm}.weight"].double() / (state[f"{norm}.running_var"].double() + eps).sqrt()
        dtype = state[f"{norm}.weight"].dtype
        folded[f"{conv}.weight"] = (weight.double() * scale.view(-1, 1, 1, 1)).to(dtype)
        folded[f"{conv}.bias"] = (moved * scale + state[f"{norm}.bias"].double()).to(dtype)
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            folded.pop(f"{norm}.{part}", None)
    return folded


def load_state(net: nn.Module, state: State, *, where: str, layout: str = "hub") -> None:
    """Gives the net these tensors themselves, without a copy; all of them and no others.

    Raises:
        ValueError: naming the file, the layout, and up to five names that are missing, not known or of another shape.
    """
    expected = net.state_dict()
    faults = {
        "missing": [name for name in expected if name not in state],
        "not known": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {list(state[name].shape)} instead of {list(expected[name].shape)}"
            for name in expected if name in state and state[name].shape != expected[name].shape
        ],
        "not finite": [name for name, value in state.items() if not value.sum(dtype=torch.float32).isfinite()],
    }
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
                         for what, names in faults.items() if names)
        raise ValueError(f"{where} ({layout} layout) does not fit its configuration: {told}. It is cut short, damaged, "
                         "or beside the config.json of another net")
    net.load_state_dict(state, strict=True, assign=True)


def load_net(
    path: str | os.PathLike[str],
    *,
    operations: Any = nn,
    folded: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> VitMatteForImageMatting:
    """Loads a net, in evaluation mode.

    Args:
        path: a folder with weights, or a weights file. A config.json counts beside model.safetensors and
            pytorch_model.bin; otherwise the configuration is inferred.
        operations: see `VitMatteForImageMatting`.
        folded: fold BatchNorms into convolutions, for inference.
        dtype: of the parameters.
        device: where to.

    Raises:
        FileNotFoundError, ValueError: see the functions of this module.
    """
    weights = find_weights(path)
    state, layout = canonical_state(read_tensors(weights), str(weights))
    described = weights.with_name(CONFIG_NAME)
    # In a folder of many nets config.json belongs to the one with the standard name; the others' shapes tell.
    if weights.name in WEIGHTS_NAMES and described.is_file():
        config = VitMatteConfig.from_pretrained(described)
    else:
        config = infer_config(state, str(weights))
    if folded:
        state = fold_batch_norm(state, config)
    if dtype == torch.float16:
        _check_halves(state, str(weights))
    state = {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in state.items()}
    net = VitMatteForImageMatting(config, operations=operations, folded=folded, device="meta")
    load_state(net, state, where=str(weights), layout=layout)
    return net.eval()


def _check_halves(state: State, where: str) -> None:
    """Raises ValueError where a weight that is finite would not be in float16."""
    most = torch.finfo(torch.float16).max
    largest = {name: float(value.abs().max()) for name, value in state.items() if value.is_floating_point()}
    beyond = [f"{name} {size:g}" for name, size in largest.items() if most < size < float("inf")]
    if beyond:
        raise ValueError(f"{where}: {len(beyond)} tensors have values beyond float16, which ends at {most:g} "
                         f"({', '.join(beyond[:5])}); load it in float32 or bfloat16")


def save_net(net: VitMatteForImageMatting, folder: str | os.PathLike[str]) -> None:
    """Writes config.json and model.safetensors to a folder; see `VitMatteForImageMatting.save_pretrained`."""
    from safetensors.torch import save_file

    if net.folded:
        raise ValueError("this net's BatchNorms are folded into its convolutions; save the one that from_pretrained "
                         "gives instead")
    folder = Path(folder)
    with whole_file(folder / CONFIG_NAME) as path:
        path.write_text(net.config.to_json(), encoding="utf-8")
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    with whole_file(folder / WEIGHTS_NAMES[0]) as path:
        save_file(tensors, path, metadata={"format": "pt"})
