"""float16 reaches 65504: a net that goes beyond is noticed wherever it does, and computed in float32."""

from __future__ import annotations

import copy
import logging
from copy import deepcopy

import pack
import pytest
import torch
from attentions import random_attention
from nets import SPREAD, assert_close, random_net
from paths import DATA, ROOT
from rounding import ALPHA
from safetensors.torch import load_file

from vitmatte import MattingModel, VitMatteForImageMatting, load_model, matte
from vitmatte.export.subject import Subject
from vitmatte.inference.attention import _biases
from vitmatte.inference.context import Context
from vitmatte.inference.frames import NotFiniteError
from vitmatte.inference.plan import Footprint
from vitmatte.inference.planning import make_plan
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.vitmatte import float32_copy

pytestmark = pytest.mark.numbers

BLOCK = "backbone.encoder.layer.1."
HEAD = "decoder.matting_head.matting_convs."
# A layer whose result is made too large, and the one that takes it back where a linear function lies between.
PLACES = {
    "patches": ("backbone.embeddings.projection.weight", None),
    "queries": (f"{BLOCK}attention.qkv.weight", None),
    "MLP": (f"{BLOCK}mlp.fc1.weight", f"{BLOCK}mlp.fc2.weight"),
    "residual": (f"{BLOCK}residual.conv2.weight", None),
    "details": ("decoder.convstream.convs.0.conv.weight", None),
    "deepest details": ("decoder.convstream.convs.2.conv.weight", None),
    "first fusion": ("decoder.fusion_blocks.0.conv.conv.weight", "decoder.fusion_blocks.1.conv.conv.weight"),
    "last fusion": ("decoder.fusion_blocks.3.conv.conv.weight", f"{HEAD}0.weight"),
    "head": (f"{HEAD}0.weight", f"{HEAD}3.weight"),
}
GENERATOR = torch.Generator().manual_seed(0)
IMAGE, TRIMAP = torch.rand(2, 30, 32, 3, generator=GENERATOR), torch.full((30, 32), 0.5)
TRIMAP[:, :9] = 1


def folded(net: VitMatteForImageMatting) -> VitMatteForImageMatting:
    made = deepcopy(net)
    made.fold()
    return made.eval().requires_grad_(False)


def model_of(net: VitMatteForImageMatting) -> MattingModel:
    return MattingModel(net, Preprocessing())


@pytest.fixture
def too_large(request):
    """A net in float16 that overflows in one place."""
    large, small = PLACES[request.param]
    net = folded(random_net())
    state = net.state_dict()
    state[large].mul_(5e4)
    state[large.replace("weight", "bias")].mul_(5e4) if large.replace("weight", "bias") in state else None
    if small:
        state[small].div_(5e4)
    return net.half()


@pytest.mark.parametrize("too_large", PLACES, indirect=True)
def test_an_overflow_is_computed_in_float32(too_large, caplog):
    found = matte(model_of(too_large), IMAGE, TRIMAP)
    assert "float16 overflowed in a picture of 32x30" in caplog.text
    assert_close(found, matte(model_of(float32_copy(too_large, "cpu")), IMAGE, TRIMAP), ALPHA)
    assert too_large.dtype == torch.float16


def test_what_fits_stays_in_float16(caplog):
    net = folded(random_net())
    found = matte(model_of(copy.deepcopy(net).half()), IMAGE, TRIMAP)
    assert not caplog.records and found.std() > SPREAD
    difference = (found - matte(model_of(net), IMAGE, TRIMAP)).abs()
    assert 0 < difference.max() < 0.05  # it was computed in another precision


def test_what_hides_an_overflow_does_not_hide_it(caplog):
    """Convolutions whose weights are all below 0, or a norm of negative scale, and ReLU make 0 of infinite values."""
    first = "decoder.convstream.convs.0."
    for net in (folded(random_net()), random_net()):
        state = net.state_dict()
        state[f"{first}conv.weight"].abs_().mul_(5e4)
        if net.folded:
            state["decoder.convstream.convs.1.conv.weight"].abs_().neg_()
            state["decoder.fusion_blocks.2.conv.conv.weight"].abs_().neg_()
        else:
            for part in ("weight", "bias"):
                state[f"{first}batch_norm.{part}"].fill_(-1.0)
        caplog.clear()
        found = matte(model_of(net.half()), torch.ones_like(IMAGE), TRIMAP)
        assert "float16 overflowed" in caplog.text
        assert_close(found, matte(model_of(float32_copy(net, "cpu")), torch.ones_like(IMAGE), TRIMAP), ALPHA)


def test_a_memory_limit_holds_for_float32_as_well_as_it_can(caplog):
    net = folded(random_net())
    net.state_dict()[f"{HEAD}0.weight"].mul_(5e4)
    net = net.half()
    least = make_plan(Footprint(net.architecture, 30, 32, torch.float16)).peak_bytes  # of one frame, so one by one
    found = matte(model_of(net), IMAGE, TRIMAP, memory_limit=least)
    assert caplog.text.count("float16 overflowed") == 1  # what follows begins in float32
    assert_close(found, matte(model_of(float32_copy(net, "cpu")), IMAGE, TRIMAP), ALPHA)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["backbone.embeddings.projection.weight", f"{BLOCK}mlp.fc2.weight",
                                  "decoder.fusion_blocks.2.conv.conv.weight", f"{HEAD}3.bias"])
def test_weights_that_are_not_finite_give_an_error_and_no_matte(name, value):
    net = folded(random_net())
    net.state_dict()[name].view(-1)[0] = value
    with pytest.raises(NotFiniteError, match=r"infinite or not a number \(NaN\) in torch.float32: its weights are dam"):
        matte(model_of(net), IMAGE, TRIMAP)


def test_weights_beyond_float16_are_told_when_loading(tmp_path):
    net = random_net()
    net.state_dict()[f"{BLOCK}mlp.fc2.weight"][0, 0] = 1e5
    net.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"1 tensors .*{BLOCK}mlp.fc2.weight 100000\); load it"):
        load_model(tmp_path, dtype=torch.float16)
    for dtype in (torch.float32, torch.bfloat16):
        assert bool(matte(load_model(tmp_path, dtype=dtype), IMAGE, TRIMAP).isfinite().all())


def test_the_bundled_net_is_the_same_in_float16_however_it_is_made():
    """A running variance of 190,165, infinite in float16, made a channel constant: alpha was off by up to 0.145."""
    image, trimap = (load_file(DATA / "golden.safetensors")[name] for name in ("image", "trimap"))
    image, trimap = image[None].float() / 255, torch.where(trimap == 128, 0.5, trimap / 255)
    exact = matte(load_model(), image, trimap)
    folder = ROOT / "vitmatte" / "bundled" / "vitmatte-tiny"
    nets = [VitMatteForImageMatting.from_pretrained(folder).half(),
            VitMatteForImageMatting.from_pretrained(folder).to(torch.float16),
            VitMatteForImageMatting.from_pretrained(folder, dtype=torch.float16), load_model(dtype=torch.float16).net]
    for net in nets:
        # Of the logit 16 roundings of 2^-11, of magnitudes up to 10, remain; alpha moves by a quarter of the logit.
        assert float((matte(model_of(net), image, trimap) - exact).abs().max()) < 16 * 10 * 2**-11 / 4
    for name, value in nets[0].state_dict().items():
        assert bool(value.isfinite().all()), name


CASTS = {
    "half": lambda net: net.half(),
    "to": lambda net: net.to(torch.float16),
    "to with a device": lambda net: net.to("cpu", torch.float16),
    "type": lambda net: net.type(torch.float16),
    "of the decoder alone": lambda net: net.decoder.half(),
    "copied into a net of halves": lambda net: random_net().half().load_state_dict(net.state_dict()),
    "of an export": lambda net: Subject(net, torch.float16),
}


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("name", ["conv.weight", "batch_norm.running_mean", "batch_norm.running_var",
                                  "batch_norm.weight", "batch_norm.bias"])
def test_a_cast_that_overflows_is_an_error(name, cast):
    net = random_net()
    net.state_dict()[f"decoder.fusion_blocks.1.conv.{name}"].view(-1)[0] = -190165.0
    before = {key: value.clone() for key, value in net.state_dict().items()}
    if cast == "of an export":  # there BatchNorms are folded first, and what matters is the product
        net.state_dict()["decoder.fusion_blocks.1.conv.conv.weight"][0, 0, 0, 0] = -190165.0
        net.state_dict()["decoder.fusion_blocks.1.conv.batch_norm.running_var"][0] = 1
        net.state_dict()["decoder.fusion_blocks.1.conv.batch_norm.weight"][0] = 1
        before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"fusion_blocks\.1\.conv\..* (190165|190164).*use float32 or bfloat16"):
        CASTS[cast](net)
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())
    assert net.to(torch.bfloat16).dtype == torch.bfloat16


def test_moves_and_wider_types_are_not_checked():
    net = random_net()
    net.state_dict()["decoder.fusion_blocks.1.conv.batch_norm.running_var"][0] = 190165.0
    for moved in (net.to("cpu"), net.float(), net.double(), net.to(memory_format=torch.channels_last),
                  net.to_empty(device="meta")):
        assert moved is net


@pytest.mark.parametrize("place", [None, torch.tensor([0, 2, 3, 7, 11])])
def test_relative_terms_whose_sum_would_overflow_are_noticed(place):
    """On a GPU scores are float16; two terms of 40,000 make an infinite sum, of -40,000 a token that is not seen."""
    queries, _, _, _, relative = random_attention((3, 4), 2)
    queries = (queries if place is None else queries[:, place]).half()
    relative = type(relative)(relative.rows.half(), relative.columns.half())
    for scale, expected in ((1, False), (20000, True)):
        run = Context()
        buffer = torch.empty(queries.shape[0] * 12 * 12, dtype=torch.float16)
        for _ in _biases(relative, queries * scale, (3, 4), 12, place, 5, buffer, run):
            pass
        assert run.overflowed(torch.float16) is expected


def test_comfyuis_layers_take_the_pictures_precision(caplog):
    """ComfyUI's layers cast their weights, so no copy of the net is made."""
    pack.load()
    import comfy.ops

    model = load_model(dtype=torch.float16, operations=comfy.ops.manual_cast)
    model.net.state_dict()["decoder.fusion_blocks.3.conv.conv.weight"].mul_(6e4)
    with caplog.at_level(logging.WARNING):
        found = matte(model, IMAGE, TRIMAP)
    assert "float16 overflowed" in caplog.text
    assert_close(found, matte(MattingModel(float32_copy(model.net, "cpu"), Preprocessing()), IMAGE, TRIMAP), ALPHA)
