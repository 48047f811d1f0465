"""Exact inference in pieces: every size of band, chunk and tile gives the alpha of the whole net at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPREAD, assert_close, random_net, small_config
from rounding import ALPHA, features_bound, products_bound
from torch.nn import functional as F

from vitmatte import MattingModel
from vitmatte.inference import bands
from vitmatte.inference.context import Context
from vitmatte.inference.decode import decoder_shape
from vitmatte.inference.frames import Frame, Setting, compute
from vitmatte.inference.macs import transformer_macs
from vitmatte.inference.plan import SIDES, Plan, footprint_of
from vitmatte.inference.planning import make_plan
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.inference.scope import Scope
from vitmatte.inference.tiles import cover, features_seen, spans
from vitmatte.inference.upsample import convolved, joined
from vitmatte.model.block import VitDetLayer

pytestmark = pytest.mark.numbers

CPU = torch.device("cpu")
MODEL = MattingModel(random_net(), Preprocessing())


def scene(height: int, width: int, seed: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(image [H, W, 3], trimap [H, W]); the unknown area is everything, a corner, an edge, a few pixels or a box."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(height, width, 3, generator=generator)
    trimap = torch.randint(0, 2, (height, width), generator=generator).float()
    top, left = (int(torch.randint(0, n, (1,), generator=generator)) for n in (height, width))
    if kind == "all":
        trimap[:] = 0.5
    elif kind == "corners":
        trimap[0, 0] = trimap[-1, -1] = trimap[0, -1] = trimap[-1, 0] = 0.5
    elif kind == "edges":
        trimap[:, -1] = 0.5
        trimap[0, :] = 0.5
    elif kind == "specks":
        trimap[torch.rand(height, width, generator=generator) < 0.003] = 0.5
        trimap[top, left] = 0.5
    else:
        trimap[top:top + 40, left:left + 30] = 0.5
    return image, trimap


def whole(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor) -> torch.Tensor:
    """The alpha by the net's plain forward, everything at once, cropped."""
    with torch.inference_mode():
        alphas = model.net(model.preprocessing.net_input(image[None], trimap[None])).alphas
    return alphas[0, 0, :trimap.shape[0], :trimap.shape[1]]


def in_pieces(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor, plan: Plan) -> torch.Tensor:
    """The alpha by the given plan; -1 where nothing was written."""
    setting = Setting(model, CPU, footprint_of(model.net, *trimap.shape, torch.float32, "cpu"), plan)
    out = torch.full(trimap.shape, -1.0)
    with torch.inference_mode():
        compute(setting, [Frame(image, trimap, out)], lambda share: None)
    return out


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 99),
    kind=st.sampled_from(["all", "corners", "edges", "specks", "box"]),
    piece=st.sampled_from([1, 5_000, 60_000, 10**7]), scores=st.sampled_from([1, 700, 20_000, 10**7]),
    side=st.sampled_from(SIDES),
)
def test_any_pieces_give_the_whole_nets_alpha(height, width, seed, kind, piece, scores, side):
    image, trimap = scene(height, width, seed, kind)
    unknown = trimap == 0.5
    found = in_pieces(MODEL, image, trimap, Plan(piece, scores, side, 1, 0))
    assert_close(found[unknown], whole(MODEL, image, trimap)[unknown], ALPHA)
    assert bool((found[~unknown] == -1).all())


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), details=st.integers(1, 5), features=st.integers(1, 6),
       bias=st.booleans(), seed=st.integers(0, 99))
@torch.inference_mode()
def test_taps_before_the_enlargement_are_the_convolution(height, width, details, features, bias, seed):
    torch.manual_seed(seed)
    conv = torch.nn.Conv2d(details + features, 7, 3, padding=1, bias=bias)
    detail, x = torch.randn(1, details, 2 * height, 2 * width), torch.randn(1, features, height, width)
    expected = conv(torch.cat([detail, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)], dim=1))
    run = Context()
    # Of the features' enlargement, which is two times two sums of two, and of the sums over taps and places.
    enlarged = F.interpolate(x.abs(), scale_factor=2, mode="bilinear", align_corners=False)
    bound = 2 * products_bound(conv, torch.cat([detail.abs(), enlarged], dim=1), extra=16)
    assert_close(convolved(detail, x, conv, run), expected, bound)
    assert_close(conv(joined(detail, x, run)), expected, bound)


def test_a_net_wide_enough_for_taps(monkeypatch):
    image, trimap = scene(90, 140, 5, "all")
    expected = whole(MODEL, image, trimap)
    used = []
    monkeypatch.setattr("vitmatte.inference.upsample.TAPS_CHANNELS", 1)
    monkeypatch.setattr("vitmatte.inference.decode.convolved", lambda *a: (used.append(1), convolved(*a))[1])
    for side in (1024, 64, 32):
        assert_close(in_pieces(MODEL, image, trimap, Plan(10**7, 10**7, side, 1, 0)), expected, ALPHA)
    assert len(used) > 50


@pytest.mark.parametrize("config", [
    small_config(residual_block_indices=[]),
    small_config(residual_block_indices=[0, 1, 2, 3]),
    small_config(window_block_indices=[0, 1, 2, 3]),
    small_config(window_block_indices=[]),
    small_config(use_relative_position_embeddings=False, use_absolute_position_embeddings=False),
    small_config(out_features=["stage2"], out_indices=[2]),
], ids=["no residual", "all residual", "all windows", "no windows", "no positions", "early stage"])
def test_every_kind_of_net(config):
    model = MattingModel(random_net(config), Preprocessing())
    image, trimap = scene(100, 70, 3, "box")
    unknown = trimap == 0.5
    expected = whole(model, image, trimap)[unknown]
    assert expected.std() > SPREAD / 3
    for plan in (Plan(10**7, 10**7, 1024, 1, 0), Plan(4000, 900, 32, 1, 0)):
        assert_close(in_pieces(model, image, trimap, plan)[unknown], expected, ALPHA)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_spans_hold_what_the_matte_depends_on(data):
    """By brute force: the places at each level that a change of input can reach the part of the matte from."""
    levels = data.draw(st.integers(1, 4))
    size = data.draw(st.integers(1, 5)) * 2 ** (levels + 1)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    found = spans((start, stop), size, levels)

    def grown(places: set[int], limit: int) -> set[int]:
        return {p + d for p in places for d in (-1, 0, 1) if 0 <= p + d < limit}

    needed = grown(set(range(start, stop)), size)  # the head's convolution
    details: list[set[int]] = []
    for level in range(levels):
        assert needed <= set(range(*found.features[level]))
        joined = grown(needed, size >> level)
        assert joined <= set(range(*found.joined[level]))
        details.append(joined)
        below = size >> (level + 1)
        needed = {min(max(0, p), below - 1) for j in joined for p in ((j - 1) // 2, (j - 1) // 2 + 1)}
    assert needed <= set(range(*found.features[levels]))
    for level in range(levels - 1, 0, -1):
        assert details[level] <= set(range(*found.details[level]))
        below = {2 * p + d for p in details[level] for d in (-1, 0, 1) if 0 <= 2 * p + d < size >> (level - 1)}
        details[level - 1] |= below
    assert details[0] <= set(range(*found.details[0]))


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 10**6),
       share=st.sampled_from([0.0, 0.0005, 0.01, 1.0]), most=st.sampled_from(SIDES))
def test_tiles_cover_the_unknown_area_once(height, width, seed, share, most):
    unknown = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < share
    padded = -(-height // 32) * 32, -(-width // 32) * 32
    count = torch.zeros(height, width, dtype=torch.int32)
    for tile in cover(unknown.numpy(), decoder_shape(MODEL.net.architecture), *padded, [s for s in SIDES if s <= most]):
        part = count[slice(*tile.rows.matte), slice(*tile.columns.matte)]
        assert part.numel() and max(part.shape) <= most
        part += 1
    assert int(count.max()) <= 1
    assert bool((count[unknown] == 1).all())


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 100), width=st.integers(1, 100), seed=st.integers(0, 10**6), levels=st.integers(1, 4),
       count=st.integers(1, 6))
def test_features_seen_are_what_each_pixel_depends_on(height, width, seed, levels, count):
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(height * width, (count,), generator=generator).tolist()
    grid = -(-height // 2**levels), -(-width // 2**levels)
    unknown, expected = torch.zeros(height, width, dtype=torch.bool), torch.zeros(grid, dtype=torch.bool)
    for row, column in (divmod(place, width) for place in places):
        unknown[row, column] = True
        rows, columns = (spans((at, at + 1), length << levels, levels).features[-1]
                         for at, length in zip((row, column), grid, strict=True))
        expected[slice(*rows), slice(*columns)] = True
    assert features_seen(unknown, grid, levels).equal(expected)


def strided_attention(layer: VitDetLayer, x: torch.Tensor) -> torch.Tensor:
    """Matte-Anything's global block by hand: four pictures of every second token, each attended within itself."""
    result = torch.empty_like(x)
    normed = layer.norm1(x)
    attention_ = layer.attention
    for row in (0, 1):
        for column in (0, 1):
            part = normed[:, row::2, column::2]
            queries, keys, values = attention_.split(part, part.shape[1:3])
            found = attention_.probabilities(queries, keys, part.shape[1:3]) @ values
            result[:, row::2, column::2] = attention_.join(found, part.shape, part.shape[1:3])
    return result


@torch.inference_mode()
def test_the_grid_strategy_is_matte_anythings():
    layer = MODEL.net.backbone.encoder.layer[3]
    assert not layer.attention.window and layer.residual is not None
    x = torch.randn(2, 6, 10, 48)
    expected = x + strided_attention(layer, x)
    expected = expected + layer.mlp(layer.norm2(expected))
    expected = layer.residual(expected)
    for piece, scores in ((10**7, 10**7), (1, 1)):
        found = bands.run_block(layer, x.clone(), Context(piece, scores, strided=True))
        assert_close(found, expected, features_bound(expected))
    assert float((layer(x) - expected).abs().max()) > 0.01  # it is another function


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("kind", ["all", "box", "corners"])
def test_work_reported_is_the_work_foreseen(kind, strided):
    image, trimap = scene(130, 100, 1, kind)
    shares = []
    footprint = footprint_of(MODEL.net, 130, 100, torch.float32, "cpu", scope=Scope(strided=strided))
    with torch.inference_mode():
        frame = Frame(image, trimap, torch.empty(130, 100), footprint.scope)
        compute(Setting(MODEL, CPU, footprint, make_plan(footprint)), [frame], shares.append)
    assert shares == sorted(shares) and len(shares) > 10
    assert abs(shares[-1] - 1) < 0.1


def test_work_of_a_block_by_hand():
    changes = {"num_hidden_layers": 1, "window_block_indices": [], "residual_block_indices": []}
    config = small_config(**changes).architecture().transformer
    tokens, c = 6 * 4, 48
    expected = tokens * c * 4 * 256 + tokens * 4 * c * c + tokens * 8 * c * c + 2 * tokens * tokens * c
    assert transformer_macs(config, (6, 4), tokens, False) == expected


@torch.inference_mode()
def test_only_what_is_needed_is_computed(monkeypatch):
    """One unknown pixel: the last block attends from a few tokens, the decoder does one small tile."""
    queries, areas = [], []
    places = bands._global_for
    monkeypatch.setattr(bands, "_global_for",
                        lambda layer, x, context, place: (queries.append(len(place)), places(layer, x, context, place)))
    image, trimap = torch.rand(160, 160, 3), torch.ones(160, 160)
    trimap[80, 80] = 0.5
    original = F.conv2d

    def counted(x, *rest):
        areas.append(x.shape[-1] * x.shape[-2])
        return original(x, *rest)

    monkeypatch.setattr(F, "conv2d", counted)
    found = in_pieces(MODEL, image, trimap, Plan(10**7, 10**7, 1024, 1, 0))
    assert len(queries) == 1 and queries[0] <= 39  # of 100; 36 are needed, in eighths of all that is 39
    decoder = areas[-9:]
    assert max(decoder) < 160 * 160 / 4
    monkeypatch.undo()
    assert_close(found[80:81, 80:81], whole(MODEL, image, trimap)[80:81, 80:81], ALPHA)


@pytest.mark.parametrize("size", [1, 7, 8, 24, 97, 400])
def test_needed_tokens_come_in_few_numbers(size):
    """The last block's number of tokens would change with every frame's trimap."""
    counts = set()
    for share in torch.linspace(0, 1, 50):
        needed = torch.rand(size) < share
        found = bands._rounded(needed)
        assert len(found.unique()) == len(found) and set(needed.nonzero().flatten().tolist()) <= set(found.tolist())
        assert len(found) - int(needed.sum()) < -(-size // bands.COUNTS)
        counts.add(len(found))
    assert len(counts) <= bands.COUNTS + 1
