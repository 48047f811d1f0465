"""MEMatte's files: recognised by their names, in every layout, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from layouts import hustvl_name
from mematte import LIMIT, mematte_config, mematte_names, random_mematte
from nets import assert_close, random_input, random_net
from rounding import ALPHA
from safetensors.torch import save_file

from vitmatte import VitDetConfig, VitMatteConfig, VitMatteForImageMatting, load_model, load_net
from vitmatte.model.vitmatte import ViTMatte
from vitmatte.weights.config_file import CONFIG_NAME
from vitmatte.weights.infer_config import infer_config
from vitmatte.weights.mematte import is_mematte, with_routers_in_blocks, without_teacher
from vitmatte.weights.names import hub_name
from vitmatte.weights.save import save_net

pytestmark = pytest.mark.numbers

PIXELS = random_input(96, 80)


@pytest.fixture(scope="module")
def net():
    return random_mematte()


@pytest.fixture(scope="module")
def alpha(net):
    with torch.inference_mode():
        return net(PIXELS).alphas


def write_all_layouts(net, folder):
    state = net.state_dict()
    theirs = mematte_names(state)
    assert sum(name.startswith("teacher_backbone.") for name in theirs) > 30
    assert {"backbone.routers.1.in_conv.1.weight", "backbone.blocks.3.efficient_block.eca.conv.weight"} <= set(theirs)
    torch.save(theirs, folder / "MEMatte_ViTS_DIM.pth")
    torch.save({"model": theirs, "iteration": 7, "__author__": "a name"}, folder / "detectron2.pth")
    torch.save(mematte_names(state, teacher=False), folder / "student.pth")
    torch.save({"state_dict": {f"module.{name}": value for name, value in theirs.items()}}, folder / "parallel.pt")
    save_file({name: value.clone() for name, value in theirs.items()}, folder / "bare.safetensors")
    save_file(state, folder / "ours.safetensors")
    net.save_pretrained(folder / "saved")


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", ["MEMatte_ViTS_DIM.pth", "detectron2.pth", "student.pth", "parallel.pt",
                                  "bare.safetensors", "ours.safetensors", "saved"])
def test_layouts_load_to_the_same_alpha(net, alpha, tmp_path, name, folded):
    write_all_layouts(net, tmp_path)
    found = load_net(tmp_path / name, folded=folded)
    with torch.inference_mode():
        assert_close(found(PIXELS).alphas, alpha, ALPHA)
    assert load_model(tmp_path / name).preprocessing.both_sides
    assert not any("teacher" in name for name in found.state_dict())


def test_other_nets_are_padded_as_before(tmp_path):
    random_net().save_pretrained(tmp_path)
    assert not load_model(tmp_path).preprocessing.both_sides


@pytest.mark.parametrize(("hidden", "heads"), [(384, 6), (768, 12)])
def test_published_sizes_are_told_from_shapes(hidden, heads):
    backbone = {**VitMatteConfig().vitdet.to_dict(), "hidden_size": hidden, "num_attention_heads": heads,
                "max_routed_tokens": LIMIT}
    expected = VitMatteConfig(backbone_config=backbone, hidden_size=hidden).architecture()
    theirs = mematte_names(ViTMatte(expected, device="meta").state_dict())
    assert sum(name.startswith("backbone.routers.") for name in theirs) == 4 * 10
    assert is_mematte(theirs)
    state = {hub_name(name): value for name, value in with_routers_in_blocks(without_teacher(theirs)).items()}
    assert infer_config(state) == expected


def test_the_configuration_comes_back(net, tmp_path):
    net = random_mematte(mematte_config(limit=7))
    net.save_pretrained(tmp_path / "documented")
    save_net(net, tmp_path / "core")
    for folder in ("documented", "core"):
        backbone = json.loads((tmp_path / folder / CONFIG_NAME).read_text())["backbone_config"]
        assert (backbone["model_type"], backbone["max_routed_tokens"]) == ("mematte_vitdet", 7)
        again = VitMatteForImageMatting.from_pretrained(tmp_path / folder)
        assert again.config.vitdet.max_routed_tokens == 7 and again.architecture == net.architecture
        assert_close(again(PIXELS).alphas, net(PIXELS).alphas, 0)
        assert load_net(tmp_path / folder).architecture == net.architecture
        assert VitDetConfig.from_pretrained(tmp_path / folder).max_routed_tokens == 7
    assert VitMatteConfig.from_dict(net.config.to_dict()).to_dict() == net.config.to_dict()
    plain = random_net().config.to_dict()["backbone_config"]
    assert plain["model_type"] == "vitdet" and "max_routed_tokens" not in plain


def test_transformers_refuses_what_it_cannot_hold(net, tmp_path):
    """Without an error it would fill in random tables, and leave out the routers."""
    transformers = pytest.importorskip("transformers")
    net.save_pretrained(tmp_path)
    with pytest.raises((KeyError, ValueError), match="mematte_vitdet"):
        transformers.VitMatteForImageMatting.from_pretrained(tmp_path)


@pytest.mark.parametrize(("change", "said"), [
    (lambda names: {k: v for k, v in names.items() if not k.startswith("backbone.routers.1.")},
     r"\(MEMatte layout\) does not fit .* 10 missing \(backbone.encoder.layer.3.router.in_conv.0.weight"),
    (lambda names: {k: v for k, v in names.items() if "blocks.3.efficient_block" not in k},
     r"MEMatte.*cannot be told from its tensors \(backbone.encoder.layer.3.attention.rel_pos_h\)"),
    (lambda names: {**names, "backbone.routers.2.in_conv.0.weight": torch.ones(48)},
     r"1 not known \(backbone.routers.2.in_conv.0.weight\)"),
    (lambda names: {**names, "backbone.routers.x.9.weight": torch.ones(48)},
     "1 not known .backbone.routers.x.9.weight"),
    (lambda names: {**names, "backbone.routers.0.out_conv.4.weight": torch.ones(3, 12)},
     r"1 of another shape \(backbone.encoder.layer.1.router.out_conv.4.weight \[3, 12\] instead of \[2, 12\]\)"),
    (lambda names: {**names, "backbone.blocks.1.efficient_block.eca.conv.weight": torch.full((1, 1, 3), torch.nan)},
     r"1 not finite \(backbone.encoder.layer.1.efficient_block.eca.conv.weight\)"),
    (lambda names: {k: v for k, v in names.items() if "router" not in k and "efficient" not in k},
     "holds a net and its teacher, but no routers: it is what training of a MEMatte starts from"),
    (lambda names: {k: v for k, v in names.items() if "routers" in k}, "cannot be told from its tensors"),
    (lambda names: {k: v for k, v in names.items() if "teacher" in k}, "a net and its teacher, but no routers"),
], ids=["router missing", "light block missing", "router too many", "router without a number", "shape", "not finite",
        "starting point", "routers alone", "teacher alone"])
def test_damaged_and_foreign_files_are_refused(net, tmp_path, change, said):
    path = tmp_path / "MEMatte.pth"
    torch.save({"model": change(mematte_names(net.state_dict()))}, path)
    with pytest.raises(ValueError, match=said) as error:
        load_net(path)
    assert str(path) in str(error.value)


def test_a_vitmatte_with_a_light_block_is_no_net(tmp_path):
    state = {hustvl_name(name): value for name, value in random_net().state_dict().items()}
    torch.save({**state, "backbone.blocks.1.efficient_block.fc1.weight": torch.ones(96, 48)}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth"):
        load_net(tmp_path / "net.pth")


@pytest.mark.parametrize(("changes", "said"), [
    ({"max_routed_tokens": None}, "max_routed_tokens is None; expected a whole number of at least 1, because"),
    ({"max_routed_tokens": "all"}, "max_routed_tokens is 'all'; expected a whole number"),
    ({"model_type": "vitdet2"}, "vitdet2"),
])
def test_damaged_configurations_are_refused(net, tmp_path, changes, said):
    net.save_pretrained(tmp_path)
    config = json.loads((tmp_path / CONFIG_NAME).read_text())
    config["backbone_config"].update(changes)
    (tmp_path / CONFIG_NAME).write_text(json.dumps(config))
    for load in (load_net, load_model, VitMatteForImageMatting.from_pretrained):
        with pytest.raises((ValueError, ImportError), match=said):
            load(tmp_path)
