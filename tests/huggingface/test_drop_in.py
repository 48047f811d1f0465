"""What transformers' configurations and nets answer to, besides computing."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from nets import assert_close, random_input, random_net, small_config
from rounding import ALPHA, features_bound

from vitmatte import VitDetBackbone, VitDetConfig, VitDetModel, VitMatteConfig, VitMatteForImageMatting


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("net")
    random_net().save_pretrained(path)
    return path


def test_fields_can_be_assigned_and_are_checked():
    config = VitDetConfig()
    config.hidden_size = 96
    assert config.to_dict()["hidden_size"] == 96
    with pytest.raises(ValueError, match="hidden_act is 'mish'"):
        config.hidden_act = "mish"
    assert config.hidden_act == "gelu"
    config.num_attention_heads = 7
    with pytest.raises(ValueError, match="num_attention_heads is 7; expected a divisor of 96"):
        VitDetBackbone(config)


def test_stages_follow_each_other():
    config = VitDetConfig()
    assert (config.out_features, config.out_indices) == (["stage12"], [12])
    config.out_features = ["stage3", "stage6"]
    assert config.out_indices == [3, 6]
    config.out_indices = [-2, -1]
    assert config.out_features == ["stage11", "stage12"] and config.out_indices == [-2, -1]
    config.out_features = None
    assert config.out_indices == [12]
    assert VitDetConfig(out_indices=[2]).out_features == ["stage2"]
    with pytest.raises(ValueError, match="out_features"):
        config.out_features = ["stage13"]
    assert config.out_features == ["stage12"]


def test_unknown_keywords_are_kept_and_misspelt_ones_refused():
    config = VitMatteConfig(my_note={"a": 1}, output_hidden_states=True)
    config.another = 3
    assert (config.my_note, config.another, config.output_hidden_states) == ({"a": 1}, 3, True)
    read = VitMatteConfig.from_dict(json.loads(config.to_json_string()))
    assert read == config and read.another == 3
    with pytest.raises(TypeError, match="unknown argument 'hidden_sizes'; did you mean 'hidden_size'"):
        VitMatteConfig(hidden_sizes=384)
    with pytest.raises(AttributeError, match="VitMatteConfig has no 'nothing'"):
        _ = config.nothing


def test_configurations_copy_and_pickle():
    config = VitMatteConfig(note=1)
    for other in (copy.deepcopy(config), copy.copy(config), pickle.loads(pickle.dumps(config))):
        assert other == config and other.note == 1
    other = copy.deepcopy(config)
    other.backbone_config.hidden_size = 48
    assert config.backbone_config.hidden_size == 384


def test_type():
    config = VitMatteConfig.from_dict({"torch_dtype": "float16"})
    assert config.dtype == config.torch_dtype == torch.float16
    config.dtype = torch.bfloat16
    assert config.to_dict()["torch_dtype"] == "bfloat16"


def test_configurations_in_files(folder, tmp_path):
    config = VitMatteConfig.from_pretrained(folder, output_attentions=True)
    assert config.output_attentions and config.hidden_size == 48
    config.save_pretrained(tmp_path / "new")
    assert VitMatteConfig.from_json_file(tmp_path / "new" / "config.json") == config
    assert VitDetConfig.from_pretrained(tmp_path / "new") == config.backbone_config
    again, unused = VitMatteConfig.from_pretrained(tmp_path / "new", nonsense=1, return_unused_kwargs=True)
    assert again == config and unused == {"nonsense": 1}
    with pytest.raises(TypeError, match="unknown arguments nonsense"):
        VitMatteConfig.from_pretrained(folder, nonsense=1)
    with pytest.raises(OSError):
        VitMatteConfig.from_pretrained(tmp_path / "nobody", local_files_only=True)


@pytest.mark.parametrize("given", [{"dtype": torch.float16}, {"torch_dtype": "float16"}, {"dtype": "torch.float16"}])
def test_dtype_of_loaded_nets(folder, given):
    net = VitMatteForImageMatting.from_pretrained(folder, **given)
    assert net.dtype == torch.float16 == net.config.dtype and not net.training


def test_dtype_auto_is_the_files(folder, tmp_path):
    VitMatteForImageMatting.from_pretrained(folder).bfloat16().save_pretrained(tmp_path)
    assert VitMatteForImageMatting.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16
    assert VitMatteForImageMatting.from_pretrained(tmp_path).dtype == torch.float32


@pytest.mark.parametrize("given", [None, "cpu", {"": "cpu"}, torch.device("cpu"), "auto"])
def test_device_map(folder, given):
    net = VitMatteForImageMatting.from_pretrained(folder, device_map=given)
    assert net.device.type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(("given", "kind", "said"), [
    ({"device_map": {"backbone": 0, "decoder": "cpu"}}, ValueError, "goes to one device"),
    ({"device_map": "toaster"}, ValueError, "device_map is 'toaster'"),
    ({"dtype": "int8"}, ValueError, "dtype is 'int8'; expected a floating-point"),
    ({"dtype": "half a float"}, ValueError, "dtype is 'half a float'"),
    ({"attn_implementation": "flash_attention_2"}, ValueError, "attn_implementation is 'flash_attention_2'"),
    ({"trust_remote_" + "code": True}, ValueError, "is True; expected one of None, False"),
    ({"ouput_attentions": True}, TypeError, "unknown arguments ouput_attentions"),
    ({"subfolder": "nowhere"}, FileNotFoundError, "nowhere"),
])
def test_what_is_refused_when_loading(folder, given, kind, said):
    with pytest.raises(kind) as error:
        VitMatteForImageMatting.from_pretrained(folder, **given)
    assert said in str(error.value)


def test_loading_from_a_subfolder_and_given_tensors(folder, tmp_path):
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "inner").symlink_to(folder)
    net = VitMatteForImageMatting.from_pretrained(tmp_path / "outer", subfolder="inner", output_hidden_states=True)
    other = random_net(seed=1)
    same = VitMatteForImageMatting.from_pretrained(None, config=small_config(), state_dict=other.state_dict())
    pixels = random_input(96, 96)
    with torch.no_grad():
        assert len(net(pixels).hidden_states) == 5
        assert_close(same(pixels).alphas, other(pixels).alphas, ALPHA)
    with pytest.raises(ValueError, match="given None; expected a folder"):
        VitMatteForImageMatting.from_pretrained(None)
    with torch.device("meta"), pytest.raises(RuntimeError, match="move it out"):
        VitMatteForImageMatting.from_pretrained(folder)


def test_mismatched_sizes_only_when_asked(folder):
    config = small_config()
    config.fusion_hidden_sizes = [24, 16, 12, 10]
    with pytest.raises(ValueError, match="of another shape"):
        VitMatteForImageMatting.from_pretrained(folder, config=config)
    net, told = VitMatteForImageMatting.from_pretrained(folder, config=config, ignore_mismatched_sizes=True,
                                                        output_loading_info=True)
    assert "decoder.fusion_blocks.3.conv.conv.weight" in told["mismatched_keys"] and not told["missing_keys"]
    assert net(random_input(96, 96)).alphas.shape == (1, 1, 96, 96)


@pytest.mark.parametrize(("given", "kind"), [
    ({"safe_serialization": False}, ValueError), ({"push_to_hub": True}, ValueError), ({"nonsense": 1}, TypeError),
])
def test_what_is_refused_when_saving(tmp_path, given, kind):
    with pytest.raises(kind):
        random_net().save_pretrained(tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


def test_the_callers_configuration_is_its_own():
    config = small_config()
    net = VitMatteForImageMatting(config)
    config.output_hidden_states = True
    assert net(random_input(96, 96)).hidden_states is None
    net.config.output_hidden_states = True
    assert len(net(random_input(96, 96)).hidden_states) == 5
    net.config.return_dict = False
    assert isinstance(net(random_input(96, 96)), tuple)


def test_outputs_read_as_dicts_and_tuples():
    output = random_net()(random_input(96, 96), output_hidden_states=True)
    assert list(output) == output.keys() == ["alphas", "hidden_states"] and len(output) == 2
    assert output["alphas"] is output[0] is output.alphas and dict(output)["alphas"] is output.alphas
    assert output.get("loss", 3) == 3 and [k for k, _ in output.items()] == output.keys()
    with pytest.raises(KeyError):
        _ = output["loss"]


@torch.no_grad()
def test_the_transformer_alone(folder, tmp_path):
    whole = VitMatteForImageMatting.from_pretrained(folder)
    backbone = VitDetBackbone.from_pretrained(folder)
    model = VitDetModel.from_pretrained(folder)
    pixels = random_input(96, 64)
    expected = whole.backbone(pixels).feature_maps[-1]
    assert_close(backbone(pixels).feature_maps[-1], expected, 0)
    output = model(pixels, output_hidden_states=True, output_attentions=True)
    assert_close(output.last_hidden_state, expected, features_bound(expected))
    assert len(output.hidden_states) == 5 and len(output.attentions) == 4
    assert model(pixels, return_dict=False)[0].shape == expected.shape
    backbone.save_pretrained(tmp_path)
    assert_close(VitDetModel.from_pretrained(tmp_path)(pixels).last_hidden_state, expected, features_bound(expected))
    with pytest.raises(ValueError, match="pixel_values is None"):
        model()


def test_fresh_nets_are_initialised():
    net = VitDetBackbone(small_config().backbone_config)
    first = net.encoder.layer[0].attention.qkv.weight.clone()
    assert 0.01 < first.std() < 0.03
    assert (net.encoder.layer[0].norm1.weight == 1).all()
    with torch.device("meta"):
        empty = VitMatteForImageMatting(small_config())
    assert {value.device.type for value in empty.state_dict().values()} == {"meta"}


def test_checkpointed_gradients_are_the_same():
    pixels, labels = random_input(96, 96), torch.rand(1, 1, 96, 96)
    gradients = []
    for on in (False, True):
        net = random_net().train()
        net.gradient_checkpointing_enable() if on else net.gradient_checkpointing_disable()
        assert net.is_gradient_checkpointing == on
        net(pixels, labels=labels).loss.backward()
        gradients.append({name: p.grad for name, p in net.named_parameters()})
    bound = max(features_bound(gradient) for gradient in gradients[0].values())
    for name, expected in gradients[0].items():
        assert_close(gradients[1][name], expected, bound)
