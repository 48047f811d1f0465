"""Backbones of transformers and timm: the same alphas as transformers gives, and the rule for every other stride."""

from __future__ import annotations

import copy
import importlib

import pytest
import torch
from nets import SPREAD, assert_close, random_input, randomise
from rounding import ALPHA, U, features_bound
from timm_alone import import_timm

from vitmatte import VitMatteConfig, VitMatteForImageMatting, load_model, matte
from vitmatte.inference import frames
from vitmatte.inference.plan import footprint_of
from vitmatte.inference.planning import MemoryLimitError, make_plan
from vitmatte.model.external import ExternalBackbone
from vitmatte.model.external_libraries import widen

transformers = pytest.importorskip("transformers")

DECODER = {"convstream_hidden_sizes": [8, 12, 16], "fusion_hidden_sizes": [24, 16, 12, 8]}


def dinov2(**changes):
    return transformers.Dinov2Config(**{
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 64, "patch_size": 16,
        "num_channels": 4, "out_features": ["stage3"], "reshape_hidden_states": True, **changes,
    })


def swin(**changes):
    return transformers.SwinConfig(**{
        "image_size": 64, "embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 4], "window_size": 4,
        "num_channels": 4, "out_features": ["stage3"], **changes,
    })


def convnext(**changes):
    return transformers.ConvNextConfig(**{
        "num_channels": 4, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "out_features": ["stage3"],
        "image_size": 64, **changes,
    })


def net_of(backbone, hidden, seed=0, **changes):
    net = VitMatteForImageMatting(VitMatteConfig(backbone_config=backbone, hidden_size=hidden, **DECODER, **changes))
    return randomise(net, seed)


@pytest.fixture(scope="module")
def timm():
    try:
        return import_timm()
    except ImportError:
        pytest.skip("timm is not installed")


def same_as_transformers(backbone, hidden, height, width, tmp_path, *, states=True):
    theirs = transformers.VitMatteForImageMatting(
        transformers.VitMatteConfig(backbone_config=backbone, hidden_size=hidden, **DECODER)
    )
    randomise(theirs)
    ours = VitMatteForImageMatting(VitMatteConfig(backbone_config=backbone, hidden_size=hidden, **DECODER)).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = random_input(height, width, batch=2)
    with torch.no_grad():
        expected = theirs(pixels, output_hidden_states=states)
        found = ours(pixels, output_hidden_states=states)
    assert expected.alphas.std() > SPREAD
    assert_close(found.alphas, expected.alphas, ALPHA)
    for a, b in zip(found.hidden_states or (), expected.hidden_states or (), strict=True):
        assert_close(a, b, features_bound(b))
    ours.save_pretrained(tmp_path)
    with torch.no_grad():
        read = VitMatteForImageMatting.from_pretrained(tmp_path)
        assert read.config.backbone_config == ours.config.backbone_config
        assert_close(read(pixels).alphas, expected.alphas, ALPHA)
        theirs = transformers.VitMatteForImageMatting.from_pretrained(tmp_path).eval()
        assert_close(theirs(pixels).alphas, expected.alphas, ALPHA)


@pytest.mark.parametrize(("backbone", "hidden"), [(dinov2(), 48), (swin(), 48), (convnext(), 24)],
                         ids=["dinov2", "swin", "convnext"])
def test_alphas_are_those_of_transformers(backbone, hidden, tmp_path):
    same_as_transformers(backbone, hidden, 96, 64, tmp_path)


def test_alphas_with_timm_are_those_of_transformers(timm, tmp_path):
    backbone = transformers.TimmBackboneConfig(backbone="vit_tiny_patch16_224", num_channels=4)
    # Asked for hidden states, transformers raises IndexError for a timm ViT.
    same_as_transformers(backbone, 192, 224, 224, tmp_path, states=False)


@pytest.mark.parametrize(("name", "hidden", "arguments"), [
    ("vit_tiny_patch16_224", 192, {}),  # any size, though it was made for one
    ("convnext_atto", 160, {"out_indices": [2]}),
    ("swin_tiny_patch4_window7_224", 384, {"out_indices": [2]}),  # gives channels last
    ("resnet18", 64 + 128 + 256, {"out_indices": [1, 2, 3]}),
])
def test_timm_by_name(timm, name, hidden, arguments, tmp_path):
    config = VitMatteConfig(backbone=name, use_timm_backbone=True, backbone_kwargs=arguments, hidden_size=hidden,
                            **DECODER)
    net = randomise(VitMatteForImageMatting(config), 2)  # weights whose alphas spread, whichever of the backbones it is
    assert net.config.backbone is None and net.config.backbone_config["backbone"] == name
    pixels = random_input(64, 96)
    with torch.no_grad():
        alphas = net(pixels).alphas
    net.save_pretrained(tmp_path)
    with torch.no_grad():
        assert_close(VitMatteForImageMatting.from_pretrained(tmp_path)(pixels).alphas, alphas, ALPHA)
    model, image, trimap = load_model(tmp_path), torch.rand(75, 90, 3), torch.full((75, 90), 0.5)
    found, expected = matte(model, image[None], trimap), whole_of(net, model, image, trimap)
    assert_close(found[0], expected, ALPHA)
    assert expected.std() > SPREAD


def whole_of(net, model, image, trimap):
    """The net's own alpha of an image of at most 96x96, padded as `model` pads it."""
    height, width = trimap.shape
    pixels = model.preprocessing.region(image, trimap, (0, 96), (0, 96), device=torch.device("cpu"),
                                        dtype=torch.float32)
    with torch.no_grad():
        return net(pixels).alphas[0, 0, :height, :width]


def test_timm_says_what_it_cannot(timm):
    with pytest.raises(ValueError, match=r"timm [\d.]+ makes no backbone 'resnet17'"):
        VitMatteForImageMatting(VitMatteConfig(backbone="resnet17", use_timm_backbone=True))
    with pytest.raises(ValueError, match="resnet18.*unexpected keyword argument 'depht'"):
        VitMatteForImageMatting(VitMatteConfig(backbone="resnet18", use_timm_backbone=True, hidden_size=512,
                                               backbone_kwargs={"depht": 3}))
    net = VitMatteForImageMatting(VitMatteConfig(backbone="resnet18", use_timm_backbone=True, hidden_size=512))
    assert len(net.eval()(random_input(32, 32), output_hidden_states=True).hidden_states) == 1
    with pytest.raises(ValueError, match="do not give their attentions"):
        net(random_input(32, 32), output_attentions=True)


@pytest.mark.parametrize("stride", [4, 8, 14, 16, 32])
def test_maps_of_any_stride_come_to_their_place(stride):
    """A map that holds where its places are, in pixels, says so at the decoder's places too."""
    runner = object.__new__(ExternalBackbone)
    runner.stride = 16
    count = -(-224 // stride) + 1
    centres = (torch.arange(count) + 0.5) * stride
    brought = runner._brought(centres.expand(1, 1, count, count), stride)[0, 0, 0]
    expected = (torch.arange(224 // 16) + 0.5) * 16
    inside = slice(1, -1) if stride == 32 else slice(None)  # at the very edge there is nothing to interpolate with
    assert_close(brought[:14][inside], expected[inside], 8 * U * 224)


@pytest.mark.parametrize(("backbone", "hidden", "strides"), [
    (dinov2(patch_size=14, image_size=56), 48, [14]),
    (dinov2(out_features=["stage1", "stage3"]), 96, [16, 16]),
    (dinov2(out_features=["stage1", "stage3"]), 48, [16, 16]),
    (swin(out_features=["stage4"]), 96, [32]),
    (convnext(out_features=["stage1", "stage2", "stage3", "stage4"]), 80, [4, 8, 16, 32]),
])
def test_matte_with_other_strides_and_several_maps(backbone, hidden, strides, tmp_path):
    net = net_of(backbone, hidden)
    assert net.external.strides == strides
    pixels = random_input(64, 96)
    with torch.no_grad():
        features = [net.external(pixels)]
        assert [list(x.shape) for x in features] == [[1, hidden, 4, 6]]
        plain = net(pixels).alphas
    net.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    steps, image = [], torch.rand(1, 75, 90, 3)
    trimap = torch.full((1, 75, 90), 0.5)
    trimap[:, :, :20] = 0
    found = matte(model, image, trimap, on_progress=lambda done, total: steps.append(done / total))
    assert found.shape == (1, 75, 90) and (found[:, :, :20] == 0).all()
    assert steps == sorted(steps) and steps[-1] == 1 and len(steps) > 5
    whole = whole_of(VitMatteForImageMatting.from_pretrained(tmp_path), model, image[0], trimap[0])
    assert_close(found[0, :, 20:], whole[:, 20:], ALPHA)
    assert plain.std() > 0.001


def test_interruption_reaches_inside():
    model = load_model_of(net_of(swin(), 48))
    calls = []

    def cancel():
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matte(model, torch.rand(1, 64, 64, 3), torch.full((64, 64), 0.5), check_interrupt=cancel)
    assert matte(model, torch.rand(1, 64, 64, 3), torch.full((64, 64), 0.5)).shape == (1, 64, 64)


def load_model_of(net):
    from vitmatte import MattingModel
    from vitmatte.inference.preprocessing import Preprocessing

    return MattingModel(net.requires_grad_(False), Preprocessing())


def test_out_of_memory_moves_it_to_smaller_tiles(monkeypatch):
    model = load_model_of(net_of(convnext(), 24))
    image, trimap = torch.rand(1, 96, 96, 3), torch.full((96, 96), 0.5)
    expected = matte(model, image, trimap)
    whole, calls = frames.decoded_tile, []

    def fails_once(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return whole(*args, **kwargs)

    monkeypatch.setattr(frames, "decoded_tile", fails_once)
    assert_close(matte(model, image, trimap), expected, ALPHA)
    assert len(calls) > 1


def test_the_plan_counts_the_backbone():
    net = net_of(swin(), 48)
    footprint = footprint_of(net, 1024, 1024, torch.float32, "cpu")
    plan = make_plan(footprint)
    assert plan.peak_bytes > 1024 * 1024 * net.external.largest * 4
    with pytest.raises(MemoryLimitError, match="takes at least"):
        make_plan(footprint, memory_limit=20_000_000)


def test_hidden_size_says_which_maps():
    with pytest.raises(ValueError, match=r"hidden_size is 384; expected 48.*\[48\] channels"):
        VitMatteForImageMatting(VitMatteConfig(backbone_config=dinov2()))
    with pytest.raises(ValueError, match=r"hidden_size is 7; expected 32 \(the last one's\), or 40 \(all of them"):
        net_of(convnext(out_features=["stage1", "stage4"]), 7)


@pytest.mark.parametrize("pretrained", [False, True])
def test_three_channels_become_four(pretrained, tmp_path):
    """Published weights begin as if the trimap were not there, as in the paper."""
    three = transformers.AutoBackbone.from_config(dinov2(num_channels=3)).eval()
    three.save_pretrained(tmp_path / "three")
    net = VitMatteForImageMatting(VitMatteConfig(backbone=str(tmp_path / "three"), hidden_size=48, **DECODER,
                                                 use_pretrained_backbone=pretrained)).eval()
    weight = net.backbone.embeddings.patch_embeddings.projection.weight
    assert weight.shape[1] == 4 and net.config.backbone_config["num_channels"] == 4
    assert bool((weight[:, 3] == 0).all()) == pretrained
    pixels = random_input(64, 64)
    with torch.no_grad():
        found, expected = net.external(pixels), three(pixels[:, :3]).feature_maps[0]
    assert torch.allclose(found, expected, atol=features_bound(expected)) == pretrained
    net.save_pretrained(tmp_path / "net")
    read = VitMatteForImageMatting.from_pretrained(tmp_path / "net")
    assert read.config.backbone_config == net.config.backbone_config


def test_only_one_convolution_is_widened():
    with pytest.raises(ValueError, match="2 convolutions of three channels; expected one"):
        widen(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 4, 1)))


def test_attentions_are_given(tmp_path):
    net = net_of(dinov2(), 48)
    pixels = random_input(64, 96)
    with torch.no_grad():
        output, plain = net(pixels, output_attentions=True, output_hidden_states=True), net(pixels)
    assert [list(a.shape) for a in output.attentions] == [[1, 3, 25, 25]] * 3 and len(output.hidden_states) == 4
    assert_close(output.alphas, plain.alphas, ALPHA)
    assert net.backbone.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(("values", "said"), [
    ({"backbone": "a", "backbone_config": {"model_type": "dinov2"}}, "backbone is 'a'; expected nothing"),
    ({"use_timm_backbone": True, "backbone_config": {"model_type": "dinov2"}}, "use_timm_backbone is True"),
    ({"backbone_kwargs": {"a": 1}, "backbone_config": {"model_type": "dinov2"}}, "give one of the two"),
    ({"use_pretrained_backbone": True, "backbone_config": {"model_type": "dinov2"}}, "give one of the two"),
    ({"use_timm_backbone": True}, "nothing without backbone"),
    ({"use_pretrained_backbone": True}, "nothing without backbone"),
    ({"backbone": ""}, "backbone is ''"),
    ({"backbone": "a", "backbone_kwargs": [1]}, "backbone_kwargs is [1]; expected a dict"),
])
def test_what_excludes_each_other(values, said):
    with pytest.raises(ValueError) as error:
        VitMatteConfig(**values)
    assert said in str(error.value)


@pytest.mark.parametrize(("values", "said"), [
    ({"backbone_config": {"model_type": "no_such"}}, "knows no model_type 'no_such'"),
    ({"backbone_config": {"model_type": "clip"}}, "makes no backbone of model_type 'clip'"),
])
def test_what_transformers_does_not_know(values, said):
    with pytest.raises(ValueError) as error:
        VitMatteForImageMatting(VitMatteConfig(**values))
    assert said in str(error.value)


@pytest.mark.parametrize(("name", "values"), [
    ("transformers", {"backbone_config": {"model_type": "dinov2"}}),
    ("transformers", {"backbone": "someone/dinov2"}),
    ("timm", {"backbone": "resnet50", "use_timm_backbone": True}),
])
def test_missing_libraries_are_named(name, values, monkeypatch):
    real = importlib.import_module

    def gone(wanted, *rest):
        if wanted == name:
            raise ModuleNotFoundError(f"No module named {wanted!r}")
        return real(wanted, *rest)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(ImportError, match=f"needs {name}.*: pip install {name}"):
        VitMatteForImageMatting(VitMatteConfig(**values))


def test_copies_run_by_themselves():
    net = net_of(convnext(), 24)
    other = randomise(copy.deepcopy(net), 1)
    pixels = random_input(64, 64)
    with torch.no_grad():
        assert (net(pixels).alphas - other(pixels).alphas).abs().max() > 0.01
    assert other.external.module is other.backbone and isinstance(net.half().dtype, torch.dtype)


def test_training_reaches_the_backbone():
    net = net_of(convnext(), 24).train()
    loss = net(random_input(64, 64), labels=torch.rand(1, 1, 64, 64)).loss
    loss.backward()
    first = net.backbone.embeddings.patch_embeddings.weight.grad
    assert bool((first[:, 3] != 0).any())
