"""MEMatte: its authors' alphas, and what its routers decide."""

from __future__ import annotations

import pytest
import torch
from mematte import is_decided, mematte_config, random_mematte, routed_shares
from nets import SPREAD, assert_close, random_input
from paths import DATA
from rounding import ALPHA, FEATURES, rounding_of
from safetensors.torch import load_file, save_file

from vitmatte import MattingModel, VitDetConfig, load_model, matte
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.routing import channel_kernel
from vitmatte.weights.load import load_net

pytestmark = pytest.mark.numbers

GOLDEN = DATA / "mematte.safetensors"  # see support/make_mematte.py


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """(the file's tensors, the net in a file with its authors' names)."""
    content = load_file(GOLDEN)
    path = tmp_path_factory.mktemp("golden") / "MEMatte.safetensors"
    save_file({name[4:]: value for name, value in content.items() if name.startswith("net.")}, path)
    return content, path


def limited(path, limit: int):
    """The net of a file with another limit."""
    net = load_net(path)
    for layer in net.backbone.encoder.layer:
        if layer.router is not None:
            layer.router.limit = limit
    return net


@pytest.mark.parametrize(("number", "limit"), [(0, None), (1, None), (2, None), (1, 6)])
def test_the_authors_alpha(golden, number, limit):
    content, path = golden
    image, trimap = content[f"image.{number}"] / 255, content[f"trimap.{number}"]
    trimap = torch.where(trimap == 128, 0.5, trimap / 255)
    name = f"{number}.limit" if limit else f"{number}"
    expected, routed = content[f"alpha.{name}"], content[f"routed.{name}"]
    assert expected.std() > SPREAD
    net = load_net(path) if limit is None else limited(path, limit)
    preprocessing = Preprocessing(both_sides=True)
    pixels = preprocessing.net_input(image[None], trimap[None])
    places = pixels.shape[2] * pixels.shape[3] // 256
    assert [round(share * places) for share in routed_shares(net, pixels)] == routed.tolist()
    assert all(0 < count < places for count in routed.tolist()) and (limit is None or routed.tolist() == [limit] * 2)
    with torch.no_grad():
        assert_close(net(pixels)[0, 0, :image.shape[0], :image.shape[1]], expected, ALPHA)
    unknown = trimap == 0.5
    model = MattingModel(net, Preprocessing()) if limit else load_model(path)  # which knows how its net pads
    assert model.preprocessing == preprocessing
    assert_close(matte(model, image[None], trimap)[0][unknown], expected[unknown], ALPHA)


def test_rounding_is_as_of_other_nets():
    pixels = random_input(96, 144)
    found = 2 * rounding_of(random_mematte(), lambda net: [net(pixels.double()).alphas])
    assert ALPHA / 16 < found < ALPHA, found
    assert all(0.05 < share < 0.95 for share in routed_shares(random_mematte(), pixels))


def test_each_picture_is_routed_by_itself():
    net = random_mematte(mematte_config(limit=9))
    pixels = next(pixels for pixels in (random_input(96, 80, seed, batch=3) for seed in range(50))
                  if all(is_decided(net, one) for one in pixels.split(1)))
    alphas = net(pixels).alphas
    for i in range(3):
        assert_close(alphas[i:i + 1], net(pixels[i:i + 1]).alphas, ALPHA)


def test_who_is_not_routed_passes_the_light_block():
    """Where routers pick nobody, attention's weights mean nothing; where they pick all, the light block's."""
    pixels = random_input(64, 96)
    for bias, unused in ((-1e3, "attention.qkv.weight"), (1e3, "efficient_block.fc1.weight")):
        net = random_mematte()
        layers = [layer for layer in net.backbone.encoder.layer if layer.router is not None]
        with torch.no_grad():
            for layer in layers:
                layer.router.out_conv[4].bias[0] = bias
            before = net(pixels).alphas
            for layer in layers:
                layer.get_parameter(unused).mul_(1.5)
            assert_close(net(pixels).alphas, before, 0)
        assert routed_shares(net, pixels) == [float(bias > 0)] * 2


def test_the_limit_keeps_the_largest_margins():
    router = random_mematte(mematte_config(limit=3)).backbone.encoder.layer[1].router
    margins = torch.tensor([[[0.5, 3.0, -1.0], [2.0, 0.1, 1.0]], [[-1.0, -2.0, 1.0], [-3.0, 0.2, -5.0]]])
    assert router.routed(margins).int().tolist() == [[[0, 1, 0], [1, 0, 1]], [[0, 0, 1], [0, 1, 0]]]


def test_gradients_reach_both_ways_but_no_router():
    net = random_mematte().requires_grad_(True)
    net(random_input(96, 80)).alphas.sum().backward()
    layer = net.backbone.encoder.layer[1]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in (layer.attention.qkv.weight,
                                                                       layer.efficient_block.fc1.weight))
    assert all(p.grad is None for p in layer.router.parameters())


@pytest.mark.parametrize(("channels", "length"), [(384, 5), (768, 5), (48, 3), (24, 3)])
def test_channel_kernels(channels, length):
    assert channel_kernel(channels) == length


@pytest.mark.parametrize(("changes", "said"), [
    ({"max_routed_tokens": 0}, "max_routed_tokens is 0; expected a whole number of at least 1"),
    ({"max_routed_tokens": 9, "attention_reach": 4}, "attention_reach is 4; expected None with max_routed_tokens"),
    ({"max_routed_tokens": 9, "hidden_size": 30, "num_attention_heads": 3}, "hidden_size is 30; expected a multiple"),
])
def test_wrong_configurations(changes, said):
    with pytest.raises(ValueError, match=said):
        VitDetConfig(**changes).architecture()


def test_features_bound_is_that_of_other_nets():
    pixels = random_input(64, 96, batch=2).double()
    found = 2 * rounding_of(random_mematte(seed=3), lambda net: net(pixels, output_hidden_states=True).hidden_states)
    assert found < FEATURES, found
