"""Found by transformers' own tests: checkpointing from the configuration and in any backbone; small things of it."""

from __future__ import annotations

import pytest
import torch
from nets import assert_close, random_input, random_net, small_config
from rounding import ALPHA

from vitmatte import VitDetConfig, VitMatteConfig, VitMatteForImageMatting


def test_the_configuration_turns_it_on():
    config = small_config()
    config.gradient_checkpointing = True
    net = VitMatteForImageMatting(config)
    assert net.is_gradient_checkpointing and net.backbone.gradient_checkpointing
    assert not VitMatteForImageMatting(small_config()).is_gradient_checkpointing


def test_backbones_of_transformers_take_part():
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                                         patch_size=16, num_channels=4, out_features=["stage2"])
    net = VitMatteForImageMatting(VitMatteConfig(backbone_config=backbone, hidden_size=24)).train()
    net.gradient_checkpointing_enable()
    assert net.backbone.is_gradient_checkpointing and net.is_gradient_checkpointing
    net.gradient_checkpointing_disable()
    assert not net.backbone.is_gradient_checkpointing and not net.is_gradient_checkpointing


@pytest.mark.parametrize(("name", "value"), [
    ("out_features", ["stage13"]), ("out_indices", [13]), ("hidden_size", 0), ("window_size", -1),
])
def test_a_refused_value_changes_nothing(name, value):
    config = VitDetConfig(out_indices=[2, 3])
    before = config.to_dict()
    with pytest.raises(ValueError, match=name):
        setattr(config, name, value)
    assert config.to_dict() == before


def test_nets_are_exported_as_they_are():
    """transformers' outputs are known to torch.export, and so must these be."""
    net, pixels = random_net(small_config()), random_input(32, 64)
    program = torch.export.export(net, (pixels,), strict=False)
    with torch.inference_mode():
        assert_close(program.module()(pixels).alphas, net(pixels).alphas, ALPHA)
