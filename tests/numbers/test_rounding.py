"""The bounds that the other tests use hold for sums in any order, and tell a wrong formula from rounding."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attentions import GRIDS, random_attention
from nets import random_input, random_net, small_config
from paths import ROOT
from rounding import ALPHA, ALPHA_LARGE, FEATURES, attention_bound, products_bound, rounding_of
from torch import nn

from vitmatte import VitMatteConfig, VitMatteForImageMatting
from vitmatte.model.attention import RelativePositions, attention_probabilities

pytestmark = pytest.mark.numbers



def alphas(pixels):
    return lambda net: [net(pixels.double()).alphas]


@pytest.mark.parametrize("changes", [{}, {"hidden_act": "relu"}, {"residual_block_indices": [0, 1, 2, 3]},
                                     {"window_size": 0}], ids=str)
@pytest.mark.parametrize("seed", [0, 3, 8])
def test_alphas_of_small_nets(changes, seed):
    net = random_net(small_config(**changes), seed)
    assert ALPHA / 16 < 2 * rounding_of(net, alphas(random_input(96, 144))) < ALPHA


def test_alphas_of_the_bundled_net():
    net = VitMatteForImageMatting.from_pretrained(ROOT / "vitmatte" / "bundled" / "vitmatte-tiny")
    assert ALPHA / 16 < 2 * rounding_of(net, alphas(random_input(96, 128))) < ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [384, 768])
def test_alphas_of_the_published_sizes(hidden):
    backbone = {**VitMatteConfig().vitdet.to_dict(), "hidden_size": hidden, "num_attention_heads": hidden // 64}
    net = random_net(VitMatteConfig(backbone_config=backbone, hidden_size=hidden), 1)
    assert ALPHA_LARGE / 16 < 2 * rounding_of(net, alphas(random_input(64, 80)), runs=1) < ALPHA_LARGE


def test_features_of_small_nets():
    pixels = random_input(64, 96, batch=2).double()

    def read(net):
        output = net(pixels, output_hidden_states=True, output_attentions=True)
        return [*output.hidden_states, *output.attentions]

    assert FEATURES / 16 < 2 * rounding_of(random_net(seed=3), read) < FEATURES


def exact_attention(queries, keys, values, relative):
    double = None if relative is None else RelativePositions(relative.rows.double(), relative.columns.double())
    return attention_probabilities(queries.double(), keys.double(), double) @ values.double()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("with_relative", [True, False])
def test_attention_in_the_worst_order(grid, with_relative):
    """Added one product after another, forwards and backwards, in float32."""
    queries, keys, values, relative, _ = random_attention(grid)
    relative = relative if with_relative else None
    exact = exact_attention(queries, keys, values, relative)
    bound = attention_bound(queries, keys, values, relative)
    for order in (range(10), reversed(range(10))):
        scores = torch.zeros(3, queries.shape[1], queries.shape[1])
        for i in order:
            scores = scores + queries[..., i, None] * 10**-0.5 * keys[:, None, :, i]
        if relative is not None:
            scores = scores + relative.scores(queries)
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        total, result = torch.zeros_like(weights[..., 0]), torch.zeros_like(exact, dtype=torch.float32)
        for j in range(queries.shape[1]):
            total = total + weights[..., j]
            result = result + weights[..., j, None] * values[:, None, j]
        assert bool(((result / total[..., None] - exact).abs() <= bound).all())
    assert float(bound.max()) < 1e-3


def wrong_row(queries, keys, values, relative):
    """A relative table shifted by one row."""
    shifted = RelativePositions(relative.rows.roll(1, 0), relative.columns)
    return attention_probabilities(queries, keys, shifted) @ values


def scaled_relative(queries, keys, values, relative):
    """Relative terms of the scaled query, which is another function."""
    scale = queries.shape[-1] ** -0.5
    smaller = dataclasses.replace(relative, rows=relative.rows * scale, columns=relative.columns * scale)
    return attention_probabilities(queries, keys, smaller) @ values


def one_key_less(queries, keys, values, relative):
    """The last key is zero, as if its bias were dropped."""
    keys = keys.clone()
    keys[:, -1] = 0
    return attention_probabilities(queries, keys, relative) @ values


@pytest.mark.parametrize("wrong", [wrong_row, scaled_relative, one_key_less])
@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid[0] > 1], ids=str)
def test_wrong_attention_is_beyond_the_bound(wrong, grid):
    given = random_attention(grid)[:4]
    apart = (wrong(*given) - exact_attention(*given)).abs()
    assert float((apart / attention_bound(*given)).max()) > 100


def test_products_in_the_worst_order():
    layer, x = nn.Linear(300, 7), torch.randn(5, 300) + 3
    with torch.no_grad():
        exact = layer.weight.double() @ x.double().t() + layer.bias.double()[:, None]
        found = torch.zeros(7, 5)
        for i in range(300):
            found = found + layer.weight[:, i, None] * x.t()[i]
        found = found + layer.bias[:, None]
        bound = products_bound(layer, x)
        assert bool(((found.t() - exact.t()).abs() <= bound).all())
        layer.weight[3, 5] += 0.01
        assert bool(((layer(x) - exact.t()).abs() > bound)[:, 3].all())


# Mistakes in the whole net, of the kind that only numbers show.
def shift_a_table(net):
    table = net.backbone.encoder.layer[1].attention.rel_pos_h
    table.copy_(table.roll(1, 0))


def drop_a_bias(net):
    net.backbone.encoder.layer[0].attention.qkv.bias[48:].zero_()  # of padding's keys and values too


def drop_epsilon(net):
    net.decoder.fusion_blocks[2].conv.batch_norm.eps = 0.02


def swap_two_channels(net):
    weight = net.decoder.convstream.convs[2].conv.weight
    weight.copy_(weight[:, [1, 0, *range(2, weight.shape[1])]])


@pytest.mark.parametrize("mistake", [shift_a_table, drop_a_bias, drop_epsilon, swap_two_channels])
def test_mistakes_in_a_net_are_beyond_the_bound(mistake):
    net, pixels = random_net(), random_input(80, 80)
    with torch.no_grad():
        expected = net(pixels).alphas
        mistake(net)
        assert float((net(pixels).alphas - expected).abs().max()) > 20 * ALPHA
