"""Layers are called, not read: hooks, replaced layers and compilers see what they would see of any other module."""

from __future__ import annotations

import copy
import os
import shutil

import pytest
import torch
from nets import assert_close, random_input, random_net
from rounding import ALPHA, features_bound
from torch import nn
from torch.nn import functional as F

from vitmatte import MattingModel, load_net, matte
from vitmatte.export.subject import Subject
from vitmatte.inference import upsample
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.vitmatte import float32_copy
from vitmatte.weights.released import BUNDLED_FOLDER

IMAGE, TRIMAP = torch.rand(1, 40, 70, 3, generator=torch.Generator().manual_seed(0)), torch.full((40, 70), 0.5)
CONV = "decoder.fusion_blocks.1.conv.conv"
LAYERS = ["encoder.layer.0.attention.qkv", "encoder.layer.0.attention.proj", "encoder.layer.1.mlp.fc1",
          "encoder.layer.2.mlp.fc2", "encoder.layer.3.residual.norm3", "embeddings.projection"]
NAMES = [*(f"backbone.{name}" for name in LAYERS), CONV]


class TwiceLinear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class TwiceConv2d(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class TwiceLayerNorm(nn.LayerNorm):
    def forward(self, x):
        return 2 * super().forward(x)


class Twice(nn.Module):
    """A parametrisation."""

    def forward(self, x):
        return 2 * x


def subclassed(layer):
    layer.__class__ = {nn.Linear: TwiceLinear, nn.Conv2d: TwiceConv2d, nn.LayerNorm: TwiceLayerNorm}[type(layer)]


def hooked(layer):
    layer.register_forward_hook(lambda _, __, output: 2 * output)


def fed(layer):
    layer.register_forward_pre_hook(lambda _, given: (2 * given[0],))


def replaced(layer):
    theirs = layer.forward
    layer.forward = lambda x: 2 * theirs(x)


def parametrised(layer):
    nn.utils.parametrize.register_parametrization(layer, "weight", Twice())


CHANGES = [subclassed, hooked, fed, replaced, parametrised]


def scaled(layer, change):
    """The same function by the plain weights."""
    if change is fed and isinstance(layer, nn.LayerNorm):
        return  # it takes out what its input is multiplied by
    layer.weight.mul_(2)
    if layer.bias is not None and change not in (fed, parametrised):
        layer.bias.mul_(2)


@pytest.fixture(autouse=True)
def taps_for_every_width(monkeypatch):
    monkeypatch.setattr(upsample, "TAPS_CHANNELS", 1)


def both(net) -> list[torch.Tensor]:
    """The alphas of the plain forward with and without gradients, and of `matte`."""
    pixels = Preprocessing().net_input(IMAGE, TRIMAP[None])
    with torch.enable_grad():
        found = [net(pixels).alphas.detach()]
    with torch.no_grad():
        found.append(net(pixels).alphas)
    found = [alphas[:, 0, :40, :70] for alphas in found]
    return [*found, matte(MattingModel(net, Preprocessing()), IMAGE, TRIMAP, refine=0)]


@pytest.mark.numbers
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_layer_was_made_into_is_what_computes(name, change):
    net, expected = random_net(), random_net()
    change(net.get_submodule(name))
    with torch.no_grad():
        scaled(expected.get_submodule(name), change)
    for found, right, plain in zip(both(net), both(expected), both(random_net()), strict=True):
        assert_close(found, right, ALPHA)
        assert float((found - plain).abs().max()) > 1e-3 or (change is fed and "norm" in name)


@pytest.mark.numbers
@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_in_float32_computes_the_same(change):
    net = random_net()
    for name in NAMES:
        change(net.get_submodule(name))
    found, expected = both(float32_copy(net, "cpu")), both(net)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, ALPHA)
    half = float32_copy(copy.deepcopy(net).half(), "cpu")
    assert {x.dtype for x in half.parameters()} == {torch.float32}
    assert half.state_dict().keys() == net.state_dict().keys()


def test_every_layer_is_seen_by_hooks_of_all_layers():
    net, seen = random_net(), set()
    handle = nn.modules.module.register_module_forward_hook(lambda part, _, __: seen.add(id(part)))
    try:
        matte(MattingModel(net, Preprocessing()), IMAGE, TRIMAP)
    finally:
        handle.remove()
    missed = [name for name, part in net.named_modules()
              if list(part.parameters(recurse=False)) and not list(part.children()) and id(part) not in seen]
    assert missed == []


def test_taps_are_taken_of_plain_layers_alone(monkeypatch):
    conv, features = nn.Conv2d(10, 4, 3, padding=1), torch.rand(1, 8, 3, 3)
    assert upsample.by_taps(features, conv)
    for change in CHANGES:
        other = copy.deepcopy(conv)
        change(other)
        assert not upsample.by_taps(features, other), change.__name__
    comfys = type("Conv2d", (nn.Conv2d,), {"__module__": "comfy.ops", "weight_function": []})(10, 4, 3, padding=1)
    assert upsample.by_taps(features, comfys)
    comfys.bias_function = [lambda x: x]
    assert not upsample.by_taps(features, comfys)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not upsample.by_taps(features, conv)


@pytest.mark.parametrize("change", [subclassed, replaced, parametrised])
def test_what_an_export_would_leave_out_is_refused(change):
    net = random_net()
    change(net.backbone.encoder.layer[1].mlp.fc1)
    with pytest.raises(ValueError, match=r"backbone\.encoder\.layer\.1\.mlp\.fc1 is a .* merge it"):
        Subject(net, None)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_nets_can_be_compiled(backend):
    torch.compiler.reset()
    net, pixels = random_net(), random_input(48, 64)
    with torch.no_grad():
        assert_close(torch.compile(net, backend=backend)(pixels).alphas, net(pixels).alphas, ALPHA)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no compiler for C++")
@pytest.mark.skipif(os.environ.get("ATEN_CPU_CAPABILITY") == "default", reason="torch's compiler needs vectors")
def test_layers_can_be_compiled_to_machine_code():
    torch.compiler.reset()
    mlp, x = random_net().backbone.encoder.layer[0].mlp, torch.randn(7, 48)
    with torch.no_grad():
        assert_close(torch.compile(mlp)(x), mlp(x), features_bound(mlp(x)))


@pytest.mark.numbers
def test_the_bundled_net_is_the_same_with_and_without_gradients():
    found = both(load_net(BUNDLED_FOLDER, folded=True))
    assert_close(found[0], found[1], ALPHA)
    assert_close(found[2], found[1], ALPHA)


def test_quantised_weights_are_computed_with():
    """As torchao does it: a plain nn.Linear whose weight is a tensor of another class."""

    class Halved(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, arguments=(), keywords=None):
            if function is not F.linear:
                return super().__torch_function__(function, types, arguments, keywords or {})
            plain = [x.as_subclass(torch.Tensor) / 2 if isinstance(x, Halved) else x for x in arguments]
            return function(*plain, **(keywords or {}))

    net, plain = random_net(), random_net()
    layer = net.backbone.encoder.layer[0].mlp.fc2
    layer.weight = nn.Parameter((layer.weight.detach() * 2).as_subclass(Halved), requires_grad=False)
    pixels = random_input(32, 48)
    with torch.no_grad():
        assert_close(net(pixels).alphas, plain(pixels).alphas, ALPHA)
