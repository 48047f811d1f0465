"""The net's interface, its attention against the readable reference, and its initialisation."""

from __future__ import annotations

import math

import pytest
import torch
from attentions import GRIDS, random_attention
from nets import assert_close, random_input, random_net, small_config
from rounding import ALPHA, attention_bound

from vitmatte import VitMatteConfig, VitMatteForImageMatting
from vitmatte.inference.attention import LOWEST_SCORE, attend, attention, query_blocks
from vitmatte.inference.bands import transformer_features
from vitmatte.inference.context import Context
from vitmatte.model.attention import RelativePositions, attention_probabilities
from vitmatte.model.block import drop_path

pytestmark = pytest.mark.numbers


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_reference_is_the_formula(grid):
    queries, keys, values, relative, _ = random_attention(grid)
    probabilities = attention_probabilities(queries, keys, relative)
    found = probabilities @ values
    height, width = grid
    bound = attention_bound(queries, keys, values, relative)
    weights = attention_bound(queries, keys, torch.eye(height * width).expand(3, -1, -1), relative)
    queries, keys, rows, columns = (x.double() for x in (queries, keys, relative.rows, relative.columns))
    for g in range(3):
        for i in range(height * width):
            scores = torch.stack([
                queries[g, i] @ keys[g, j] / 10**0.5
                + queries[g, i] @ rows[i // width, j // width]
                + queries[g, i] @ columns[i % width, j % width]
                for j in range(height * width)
            ])
            # Probabilities are the result for values of 1 at one key and 0 at the others.
            exact = scores.softmax(0)
            assert_close(probabilities[g, i], exact, weights[g, i])
            assert_close(found[g, i], exact @ values[g].double(), bound[g, i])


@pytest.mark.parametrize("with_relative", [True, False])
@pytest.mark.parametrize("chunk_bytes", [1, 64, 300, 1000, 10**6])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@torch.inference_mode()
def test_any_chunk_gives_the_same(grid, chunk_bytes, with_relative):
    queries, keys, values, relative, tables = random_attention(grid)
    relative, tables = (relative, tables) if with_relative else (None, None)
    context = Context(chunk_bytes=chunk_bytes)
    doubled = relative and RelativePositions(relative.rows.double(), relative.columns.double())
    expected = attention_probabilities(queries.double(), keys.double(), doubled) @ values.double()
    bound = attention_bound(queries, keys, values, relative)
    assert_close(attention(queries, keys, values, tables, grid, context=context).double(), expected, bound)
    place = torch.randperm(grid[0] * grid[1])[: 1 + grid[0] * grid[1] // 2].sort().values
    some = attention(queries[:, place], keys, values, tables, grid, place=place, context=context)
    assert_close(some.double(), expected[:, place], bound[:, place])


@torch.inference_mode()
def test_weights_are_no_denormal_numbers():
    """Processors compute many times slower with them; what takes their place is too small to be seen."""
    queries, keys, values = torch.randn(3, 2, 64, 16).unbind()
    queries *= 25
    scores = queries.double() @ keys.double().transpose(1, 2) / 4
    beyond = torch.rand(2, 64, 64) < 0.1  # as keys out of reach
    bias = torch.zeros(2, 64, 64).masked_fill_(beyond, float("-inf"))
    expected = scores.masked_fill(beyond, float("-inf")).softmax(-1)
    tiny = torch.finfo(torch.float32).tiny
    assert ((expected > 0) & (expected < tiny)).sum() > 100
    found = attend(queries, keys, values, bias, None)  # the bias becomes the weights
    assert not ((bias != 0) & (bias < tiny)).any()
    largest = values.abs().max()
    bound = attention_bound(queries, keys, largest.expand(values.shape), None) + 64 * math.exp(-LOWEST_SCORE) * largest
    assert_close(found.double(), expected @ values.double(), bound)


@pytest.mark.parametrize(("grid", "most"), [((4, 5), 1), ((4, 5), 4), ((4, 5), 5), ((4, 5), 12), ((4, 5), 99)])
def test_query_blocks_cover_the_grid_in_order(grid, most):
    places = []
    for top, bottom, left, right in query_blocks(grid, most):
        block = [r * grid[1] + c for r in range(top, bottom) for c in range(left, right)]
        assert 0 < len(block) <= most
        places += block
    assert places == list(range(20))


def test_scores_are_never_all_there():
    """No tensor that attention makes is larger than a chunk of scores, a 192nd of all of them."""
    queries, keys, values, _, tables = random_attention((32, 32), dim=4)
    with torch.inference_mode(), torch.profiler.profile(profile_memory=True) as profile:
        attention(queries, keys, values, tables, (32, 32), context=Context(chunk_bytes=2**16))
    assert max(event.cpu_memory_usage for event in profile.events()) <= 2**16


def features_of(net, pixels, context):
    """The transformer's feature map in bounded memory."""
    def region(rows, columns):
        return pixels[..., slice(*rows), slice(*columns)]

    with torch.inference_mode():
        return transformer_features(net.backbone, region, len(pixels), (pixels.shape[2] // 16, pixels.shape[3] // 16),
                                    context)


def test_relative_tables_are_resized_once_a_run():
    net, context = random_net(), Context()
    features_of(net, random_input(64, 96), context)
    made = dict(context.tables)
    features_of(net, random_input(64, 96), context)
    assert made and all(context.tables[key] is made[key] for key in made) and len(context.tables) == len(made)


def test_step_is_called_and_may_end_the_run():
    class Stop(Exception):
        pass

    calls = []

    def step(macs):
        calls.append(None)
        if len(calls) == 3:
            raise Stop

    with pytest.raises(Stop):
        features_of(random_net(), random_input(96, 96), Context(band_bytes=4096, step=step))
    assert len(calls) == 3


def test_output_reads_in_three_ways():
    net = random_net()
    with torch.inference_mode():
        output = net(random_input(32, 64), output_hidden_states=True)
        plain = net(random_input(32, 64), return_dict=False)
    assert output.alphas is output["alphas"] is output[0]
    assert output.keys() == ["alphas", "hidden_states"] and len(output.to_tuple()) == 2
    assert isinstance(plain, tuple) and len(plain) == 1
    with pytest.raises(KeyError):
        output["loss"]


@pytest.mark.parametrize(("shape", "said"), [
    ((1, 3, 32, 32), r"\[1, 3, 32, 32\]; expected \[batch, 4"),
    ((4, 32, 32), r"\[4, 32, 32\]"),
    ((1, 4, 33, 32), "33x32; expected multiples of 16x16"),
    ((1, 4, 0, 32), "0x32"),
])
def test_bad_input_is_named(shape, said):
    with pytest.raises(ValueError, match=said):
        random_net()(torch.zeros(shape))



def test_batches_equal_single_pictures():
    net, pixels = random_net(), random_input(64, 96, batch=3)
    with torch.inference_mode():
        together = net(pixels).alphas
        single = torch.cat([net(pixels[i:i + 1]).alphas for i in range(3)])
    assert_close(together, single, ALPHA)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)  # drop path may leave a whole block out
    net = random_net(small_config(drop_path_rate=0.1, dropout_prob=0.1)).train()
    with torch.enable_grad():
        net(random_input(96, 96, batch=4)).alphas.square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_gradients_equal_those_of_plain_inference():
    """Training takes the reference attention; inference another: both must be the same function."""
    net, pixels = random_net(), random_input(64, 64)
    with torch.enable_grad():
        trained = net(pixels).alphas
    with torch.inference_mode():
        assert_close(net(pixels).alphas, trained.detach(), ALPHA)


def test_fresh_nets_start_as_vitdet_does():
    net = VitMatteForImageMatting(small_config())
    for name, value in net.backbone.named_parameters():
        if name.endswith("norm3.weight") or name.endswith("bias"):
            assert not value.any(), name
        elif value.ndim > 1 and "residual" not in name:
            assert 0.01 < value.std() < 0.03, name


def test_drop_path_drops_whole_pictures():
    torch.manual_seed(0)
    x = drop_path(torch.ones(1000, 2, 2), 0.25, training=True)
    assert {round(v, 4) for v in x.flatten().tolist()} == {0.0, round(1 / 0.75, 4)}
    assert (x.flatten(1).std(dim=1) == 0).all() and 0.9 < x.mean() < 1.1
    assert drop_path(x, 0.25, training=False) is x


def test_default_net_is_built_and_runs():
    """transformers 5.23 raises TypeError for this example of its own documentation."""
    with torch.inference_mode():
        assert VitMatteForImageMatting(VitMatteConfig()).eval()(torch.zeros(1, 4, 64, 64)).alphas.shape[-2:] == (64, 64)
