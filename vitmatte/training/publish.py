"""A trained net as it is given out: weights in half precision, what is added or divided by in single precision.

    python -m vitmatte.training.publish runs/tiny/best vitmatte/bundled/vitmatte-tiny
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from ..files import whole_files
from ..inference.preprocessing import DIVISOR, IMAGENET_MEAN, IMAGENET_STD
from ..weights.config_file import CONFIG_NAME, PREPROCESSOR_NAME, described
from ..weights.load import load_net
from ..weights.save import ARCHITECTURE
from ..weights.tensors import write_safetensors


def publish(source: Path, target: Path) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors to `target`, each whole or not at all.

    Args:
        source: a folder with a net, such as a run's best/.
        target: the folder to write.

    Raises:
        FileNotFoundError, ValueError: as `weights.load.load_net`.
    """
    net = load_net(source)
    target.mkdir(parents=True, exist_ok=True)
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
    names = CONFIG_NAME, PREPROCESSOR_NAME, "model.safetensors"
    with whole_files(*(target / name for name in names)) as (config, preprocessor, weights):
        write_safetensors(weights, {name: halved(name, value) for name, value in state.items()})
        config.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
        preprocessor.write_text(json.dumps(processor, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def halved(name: str, value: Tensor) -> Tensor:
    """A weight in half precision; norms, biases, statistics and counts as they are."""
    matrix = value.ndim > 1 and value.is_floating_point() and "position" not in name
    return (value.half() if matrix else value).contiguous()


if __name__ == "__main__":
    with torch.no_grad():
        publish(Path(sys.argv[1]), Path(sys.argv[2]))
