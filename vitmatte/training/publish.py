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
from ..huggingface.hub_config import CONFIG_NAME
from ..huggingface.processing import VitMatteImageProcessor
from ..inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from ..weights.checkpoint import load_net
from ..weights.tensors import write_safetensors


def publish(source: Path, target: Path) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors to `target`, each whole or not at all.

    Args:
        source: a folder with a net, such as a run's best/.
        target: the folder to write.

    Raises:
        FileNotFoundError, ValueError: as `checkpoint.load_net`.
    """
    net = load_net(source)
    target.mkdir(parents=True, exist_ok=True)
    described = {"architectures": ["VitMatteForImageMatting"], "torch_dtype": "float16", **net.config.to_dict()}
    state, backbone = net.state_dict(), net.config.vitdet
    if backbone is not None and not backbone.use_absolute_position_embeddings:
        # transformers 5.23 cannot make a VitDet without them; zeros are the same function.
        places = backbone.pretrain_grid[0] * backbone.pretrain_grid[1] + 1
        state["backbone.embeddings.position_embeddings"] = torch.zeros(1, places, backbone.hidden_size)
        described["backbone_config"]["use_absolute_position_embeddings"] = True
    with whole_files(target / CONFIG_NAME, target / "model.safetensors") as (config, weights):
        write_safetensors(weights, {name: halved(name, value) for name, value in state.items()})
        config.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        VitMatteImageProcessor(image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD).save_pretrained(target)


def halved(name: str, value: Tensor) -> Tensor:
    """A weight in half precision; norms, biases, statistics and counts as they are."""
    matrix = value.ndim > 1 and value.is_floating_point() and "position" not in name
    return (value.half() if matrix else value).contiguous()


if __name__ == "__main__":
    with torch.no_grad():
        publish(Path(sys.argv[1]), Path(sys.argv[2]))
