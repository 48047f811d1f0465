"""DiffMatte's files: recognised in every layout, saved and read again, refused by name where they cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from commands import run
from diffmatte_nets import diffmatte_config, model_of, random_diffmatte
from layouts import hustvl_name
from nets import assert_close
from rounding import ALPHA

import vitmatte
from vitmatte import MattingModel, VitMatteForImageMatting, load_model, matte
from vitmatte.export.onnx import export_onnx
from vitmatte.export.subject import Subject
from vitmatte.model.config import MattingConfig, TransformerConfig
from vitmatte.model.diffusion import DiffusionConfig
from vitmatte.model.external_config import ExternalConfig
from vitmatte.model.vitmatte import float32_copy, plain_copy
from vitmatte.training.publish import publish
from vitmatte.training.recipe import read_recipe
from vitmatte.weights.config_file import read_config
from vitmatte.weights.load import load_net
from vitmatte.weights.save import save_net

NET = random_diffmatte()
STATE = NET.state_dict()
AUTHORS = {hustvl_name(name): value for name, value in STATE.items()}
# What no shape tells is the authors'.
BY_SHAPES = replace(NET.architecture, diffusion=replace(NET.architecture.diffusion, steps=10))


@pytest.mark.parametrize("content", [
    {"model": AUTHORS, "iteration": 7},
    {"model": {f"model.{name}": value for name, value in AUTHORS.items()}},  # as detectron2 writes DifMatte
    {f"module.model.{name}": value for name, value in AUTHORS.items()},
    AUTHORS, STATE,
], ids=["detectron2", "the authors'", "parallel", "flat", "hub"])
def test_layouts(tmp_path, content):
    torch.save(content, tmp_path / "diffmatte.pth")
    net = load_net(tmp_path / "diffmatte.pth")
    assert net.architecture == BY_SHAPES
    assert all(value.equal(STATE[name]) for name, value in net.state_dict().items())


def test_saved_nets_are_read_as_they_were(tmp_path):
    config = diffmatte_config(diffusion=DiffusionConfig(time_channels=4, embedding_channels=3, steps=2, scale=0.5,
                                                        seed=9))
    net = random_diffmatte(config)
    save_net(net, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "diffmatte"
    found = load_net(tmp_path)
    assert found.architecture == config == read_config(tmp_path / "config.json")
    assert all(value.equal(net.state_dict()[name]) for name, value in found.state_dict().items())


def test_the_steps_of_a_bare_file_are_changed_by_a_config(tmp_path):
    """What docs/models.md says: save the net, and give its config.json other steps."""
    torch.save({"model": AUTHORS}, tmp_path / "diffmatte.pth")
    save_net(load_net(tmp_path / "diffmatte.pth"), tmp_path / "net")
    path = tmp_path / "net" / "config.json"
    values = json.loads(path.read_text())
    values["diffusion"]["steps"] = 3
    path.write_text(json.dumps(values))
    image, trimap = torch.rand(1, 40, 50, 3), torch.full((40, 50), 0.5)
    assert_close(matte(load_model(tmp_path / "net"), image, trimap), matte(model_of(NET), image, trimap), ALPHA)


def test_copies_compute_the_same():
    image, trimap = torch.rand(1, 40, 50, 3), torch.full((40, 50), 0.5)
    expected = matte(model_of(NET), image, trimap)
    for copy in (float32_copy(NET, "cpu"), plain_copy(NET, device="cpu", dtype=torch.float32)):
        assert_close(matte(model_of(copy), image, trimap), expected, ALPHA)


def test_fresh_nets_give_finite_mattes():
    net = vitmatte.model.vitmatte.ViTMatte(diffmatte_config()).eval()
    with torch.no_grad():
        alphas = net(torch.rand(2, 4, 64, 32))
    assert alphas.shape == (2, 1, 64, 32) and bool(alphas.isfinite().all())


@pytest.mark.parametrize("changes, told", [
    ({"diffusion": 3}, "diffusion is 3; expected an object"),
    ({"diffusion": {"step": 3}}, "diffusion has 'step'"),
    ({"diffusion": {"steps": 0}}, "diffusion: steps is 0; expected a whole number from 1"),
    ({"diffusion": {"steps": 10**6}}, "diffusion: steps is 1000000"),
    ({"diffusion": {"scale": 2}}, "diffusion: scale is 2"),
    ({"diffusion": {"scale": float("nan")}}, "diffusion: scale is nan"),
    ({"diffusion": {"seed": -1}}, "diffusion: seed is -1"),
    ({"diffusion": {"time_channels": 7, "embedding_channels": 5}}, "does not fit its configuration"),
    ({"convstream_hidden_sizes": [6, 8]}, "fusion_hidden_sizes"),
    ({"model_type": "vitmatte"}, "does not fit its configuration"),
    ({"model_type": "diffmatte2"}, "this is the configuration of another model"),
])
def test_wrong_configurations_are_named(tmp_path, changes, told):
    save_net(NET, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=told) as error:
        load_net(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_backbone_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="diffusion is given, and the backbone is another library's"):
        MattingConfig(backbone=ExternalConfig(name="x"), diffusion=DiffusionConfig())
    with pytest.raises(ValueError, match="one of 3 channels"):
        MattingConfig(backbone=TransformerConfig(num_channels=3), diffusion=DiffusionConfig())


@pytest.mark.parametrize("names", [
    {"backbone.patch_embed.proj.weight": "backbone.patch_embed.proj.weight", "backbone.layers.0.blocks.0.norm1.weight":
     "backbone.blocks.0.norm1.weight"},
    {"backbone.conv1.module.weight_bar": "backbone.patch_embed.proj.weight"},
], ids=["Swin", "ResNet"])
def test_the_authors_other_nets_are_named(tmp_path, names):
    decoder = {name: value for name, value in AUTHORS.items() if name.startswith("decoder.")}
    torch.save({"model": {**decoder, **{new: AUTHORS[old] for new, old in names.items()}}}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth is a DiffMatte, but its backbone is no plain transformer"):
        load_model(tmp_path / "net.pth")


@pytest.mark.parametrize("lost", ["decoder.time_embed.0.weight", "decoder.mid_blk.conv2.weight",
                                  "decoder.up_blks.1.conv2.weight", "decoder.down_blks.2.bn1.running_var",
                                  "backbone.patch_embed.proj.weight", "decoder.matting_head.matting_convs.3.bias"])
def test_missing_tensors_are_named(tmp_path, lost):
    torch.save({"model": {name: value for name, value in AUTHORS.items() if name != lost}}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth"):
        load_model(tmp_path / "net.pth")


@pytest.mark.parametrize("bare", [True, False])
def test_what_is_transformers_refuses_it(tmp_path, bare):
    save_net(NET, tmp_path)
    if bare:
        (tmp_path / "config.json").unlink()
    for load in (VitMatteForImageMatting.from_pretrained, vitmatte.load_net):
        with pytest.raises(ValueError, match="a DiffMatte; .*: load the net with load_model, and give") as error:
            load(tmp_path)
        assert str(tmp_path) in str(error.value)


def test_export_and_training_refuse_it(tmp_path, capsys):
    save_net(NET, tmp_path / "net")
    for subject in (NET, MattingModel(NET, model_of(NET).preprocessing)):
        with pytest.raises(ValueError, match="the net is a DiffMatte"):
            Subject(subject, None)
    with pytest.raises(ValueError, match="the net is a DiffMatte"):
        export_onnx(model_of(NET), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net is a DiffMatte; only nets with ViTMatte's decoder are trained"):
        publish(tmp_path / "net", tmp_path / "out")
    recipe = {"foregrounds": [{"folder": "fg"}], "backgrounds": [{"folder": "bg"}], "run": "run",
              "model": json.loads((tmp_path / "net" / "config.json").read_text())}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ValueError, match="DiffMatte's decoder is not trained here"):
        read_recipe(tmp_path / "recipe.json")
    assert not (tmp_path / "net.onnx").exists() and not (tmp_path / "out").exists()


def test_models_says_what_its_data_allow(capsys):
    assert run("models") == 0
    assert any(line.startswith("DiffMatte-ViTS") and "non-commercial" in line
               for line in capsys.readouterr().out.splitlines())
