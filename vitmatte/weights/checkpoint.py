"""Checkpoint files to nets: read -> canonical names -> configuration -> strict load, each a function on plain dicts.

Layouts: the hub's (safetensors or pytorch_model.bin), hustvl's (.pth, flat or under "model" as detectron2 writes
it), and bare files, whose configuration is inferred from their shapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_cast
from ..huggingface.hub_config import CONFIG_NAME
from ..model.config import VitMatteConfig
from ..model.decoder import DetailCapture
from ..model.vitdet_config import VitDetConfig
from ..model.vitmatte import VitMatteForImageMatting
from .tensors import read_tensors

WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
MOST_PREFIXES = 4  # wrappers around a net, such as module._orig_mod.
HEAD_EPS = 1e-5  # torch's default, which the head's BatchNorm keeps whatever batch_norm_eps says

# What a net with a backbone of another library has of ours.
OTHER_BACKBONE = {"decoder.convstream.convs.0.conv.weight", "decoder.matting_head.matting_convs.3.weight"}

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
    content = _without_prefix(content)
    if "backbone.embeddings.projection.weight" in content:
        layout = "hub"
    elif "backbone.patch_embed.proj.weight" in content:
        layout = "hustvl"
        content = {hub_name(name): value for name, value in content.items()}
    elif set(content) >= OTHER_BACKBONE:
        layout = "other backbone"
    else:
        raise ValueError(f"{where} is not a ViTMatte: {_describe(content)}. Expected names such as "
                         "backbone.embeddings.projection.weight (hub) or backbone.patch_embed.proj.weight (hustvl)")
    for name, value in content.items():
        # Another library's backbone has whole numbers too: tables of places, counts.
        whole = name.endswith("num_batches_tracked") or (layout == "other backbone" and name.startswith("backbone."))
        _check_tensor(value, f"{where}: {_short(name)}", count=whole)
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


def _short(name: str) -> str:
    """A name for a message: damaged files may have long ones, and ones that terminals obey."""
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= 120 else f"{name[:60]}...{name[-40:]}"


def _without_prefix(content: Mapping[str, Any]) -> Mapping[str, Any]:
    for prefix in ("module.", "_orig_mod.", "model.", "net.") * MOST_PREFIXES:
        if content and all(name.startswith(prefix) for name in content):
            content = {name[len(prefix):]: value for name, value in content.items()}
    return content


def _describe(content: Mapping[str, Any]) -> str:
    if not content:
        return "it holds no tensors"
    names = [_short(name) for name in content]
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
    except (KeyError, IndexError, ZeroDivisionError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: its configuration cannot be told from its tensors ({_short(str(error.args[0]))}); "
                         f"name it {' or '.join(WEIGHTS_NAMES)} and put the net's config.json beside it") from error


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


def batch_norms(state: Mapping[str, Tensor], config: VitMatteConfig) -> Iterator[tuple[str, str, float]]:
    """(name of a BatchNorm of the decoder, name of the convolution before it, epsilon); a backbone of another library
    keeps its own."""
    for mean in [name for name in state if name.startswith("decoder.") and name.endswith(".running_mean")]:
        norm = mean.removesuffix(".running_mean")
        head = norm.endswith("matting_convs.1")
        yield (norm, norm[:-1] + "0", HEAD_EPS) if head else (norm, norm[:-len("batch_norm")] + "conv",
                                                              config.batch_norm_eps)


def fold_batch_norm(state: Mapping[str, Tensor], config: VitMatteConfig) -> State:
    """The weights of the same net without BatchNorms: w' = w * s, b' = (b - mean) * s + beta, s = gamma /
    sqrt(var + eps). Computed in double precision; everything else is passed through."""
    folded = dict(state)
    for norm, conv, eps in batch_norms(state, config):
        weight, bias, mean = state[f"{conv}.weight"], state.get(f"{conv}.bias"), state[f"{norm}.running_mean"].double()
        moved = -mean if bias is None else bias.double() - mean
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
        ValueError: naming the file, the layout, and up to five names that are missing, not known, of another shape or
            not finite.
    """
    check_shapes(net, state, where=where, layout=layout)
    _refuse(where, layout, {"not finite": [n for n, v in state.items() if not v.sum(dtype=torch.float32).isfinite()]})
    net.load_state_dict(state, strict=True, assign=True)


def check_shapes(net: nn.Module, state: Mapping[str, Tensor], *, where: str, layout: str = "hub") -> None:
    """Raises ValueError, as `load_state` does, unless the tensors have the names and shapes of the net's."""
    expected = net.state_dict()
    _refuse(where, layout, {
        "missing": [name for name in expected if name not in state],
        "not known": [_short(name) for name in state if name not in expected],
        "of another shape": [
            f"{name} {list(state[name].shape)} instead of {list(expected[name].shape)}"
            for name in expected if name in state and state[name].shape != expected[name].shape
        ],
        "of another kind": [
            f"{name} {state[name].dtype} instead of {expected[name].dtype}" for name in expected
            if name in state and state[name].is_floating_point() != expected[name].is_floating_point()
        ],
    })


def _refuse(where: str, layout: str, faults: Mapping[str, list[str]]) -> None:
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
                         for what, names in faults.items() if names)
        raise ValueError(f"{where} ({layout} layout) does not fit its configuration: {told}. It is cut short, damaged, "
                         "or beside the config.json of another net")


def load_net(
    path: str | os.PathLike[str],
    *,
    config: VitMatteConfig | None = None,
    operations: Any = nn,
    folded: bool = False,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
) -> VitMatteForImageMatting:
    """Loads a net, in evaluation mode.

    Args:
        path: a folder with weights, or a weights file. A config.json counts beside model.safetensors and
            pytorch_model.bin; otherwise the configuration is inferred.
        config: instead of those.
        operations: see `VitMatteForImageMatting`.
        folded: fold BatchNorms into convolutions, for inference.
        dtype: of the parameters; None for the file's own.
        device: where to.

    Raises:
        FileNotFoundError, ValueError: see the functions of this module.
    """
    weights, state, layout, config = read_net(path, config)
    net = empty_net(config, str(weights), operations=operations, folded=folded)
    if folded:
        _check_decoder(config, state, str(weights), layout)
        state = fold_batch_norm(state, config)
    load_state(net, placed(state, str(weights), device, dtype), where=str(weights), layout=layout)
    net.place_foreign(device, dtype)
    return net.eval()


def _check_decoder(config: VitMatteConfig, state: State, where: str, layout: str) -> None:
    """Raises ValueError unless the decoder's tensors are there as they are before BatchNorms are folded."""
    expected = nn.ModuleDict({"decoder": DetailCapture(config, device="meta")})
    given = {name: value for name, value in state.items() if name.startswith("decoder.")}
    check_shapes(expected, given, where=where, layout=layout)


def read_net(path: str | os.PathLike[str], config: VitMatteConfig | None) -> tuple[Path, State, str, VitMatteConfig]:
    """(weights file, its tensors, their layout, the configuration)."""
    weights = find_weights(path)
    state, layout = canonical_state(read_tensors(weights), str(weights))
    described = weights.with_name(CONFIG_NAME)
    # In a folder of many nets config.json belongs to the one with the standard name; the others' shapes tell.
    if config is None and weights.name in WEIGHTS_NAMES and described.is_file():
        config = VitMatteConfig.from_json_file(described)
    return weights, state, layout, config or infer_config(state, str(weights))


def placed(state: State, where: str, device: torch.device | str, dtype: torch.dtype | None) -> State:
    """Tensors on a device, floating-point ones in a type (None: as they are); ValueError for what it cannot hold."""
    if dtype is not None:
        check_cast(state, dtype, where, "load it in float32 or bfloat16")
    return {name: value.to(device, dtype if value.is_floating_point() else None) for name, value in state.items()}


def empty_net(config: VitMatteConfig, where: str, **how: Any) -> VitMatteForImageMatting:
    """A net without weights. Raises as `naming` does."""
    with naming(where):
        return VitMatteForImageMatting(config, device="meta", **how)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """For building a net of a file's configuration: whatever is wrong with that is a ValueError that names the file,
    and a missing library an ImportError that does."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    except ImportError as error:
        raise ImportError(f"{where}: {error}") from error
    except Exception as error:  # sizes that no machine could hold; what another library makes of nonsense
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{where}: a net of its configuration cannot be built ({first}); the configuration is "
                         "damaged") from error
