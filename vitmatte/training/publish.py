"""A trained net as it is given out: weights in half precision, what is added or divided by in single precision.

    python -m vitmatte.training.publish runs/tiny/best vitmatte/bundled/vitmatte-tiny
    python -m vitmatte.training.publish runs/first/last runs/second/last FOLDER    (the mean of their weights)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..checks import check_cast
from ..files import check_new_folder, make_folder, whole_files
from ..inference.preprocessing import DIVISOR, IMAGENET_MEAN, IMAGENET_STD
from ..model.config import MattingConfig
from ..model.vitmatte import ViTMatte
from ..weights.config_file import CONFIG_NAME, PREPROCESSOR_NAME, described
from ..weights.load import load_net
from ..weights.save import ARCHITECTURE
from ..weights.tensors import write_safetensors

HEAD_EPS = 1e-5  # torch's default
LARGEST = 2.0**14  # a quarter of what float16 holds


def publish(source: Path | Sequence[Path], target: Path) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors to `target`, each whole or not at all.

    Args:
        source: a folder with a net, such as a run's best/; of several, see `mean_net`.
        target: the folder to write.

    Raises:
        FileNotFoundError, ValueError: as `weights.load.load_net`, `mean_net` and `within_halves`.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    net = mean_net(sources)
    if net.architecture.diffusion is not None:
        raise ValueError(f"{sources[0]} is a DiffMatte; only nets with ViTMatte's decoder are trained here and "
                         "published")
    check_new_folder(target, "target")
    make_folder(target)
    text = {"architectures": [ARCHITECTURE], "torch_dtype": "float16", **described(net.architecture)}
    state, backbone = net.state_dict(), net.architecture.transformer
    if backbone is not None and not backbone.use_absolute_position_embeddings:
        # transformers 5.23 cannot make a VitDet without them; zeros are the same function.
        places = backbone.pretrain_grid[0] * backbone.pretrain_grid[1] + 1
        state["backbone.embeddings.position_embeddings"] = torch.zeros(1, places, backbone.hidden_size)
        text["backbone_config"]["use_absolute_position_embeddings"] = True
    processor = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "do_rescale": True, "rescale_factor": 1 / 255,
                 "do_normalize": True, "do_pad": True, "size_divisor": DIVISOR, "size_divisibility": DIVISOR,
                 "image_processor_type": "VitMatteImageProcessor"}
    fitting = within_halves(state, net.architecture)
    names = CONFIG_NAME, PREPROCESSOR_NAME, "model.safetensors"
    with whole_files(*(target / name for name in names)) as (config, preprocessor, weights):
        write_safetensors(weights, {name: halved(name, value) for name, value in fitting.items()})
        config.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        preprocessor.write_text(json.dumps(processor, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def mean_net(sources: Sequence[Path]) -> ViTMatte:
    """The net whose weights and statistics are the means of those of several, which are ends of one run.

    Nets that went on from one state lie in one valley of the loss, and their mean is often better than each (Wortsman
    et al., "Model soups", arXiv 2203.05482; Izmailov et al., arXiv 1803.05407). Nets that were never one do not mix.

    Raises:
        FileNotFoundError, ValueError: as `weights.load.load_net`; nets of different architectures, or none.
    """
    if not sources:
        raise ValueError("there is no source; expected a folder with a net, or several")
    net, *others = (load_net(source) for source in sources)
    for source, other in zip(sources[1:], others, strict=True):
        if other.architecture != net.architecture:
            raise ValueError(f"{source} has another architecture than {sources[0]}; expected nets of one run")
    states = [one.state_dict() for one in (net, *others)]
    for name, value in states[0].items():
        if value.is_floating_point():
            value.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    return net


def within_halves(state: Mapping[str, Tensor], config: MattingConfig) -> dict[str, Tensor]:
    """The tensors of the same function with no value that float16 cannot hold.

    What comes out of a convolution of weights w and bias b, z = w x + b, goes through a BatchNorm,

        gamma (z - mean) / sqrt(var + eps) + beta.

    A channel with w, b, mean or var beyond `LARGEST` gets w s, b s, mean s and s^2 (var + eps) - eps in their place,
    with s the largest power of two that brings all below. Numerator and square root are then both s times what they
    were, so that gamma and beta stay. (Where the new var would be negative it is 0, and gamma takes what is left:
    times sqrt(eps) / (s sqrt(var + eps)).) Products with a power of two are exact; rounded are the new var, by 2^-24
    of itself, and as `halved` the weights that leave float16's normal numbers (6.1e-5), by 3e-8.

    Args:
        state: of a net with BatchNorms, float32.
        config: for its epsilon.

    Raises:
        ValueError: for a value beyond float16 that no BatchNorm follows.
    """
    fitting = dict(state)
    for norm, conv, eps in batch_norms(state, config):
        linear = [name for name in (f"{conv}.weight", f"{conv}.bias", f"{norm}.running_mean") if name in state]
        var = state[f"{norm}.running_var"].double()
        most = [LARGEST / state[name].double().abs().view(len(var), -1).amax(1) for name in linear]
        most.append(((LARGEST + eps) / (var + eps)).sqrt())
        scale = torch.exp2(torch.stack(most).amin(0).clamp(max=1.0).log2().floor())
        for name in linear:
            fitting[name] = state[name] * scale.view(-1, *[1] * (state[name].ndim - 1)).to(state[name].dtype)
        moved = (scale.square() * (var + eps) - eps).clamp(min=0.0)
        left = ((moved + eps) / (var + eps)).sqrt() / scale
        gamma = left * state[f"{norm}.weight"].double()
        for name, value, changes in (("running_var", moved, scale < 1), ("weight", gamma, (scale < 1) & (moved == 0))):
            old = state[f"{norm}.{name}"]
            fitting[f"{norm}.{name}"] = torch.where(changes, value.to(old.dtype), old)
    check_cast(fitting, torch.float16, "the net", "no BatchNorm follows them that could take a scale back")
    return fitting


def batch_norms(state: Mapping[str, Tensor], config: MattingConfig) -> Iterator[tuple[str, str, float]]:
    """(name of a BatchNorm of the decoder, name of the convolution before it, epsilon)."""
    for mean in [name for name in state if name.startswith("decoder.") and name.endswith(".running_mean")]:
        norm = mean.removesuffix(".running_mean")
        if norm.endswith("matting_convs.1"):  # the head's keeps torch's own epsilon, whatever batch_norm_eps says
            yield norm, norm[:-1] + "0", HEAD_EPS
        else:
            yield norm, norm[:-len("batch_norm")] + "conv", config.batch_norm_eps


def halved(name: str, value: Tensor) -> Tensor:
    """A weight in half precision; norms, biases, statistics and counts as they are."""
    matrix = value.ndim > 1 and value.is_floating_point() and "position" not in name
    return (value.half() if matrix else value).contiguous()


if __name__ == "__main__":
    with torch.no_grad():
        publish([Path(source) for source in sys.argv[1:-1]], Path(sys.argv[-1]))
