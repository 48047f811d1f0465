"""Configurations: documented defaults, lossless files, readable refusals."""

from __future__ import annotations

import json

import pytest
import torch
from nets import random_net, small_config

from vitmatte import VitDetConfig, VitMatteConfig, VitMatteForImageMatting


def test_documented_defaults():
    config = VitMatteConfig()
    assert (config.hidden_size, config.batch_norm_eps, config.initializer_range) == (384, 1e-5, 0.02)
    assert config.convstream_hidden_sizes == [48, 96, 192]
    assert config.fusion_hidden_sizes == [256, 128, 64, 32]
    backbone = VitDetConfig()
    assert (backbone.hidden_size, backbone.num_hidden_layers, backbone.num_attention_heads) == (768, 12, 12)
    assert (backbone.image_size, backbone.pretrain_image_size, backbone.patch_size) == (224, 224, 16)
    assert backbone.out_stages == [12] and backbone.window_size == 0 and not backbone.use_relative_position_embeddings


def test_default_is_vitmatte_small():
    net = VitMatteForImageMatting(VitMatteConfig(), device="meta")
    assert sum(p.numel() for p in net.parameters()) == 25_814_753
    assert len(net.state_dict()) == 258


def test_json_keeps_everything(tmp_path):
    given = {**small_config().to_dict(), "architectures": ["VitMatteForImageMatting"], "_commit_hash": None,
             "torch_dtype": "float16", "my_note": {"a": [1, 2]}}
    given["backbone_config"]["from_the_future"] = 7
    path = tmp_path / "config.json"
    path.write_text(json.dumps(given))
    config = VitMatteConfig.from_pretrained(tmp_path)
    assert json.loads(config.to_json_string()) == given
    assert VitMatteConfig.from_dict(json.loads(config.to_json_string())) == config


def test_lists_are_copied():
    sizes = [48, 96, 192]
    config = VitMatteConfig(convstream_hidden_sizes=sizes)
    sizes.append(1)
    assert config.convstream_hidden_sizes == [48, 96, 192]
    assert VitMatteConfig(fusion_hidden_sizes=(8, 8, 8, 8)).fusion_hidden_sizes == [8, 8, 8, 8]


@pytest.mark.parametrize(("kind", "values", "said"), [
    (VitDetConfig, {"hidden_size": 0}, "hidden_size is 0"),
    (VitDetConfig, {"hidden_size": "384"}, "hidden_size is '384'"),
    (VitDetConfig, {"num_attention_heads": 7}, "num_attention_heads is 7; expected a divisor of 768"),
    (VitDetConfig, {"hidden_act": "mish"}, "hidden_act is 'mish'; expected one of gelu"),
    (VitDetConfig, {"drop_path_rate": 1.0}, "drop_path_rate is 1.0"),
    (VitDetConfig, {"window_block_indices": [12]}, "block numbers from 0 to 11"),
    (VitDetConfig, {"pretrain_image_size": [224, 112]}, "pretrain_image_size"),
    (VitDetConfig, {"image_size": 8}, "image_size is (8, 8); expected at least one patch"),
    (VitDetConfig, {"out_features": ["stage13"]}, "out_features"),
    (VitDetConfig, {"out_features": ["stage3"], "out_indices": [4]}, "out_indices is"),
    (VitDetConfig, {"qkv_bias": 1}, "qkv_bias is 1; expected true or false"),
    (VitDetConfig, {"num_channels": True}, "num_channels is True"),
    (VitMatteConfig, {"hidden_size": 768}, "hidden_size is 768; expected 384"),
    (VitMatteConfig, {"fusion_hidden_sizes": [64, 32]}, "fusion_hidden_sizes"),
    (VitMatteConfig, {"batch_norm_eps": -1}, "batch_norm_eps"),
    (VitMatteConfig, {"backbone_config": 3}, "backbone_config is 3; expected a VitDetConfig, a"),
    (VitMatteConfig, {"backbone": "resnet50", "backbone_config": VitDetConfig(hidden_size=384)}, "one of the two"),
    (VitMatteConfig, {"backbone_kwargs": {"a": 1}, "backbone_config": VitDetConfig(hidden_size=384)}, "one of the two"),
    (VitMatteConfig, {"backbone_config": {"hidden_size": 384, "patch_size": 8}}, "a patch_size of (8, 8); expected 16"),
])
def test_refusals_name_the_field(kind, values, said):
    with pytest.raises(ValueError, match=kind.__name__) as error:
        kind(**values).architecture()
    assert said in str(error.value)


def test_other_models_configurations_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ValueError, match=r"config\.json: VitMatteConfig: model_type is 'clip'"):
        VitMatteConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a JSON list; expected an object"):
        VitMatteConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not readable JSON"):
        VitMatteConfig.from_pretrained(tmp_path)


@torch.inference_mode()
def test_without_absolute_positions():
    net = random_net(small_config(use_absolute_position_embeddings=False))
    assert "backbone.embeddings.position_embeddings" not in net.state_dict()
    assert net(torch.randn(1, 4, 64, 96)).alphas.shape == (1, 1, 64, 96)
