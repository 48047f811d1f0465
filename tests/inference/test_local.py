"""Attention within a reach, computed for needed tokens alone, against the readable network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPREAD, assert_close, random_net, small_config
from rounding import ALPHA
from test_bounded import scene
from torch.nn import functional as F

from vitmatte import MattingModel, matte
from vitmatte.inference.decode import decoder_shape
from vitmatte.inference.frames import Frame, Setting, compute
from vitmatte.inference.matting import prepare
from vitmatte.inference.needed import (
    SEEING,
    areas,
    distance_to_known,
    grown,
    tokens_by_block,
    touched,
    whole_windows,
)
from vitmatte.inference.plan import SIDES, Plan, footprint_of
from vitmatte.inference.planning import make_plan
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.inference.scope import EVERYWHERE, Scope, default_margin, scope_of
from vitmatte.inference.tiles import features_seen
from vitmatte.model.attention import RelativePositions, attention_probabilities, reach_mask, relative_table
from vitmatte.model.block import convolved
from vitmatte.trimap.known import known_areas

pytestmark = pytest.mark.numbers

CPU = torch.device("cpu")
MODEL = MattingModel(random_net(), Preprocessing())
NO_ABSOLUTE = MattingModel(random_net(small_config(use_absolute_position_embeddings=False, qkv_bias=False)),
                           Preprocessing())
FIRST_GLOBAL = MattingModel(random_net(small_config(window_block_indices=[1], residual_block_indices=[0])),
                            Preprocessing())
PLAIN = MattingModel(random_net(small_config(use_relative_position_embeddings=False)), Preprocessing())
MODELS = {"all parts": MODEL, "no absolute positions": NO_ABSOLUTE, "global first": FIRST_GLOBAL, "no tables": PLAIN}


def reference(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor, reach: int,
              margin: int | None) -> torch.Tensor:
    """The alpha [H, W] by the definition: every token that exists, all scores at once, masked."""
    net, architecture = model.net, model.net.architecture.transformer
    pixels = model.preprocessing.net_input(image[None], trimap[None])
    grid = pixels.shape[2] // 16, pixels.shape[3] // 16
    exists = torch.ones(grid, dtype=torch.bool)
    if margin is not None:
        needed = features_seen((trimap > 0) & (trimap < 1), grid, 4)
        exists = whole_windows(grown(needed, margin), architecture.window_size)
    x = net.backbone.embeddings(pixels)
    for layer in net.backbone.encoder.layer:
        y, part = layer.norm1(x), layer.attention
        if part.window:
            y = part(y)
        else:
            queries, keys, values = part.split(y, grid)
            relative = None
            if part.relative:
                relative = RelativePositions(*(relative_table(table, length, reach) for table, length in
                                               zip((part.rel_pos_h, part.rel_pos_w), grid, strict=True)))
            mask = reach_mask(grid, reach, CPU) & (exists.flatten()[None, :] | ~exists.flatten()[:, None])
            y = part.join(attention_probabilities(queries, keys, relative, mask) @ values, x.shape, grid)
        x = x + y
        x = x + layer.mlp(layer.norm2(x))
        if (block := layer.residual) is not None:
            inner = block.activation(block.norm1(convolved(block.conv1, x))) * exists[None, :, :, None]
            inner = block.activation(block.norm2(convolved(block.conv2, inner)))
            x = x + block.norm3(convolved(block.conv3, inner))
    alphas = net.decoder(x.permute(0, 3, 1, 2), pixels)
    return alphas[0, 0, :trimap.shape[0], :trimap.shape[1]]


def computed(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor, scope: Scope, plan: Plan) -> torch.Tensor:
    """The alpha by a plan; -1 where nothing was written."""
    out = torch.full(trimap.shape, -1.0)
    footprint = footprint_of(model.net, *trimap.shape, torch.float32, "cpu", scope=scope)
    with torch.inference_mode():
        compute(Setting(model, CPU, footprint, plan), [Frame(image, trimap, out, scope)], lambda share: None)
    return out


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 230), width=st.integers(1, 230), seed=st.integers(0, 99), kind=st.sampled_from(
        ["all", "corners", "edges", "specks", "box"]),
    reach=st.sampled_from([1, 2, 3, 5, 20]), margin=st.sampled_from([None, 0, 1, 4]),
    band=st.sampled_from([1, 5_000, 60_000, 10**7]), chunk=st.sampled_from([1, 20_000, 10**7]),
    side=st.sampled_from(SIDES), name=st.sampled_from(list(MODELS)),
)
def test_any_chunking_gives_the_definitions_alpha(height, width, seed, kind, reach, margin, band, chunk, side, name):
    model, (image, trimap) = MODELS[name], scene(height, width, seed, kind)
    unknown = trimap == 0.5
    with torch.inference_mode():
        expected = reference(model, image, trimap, reach, margin)
    found = computed(model, image, trimap, Scope(reach=reach, margin=margin), Plan(band, chunk, side, 1, 0))
    assert_close(found[unknown], expected[unknown], ALPHA)
    assert (found[~unknown] == -1).all()


@torch.inference_mode()
def test_a_reach_over_the_whole_grid_is_attention_to_all_with_tables_as_trained():
    image, trimap = scene(96, 96, 3, "all")  # 6 x 6 tokens, as the tables were made for: nothing is stretched
    found = computed(MODEL, image, trimap, Scope(reach=6), Plan(10**7, 10**7, 256, 1, 0))
    pixels = MODEL.preprocessing.net_input(image[None], trimap[None])
    assert_close(found, MODEL.net(pixels).alphas[0, 0], ALPHA)


@torch.inference_mode()
def test_the_configuration_carries_the_reach():
    """`forward` of a net that has a reach is the same function as local inference of one that has none."""
    net = random_net(small_config(attention_reach=2))
    image, trimap = scene(130, 100, 5, "all")
    expected = net(MODEL.preprocessing.net_input(image[None], trimap[None])).alphas[0, 0, :130, :100]
    with_reach = MattingModel(net, Preprocessing())
    assert_close(matte(with_reach, image[None], trimap)[0], expected, ALPHA)  # all unknown: as far as it can
    assert_close(matte(with_reach, image[None], trimap, strategy="exact")[0], expected, ALPHA)
    own = MattingModel(random_net(), Preprocessing())
    found = matte(own, image[None], trimap, strategy="local", reach=2, margin=100)[0]
    assert_close(found, expected, ALPHA)
    assert float((matte(own, image[None], trimap, strategy="exact")[0] - expected).abs().max()) > SPREAD / 10


@pytest.mark.parametrize("side", [64, 144])  # tokens within the reach of each other, and not
@pytest.mark.parametrize("strategy", ["auto", "exact", "grid"])
@torch.inference_mode()
def test_small_pictures_have_tables_as_trained(side, strategy):
    """A reach that spans the grid is attention to all, on a way of its own: frames run together there."""
    net = random_net(small_config(attention_reach=7))
    image, trimap = torch.rand(3, side, side, 3), torch.full((side, side), 0.5)
    expected = net(MODEL.preprocessing.net_input(image, trimap.expand(3, -1, -1))).alphas[:, 0, :side, :side]
    assert_close(matte(MattingModel(net, Preprocessing()), image, trimap, strategy=strategy), expected, ALPHA)


@pytest.mark.parametrize("size", [(96, 64), (160, 224)])
def test_forward_without_gradients_is_the_same_in_bounded_memory(size):
    net = random_net(small_config(attention_reach=5))
    pixels = torch.randn(2, 4, *size)
    with torch.no_grad():
        found = net(pixels, output_hidden_states=True)
    expected = net(pixels, output_hidden_states=True)
    assert expected.alphas.requires_grad and not found.alphas.requires_grad
    assert_close(found.alphas, expected.alphas.detach(), ALPHA)
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_close(one, other.detach(), ALPHA)


def test_gradients_of_a_net_with_a_reach():
    net = random_net(small_config(attention_reach=2)).train()
    net(torch.randn(1, 4, 128, 96)).alphas.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("margin", [None, 3])
def test_arithmetic_reported_is_the_arithmetic_foreseen(share, margin):
    image, trimap = torch.rand(300, 260, 3), torch.zeros(300, 260)
    trimap[100:100 + int(200 * share), 20:] = 0.5
    shares: list[float] = []
    footprint = footprint_of(MODEL.net, 300, 260, torch.float32, "cpu", scope=Scope(reach=2, margin=margin))
    with torch.inference_mode():
        frame = Frame(image, trimap, torch.empty(300, 260), footprint.scope)
        compute(Setting(MODEL, CPU, footprint, make_plan(footprint)), [frame], shares.append)
    assert shares == sorted(shares) and len(shares) > 5 and abs(shares[-1] - 1) < 0.1


@torch.inference_mode()
def test_of_the_picture_only_what_is_needed_is_read():
    """One unknown pixel of a large picture: no more than its surroundings may be touched."""
    image, trimap = torch.full((1600, 1600, 3), float("nan")), torch.zeros(1600, 1600)
    trimap[800, 800] = 0.5
    image[500:1100, 500:1100] = 0.5
    found = computed(MODEL, image, trimap, Scope(reach=3, margin=4), Plan(10**7, 10**7, 256, 1, 0))
    assert found[800, 800].isfinite()


def test_sets_of_tokens_grow_backwards():
    config = MODEL.net.architecture.transformer
    needed = torch.zeros(40, 30, dtype=torch.bool)
    needed[20, 15] = True
    blocks = tokens_by_block(needed, config, 2, None)
    for before, after in zip(blocks, blocks[1:], strict=False):
        assert before.wanted.equal(after.seen)
    for number, block in enumerate(blocks):
        assert not (block.wanted & ~block.attending).any() and not (block.attending & ~block.seen).any()
        window = config.window_of(number)
        if window:
            assert block.seen.equal(whole_windows(block.attending, window))
    assert int(blocks[-1].attending.sum()) == 9 and int(blocks[-1].seen.sum()) == 49
    few = tokens_by_block(needed, config, 2, 1)
    assert int(few[0].seen.sum()) < int(blocks[0].seen.sum())


def test_cells():
    mask = torch.zeros(5, 7, dtype=torch.bool)
    mask[4, 6] = True
    assert touched(mask, 3).tolist() == [[False] * 3, [False, False, True]]
    assert whole_windows(mask, 3).nonzero().tolist() == [[3, 6], [4, 6]]
    assert grown(mask, 2).sum() == 9 and grown(mask, 0) is mask
    assert F.pad(grown(mask, 1), (0, 1)).shape == (5, 8)


def band(side: int, width: int) -> torch.Tensor:
    """A trimap of a square whose edge is unknown over `width` pixels."""
    trimap = torch.zeros(side, side)
    near, far = side // 4 - width // 2, side // 4 + width // 2
    trimap[near:side - near, near:side - near] = 0.5
    trimap[far:side - far, far:side - far] = 1
    return trimap


@settings(max_examples=200, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), by=st.integers(0, 70), seed=st.integers(0, 99),
       share=st.sampled_from([0, 0.001, 0.01, 0.5]))
def test_a_mask_grows_as_the_definition_says(height, width, by, seed, share):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < share
    pooled = F.max_pool2d(mask[None].float(), 2 * by + 1, stride=1, padding=by)[0] > 0
    assert grown(mask, by).equal(pooled)


@pytest.mark.parametrize(("width", "distance"), [(32, 2), (64, 4), (128, 8), (192, 10)])
def test_the_distance_to_what_is_known(width, distance):
    """A token on one side of a band of w tokens sees the other side w tokens away."""
    assert distance_to_known(areas(band(640, width), 16), 2, 10) == distance


def test_distances_at_the_bounds():
    trimap = band(640, 32)
    assert distance_to_known(areas(trimap, 16), 5, 9) == 5
    assert distance_to_known(areas(trimap.clamp_max(0.5), 16), 5, 9) == 9  # no foreground at all
    trimap[:16, :16] = 0.5  # an island of less than a twentieth of the unknown tokens
    assert distance_to_known(areas(trimap, 16), 2, 10) == 2
    trimap[:96, :96] = 0.5
    assert distance_to_known(areas(trimap, 16), 2, 10) > 2


def slow_distance(trimap: torch.Tensor, stride: int, least: int, most: int) -> int:
    foreground, background = (touched(area, stride).nonzero() for area in known_areas(trimap))
    unknown = touched((trimap > 0) & (trimap < 1), stride).nonzero()
    for distance in range(least, most):
        seeing = [any((a - u).abs().max() <= distance for a in foreground)
                  and any((b - u).abs().max() <= distance for b in background) for u in unknown]
        if sum(seeing) >= SEEING * len(seeing):
            return distance
    return most


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 180), width=st.integers(1, 180), seed=st.integers(0, 99),
       kind=st.sampled_from(["all", "corners", "edges", "specks", "box"]))
def test_distances_are_those_of_the_definition(height, width, seed, kind):
    trimap = scene(height, width, seed, kind)[1]
    trimap[torch.rand(trimap.shape, generator=torch.Generator().manual_seed(seed)) < 0.002] = 1
    assert distance_to_known(areas(trimap, 16), 1, 7) == slow_distance(trimap, 16, 1, 7)


@torch.inference_mode()
def test_a_net_with_a_reach_looks_as_far_as_the_unknown_area_is_wide():
    net = MattingModel(random_net(small_config(attention_reach=10)), Preprocessing())
    image = torch.rand(1, 400, 400, 3)
    trimaps = torch.stack([band(400, width) for width in (16, 32, 48, 160)])
    found = matte(net, image, trimaps)
    for trimap, alpha, reach in zip(trimaps, found, (4, 5, 8, 10), strict=True):
        single = matte(net, image, trimap)[0]
        assert alpha.equal(single)  # whatever the other frames of the batch are
        assert alpha.equal(matte(net, image, trimap, strategy="local", reach=reach)[0])


@torch.inference_mode()
def test_small_pictures_take_all_of_the_reach():
    net = MattingModel(random_net(small_config(attention_reach=31)), Preprocessing())
    image = torch.rand(1, 512, 480, 3)  # 32 x 30 tokens, all within the reach
    trimap = band(512, 32)[:, :480]
    scopes = prepare(net, image, trimap.expand(2, -1, -1)).scopes
    assert scopes == [EVERYWHERE] * 2 == prepare(net, image, trimap.expand(2, -1, -1), strategy="exact").scopes
    wider = F.pad(trimap, (0, 64))  # 32 x 34
    assert [scope.reach for scope in prepare(net, image.new_zeros(1, 512, 544, 3), wider).scopes] == [12]


@pytest.mark.parametrize(("side", "reach"), [(544, 28), (1024, 28), (1040, 12)])  # 34, 64 and 65 tokens
def test_large_pictures_look_less_far_beyond_a_wide_area(side, reach):
    net = MattingModel(random_net(small_config(attention_reach=31)), Preprocessing())
    trimap = band(side, 176)  # 11 tokens
    assert [s.reach for s in prepare(net, torch.zeros(1, side, side, 3), trimap).scopes] == [reach]


def test_a_reach_may_be_a_number_of_numpys():
    assert scope_of("local", MODEL.net.architecture, reach=np.int64(5), margin=np.int8(0)) == \
        scope_of("local", MODEL.net.architecture, reach=5, margin=0)


def test_strategies():
    plain, own = MODEL.net.architecture, random_net(small_config(attention_reach=2)).architecture
    large = (90, 90)
    assert {scope_of(name, plain).of(9, large) for name in ("exact", "auto")} == {Scope()}
    assert scope_of("grid", plain).of(9, large) == Scope(strided=True)
    assert scope_of("exact", own).of(0, large) == Scope(reach=2)  # what `forward` is
    assert scope_of("grid", own) == scope_of("auto", own) == scope_of("local", own)
    assert scope_of("auto", own).of(9, large) == Scope(reach=2, margin=default_margin(2))
    assert scope_of("auto", own).of(0, large) == Scope(reach=1, margin=default_margin(1))
    assert scope_of("local", own, margin=5).of(0, large) == Scope(reach=1, margin=5)
    assert {scope_of("local", plain).of(n, large).reach for n in range(9)} == {3}  # half of its tables' 6 tokens
    assert {scope_of("local", own, reach=5, margin=0).of(n, large) for n in range(9)} == {Scope(reach=5, margin=0)}
    assert scope_of("exact", plain).of_all(large) == Scope()
    assert scope_of("exact", own).of_all((3, 3)) == scope_of("auto", own).of_all((3, 2)) == EVERYWHERE
    for rule, grid in ((scope_of("exact", own), (3, 4)), (scope_of("auto", own), (3, 4)),
                       (scope_of("local", own, margin=0), (2, 2))):
        assert rule.of_all(grid) is None
    with pytest.raises(ValueError, match="reach and margin are for strategy 'local'"):
        scope_of("exact", own, reach=2)
    for given_, said in (({"reach": 0}, "reach is 0"), ({"reach": 1.5}, "reach is 1.5"), ({"margin": -1}, "margin")):
        with pytest.raises(ValueError, match=said):
            scope_of("local", own, **given_)
    with pytest.raises(ValueError, match="strategy is 'nearby'; expected one of exact, grid, local, auto"):
        scope_of("nearby", own)
    assert decoder_shape(own).levels == 4 and dataclasses.is_dataclass(own)
