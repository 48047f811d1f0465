"""MEMatte in bounded memory: any sizes of bands and chunks, batches, progress, interruption, and what is refused."""

from __future__ import annotations

import pytest
import torch
from cancel import Cancel
from hypothesis import given, settings
from hypothesis import strategies as st
from mematte import is_decided, mematte_config, random_mematte
from nets import assert_close, random_input, random_net
from rounding import ALPHA, features_bound
from test_bounded import CPU, in_pieces, whole
from test_bounded import scene as any_scene
from test_memory import OUT_OF_MEMORY, Fault

from vitmatte import MattingModel, matte
from vitmatte.inference import attention as attention_module
from vitmatte.inference import bands, routed
from vitmatte.inference.attention import attention
from vitmatte.inference.context import Context
from vitmatte.inference.frames import Frame, Setting, compute
from vitmatte.inference.macs import transformer_macs
from vitmatte.inference.plan import SIDES, Footprint, Plan, footprint_of
from vitmatte.inference.planning import make_plan
from vitmatte.inference.preprocessing import Preprocessing

pytestmark = pytest.mark.numbers

PREPROCESSING = Preprocessing(both_sides=True)
MODEL = MattingModel(random_mematte(), PREPROCESSING)
FEW = MattingModel(random_mematte(mematte_config(limit=5)), PREPROCESSING)  # its limit is reached


def scene(height: int, width: int, seed: int, kind: str, model: MattingModel = MODEL):
    """(image [H, W, 3], trimap [H, W]) of which every order of sums routes the same tokens."""
    while True:
        image, trimap = any_scene(height, width, seed, kind)
        if is_decided(model.net, model.preprocessing.net_input(image[None], trimap[None])):
            return image, trimap
        seed += 1000


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 99),
    kind=st.sampled_from(["all", "corners", "edges", "specks", "box"]),
    piece=st.sampled_from([1, 5_000, 60_000, 10**7]), scores=st.sampled_from([1, 700, 20_000, 10**7]),
    side=st.sampled_from(SIDES), model=st.sampled_from([MODEL, FEW]),
)
def test_any_pieces_give_the_whole_nets_alpha(height, width, seed, kind, piece, scores, side, model):
    image, trimap = scene(height, width, seed, kind, model)
    unknown = trimap == 0.5
    setting = Setting(model, CPU, footprint_of(model.net, height, width, torch.float32, "cpu"),
                      Plan(piece, scores, side, 1, 0))
    found = torch.full(trimap.shape, -1.0)
    with torch.inference_mode(False), torch.no_grad():
        expected = plain(model, image, trimap)
    with torch.inference_mode():
        compute(setting, [Frame(image, trimap, found)], lambda share: None)
    assert_close(found[unknown], expected[unknown], ALPHA)
    assert bool((found[~unknown] == -1).all())


def plain(model: MattingModel, image: torch.Tensor, trimap: torch.Tensor) -> torch.Tensor:
    """The alpha by the net's plain forward, cropped."""
    pixels = model.preprocessing.net_input(image[None], trimap[None])
    with torch.enable_grad():  # else the documented net's forward goes in bands itself
        alphas = model.net(pixels).alphas
    return alphas[0, 0, :trimap.shape[0], :trimap.shape[1]].detach()


@pytest.mark.parametrize("model", [MODEL, FEW], ids=["no limit", "limit"])
@pytest.mark.parametrize("kind", ["all", "box"])
def test_some_pieces_give_the_whole_nets_alpha(model, kind):
    image, trimap = scene(100, 140, 4, kind, model)
    unknown, expected = trimap == 0.5, plain(model, image, trimap)
    assert_close(whole(model, image, trimap), expected, ALPHA)  # the documented forward without gradients
    for plan in (Plan(10**7, 10**7, 1024, 1, 0), Plan(30_000, 900, 64, 1, 0), Plan(1, 1, 32, 1, 0)):
        assert_close(in_pieces(model, image, trimap, plan)[unknown], expected[unknown], ALPHA)


@pytest.mark.parametrize("config", [
    mematte_config(residual_block_indices=[]), mematte_config(window_block_indices=[]),
    mematte_config(use_relative_position_embeddings=False), mematte_config(limit=1),
], ids=["no residual", "no windows", "no positions", "one token"])
def test_every_kind_of_net(config):
    model = MattingModel(random_mematte(config), PREPROCESSING)
    image, trimap = scene(100, 70, 3, "box", model)
    unknown = trimap == 0.5
    expected = plain(model, image, trimap)[unknown]
    for plan in (Plan(10**7, 10**7, 1024, 1, 0), Plan(4000, 900, 32, 1, 0)):
        assert_close(in_pieces(model, image, trimap, plan)[unknown], expected, ALPHA)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
@torch.inference_mode()
def test_the_light_block_in_bands(rows):
    block = MODEL.net.backbone.encoder.layer[1].efficient_block
    x = torch.randn(2, 9, 7, 48)
    expected = block(x)
    found = routed._light(block, x, Context(band_bytes=rows * 2 * 7 * 96 * 4))
    assert_close(found, expected, features_bound(expected))


@pytest.mark.parametrize("chunk", [1, 2000, 10**7])
def test_plain_attention_in_chunks(monkeypatch, chunk):
    monkeypatch.setattr(attention_module, "FUSED_QUERIES", 1)
    queries, keys, values = torch.randn(3, 6, 33, 8)
    expected = torch.softmax(queries @ keys.transpose(1, 2) / 8**0.5, dim=-1) @ values
    counted = []
    context = Context(chunk_bytes=chunk, step=counted.append)
    found = attention(queries, keys, values, None, (1, 33), context=context)
    assert_close(found, expected, features_bound(expected))
    assert sum(counted) == 6 * 33 * 33 * 8 * 2 and (len(counted) > 6) == (chunk < 10**6)
    assert attention(queries, keys, values, None, (1, 33), context=context, out=queries) is queries
    assert_close(queries, expected, features_bound(expected))


def test_frames_together_are_frames_one_by_one():
    image, trimap = map(torch.stack, zip(*(scene(60, 50, i, "box") for i in range(5)), strict=True))
    trimap[3] = 1.0  # one without anything to do
    assert make_plan(Footprint(MODEL.net.architecture, 60, 50, contract=PREPROCESSING.contract), count=5).frames == 5
    together = matte(MODEL, image, trimap)
    single = torch.cat([matte(MODEL, image[i:i + 1], trimap[i:i + 1]) for i in range(5)])
    assert_close(together, single, ALPHA)


@pytest.mark.parametrize("size", [(96, 70), (70, 96), (61, 90), (64, 96)], ids=str)
def test_a_side_that_needs_padding_pads_the_other(size):
    height, width = PREPROCESSING.contract.padded_size(*size)
    aligned = [length % 32 == 0 for length in size]
    assert all(new > old for new, old in zip((height, width), size, strict=True)) or all(aligned)
    assert height % 32 == width % 32 == 0 and max(height - size[0], width - size[1]) <= 32
    footprint = footprint_of(MODEL.net, *size, torch.float32, "cpu", contract=PREPROCESSING.contract)
    assert footprint.padded == (height, width)
    image, trimap = scene(*size, 1, "all")
    assert_close(matte(MODEL, image[None], trimap)[0], plain(MODEL, image, trimap), ALPHA)


@pytest.mark.parametrize("strategy", ["grid", "local"])
def test_other_strategies_are_refused(strategy):
    with pytest.raises(ValueError, match=f"strategy is '{strategy}', but this net is a MEMatte"):
        matte(MODEL, torch.rand(1, 64, 64, 3), torch.full((64, 64), 0.5), strategy=strategy)


def test_auto_is_exact():
    image, trimap = torch.rand(1, 64, 70, 3), torch.full((64, 70), 0.5)
    assert matte(MODEL, image, trimap).equal(matte(MODEL, image, trimap, strategy="exact"))
    with pytest.raises(ValueError, match="reach and margin are for strategy 'local'"):
        matte(MODEL, image, trimap, reach=4)


@pytest.mark.parametrize("kind", ["all", "box", "corners"])
@pytest.mark.parametrize("model", [MODEL, FEW], ids=["no limit", "limit"])
def test_work_reported_is_the_work_foreseen(model, kind):
    """Also where another number of tokens is routed than foreseen."""
    image, trimap = scene(130, 100, 1, kind)
    shares = []
    footprint = footprint_of(model.net, 130, 100, torch.float32, "cpu", contract=PREPROCESSING.contract)
    with torch.inference_mode():
        compute(Setting(model, CPU, footprint, make_plan(footprint)), [Frame(image, trimap, torch.empty(130, 100))],
                shares.append)
    assert shares == sorted(shares) and len(shares) > 10
    assert abs(shares[-1] - 1) < 0.1


@torch.inference_mode()
def test_a_blocks_work_is_told_to_the_last_multiplication():
    layer, config, counted = MODEL.net.backbone.encoder.layer[1], MODEL.net.architecture.transformer, []
    x = torch.randn(1, 6, 8, 48)
    bands.run_block(layer, x, Context(1, 1, counted.append))
    others = {"num_hidden_layers": 2, "window_block_indices": [0], "residual_block_indices": [1]}
    two = mematte_config(**others).architecture().transformer
    one = mematte_config(num_hidden_layers=1, window_block_indices=[0], residual_block_indices=[]).architecture()
    assert config.is_routed(1) and sum(counted) == (transformer_macs(two, (6, 8), 48, False)
                                                 - transformer_macs(one.transformer, (6, 8), 48, False))


@pytest.mark.parametrize("last", [1, 7, 15])
def test_interruption_is_heard_within_a_frame(last):
    cancel = Cancel(last)
    with pytest.raises(KeyboardInterrupt):
        matte(MODEL, torch.rand(1, 100, 90, 3), torch.full((100, 90), 0.5), check_interrupt=cancel)
    assert cancel.left == 0


@pytest.mark.parametrize("times", [1, 3])
def test_out_of_memory_is_survived_with_the_same_alpha(monkeypatch, times):
    image, trimap = scene(130, 100, 0, "all")
    image, expected, freed = image[None], matte(MODEL, image[None], trimap), []
    fault = Fault(routed.attention, times, torch.cuda.OutOfMemoryError(OUT_OF_MEMORY))
    monkeypatch.setattr(routed, "attention", fault)
    assert_close(matte(MODEL, image, trimap, free_memory=lambda: freed.append(1)), expected, ALPHA)
    assert fault.left == 0 and len(freed) == times


def test_only_what_is_needed_is_finished(monkeypatch):
    """One unknown pixel: the last block's MLP runs for a few tokens, and only some of the routed ones ask."""
    counts = []
    finish = routed.finish
    monkeypatch.setattr(routed, "finish", lambda layer, x, attended, context: (
        counts.append(x.shape[1]), finish(layer, x, attended, context))[1])
    for seed in range(20):
        image, trimap = torch.rand(160, 160, 3, generator=torch.Generator().manual_seed(seed)), torch.ones(160, 160)
        trimap[80, 80] = 0.5
        if is_decided(MODEL.net, PREPROCESSING.net_input(image[None], trimap[None])):
            break
    found = in_pieces(MODEL, image, trimap, Plan(10**7, 10**7, 1024, 1, 0))
    assert counts[0] == 100 and counts[1] <= 39
    assert_close(found[80:81, 80:81], plain(MODEL, image, trimap)[80:81, 80:81], ALPHA)


def decided(by: float) -> MattingModel:
    """A net whose routers pick all tokens (by > 0) or none, whatever rounding says."""
    net = random_mematte()
    with torch.no_grad():
        for layer in net.backbone.encoder.layer:
            if layer.router is not None:
                layer.router.out_conv[4].bias[0] = by
    return MattingModel(net, PREPROCESSING)


@pytest.mark.parametrize("by", [-1e3, 1e3], ids=["none", "all"])
def test_nobody_and_everybody_routed(by):
    model = decided(by)
    image, trimap = scene(90, 70, 2, "all")
    assert_close(matte(model, image[None], trimap)[0], plain(model, image, trimap), ALPHA)


@pytest.mark.parametrize("by", [-1e3, 1e3], ids=["none", "all"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_close_where_it_routes_the_same_tokens(dtype, by):
    generator, model = torch.Generator().manual_seed(0), decided(by)
    image, trimap = torch.rand(1, 96, 96, 3, generator=generator), torch.full((96, 96), 0.5)
    expected = matte(model, image, trimap)
    found = matte(MattingModel(model.net.to(dtype), PREPROCESSING), image, trimap)
    assert found.dtype == torch.float32 and not found.equal(expected)
    assert float((found - expected).abs().mean()) < (1 if dtype == torch.float16 else 3) / 255


def test_margins_beyond_float16_are_computed_in_float32(caplog):
    model = decided(6e4)
    with torch.no_grad():
        for layer in model.net.backbone.encoder.layer:
            if layer.router is not None:
                layer.router.out_conv[4].bias[1] = -6e4
    image, trimap = torch.rand(1, 64, 96, 3), torch.full((64, 96), 0.5)
    found = matte(MattingModel(model.net.half(), PREPROCESSING), image, trimap)
    assert "float16 overflowed" in caplog.text
    assert_close(found, matte(MattingModel(model.net.float(), PREPROCESSING), image, trimap), ALPHA)


def test_the_plan_grows_with_what_may_be_routed():
    def peak(limit: int) -> int:
        config = mematte_config(limit=limit).architecture()
        return make_plan(Footprint(config, 2048, 2048)).peak_bytes

    assert peak(1) < peak(5_000) < peak(16_384) == peak(10**6)


def test_attentions_are_refused():
    with pytest.raises(ValueError, match="output_attentions is True; expected False: this net routes tokens"):
        MODEL.net(random_input(64, 64), output_attentions=True)
    assert len(MODEL.net(random_input(64, 64), output_hidden_states=True).hidden_states) == 5
    assert len(random_net()(random_input(64, 64), output_attentions=True).attentions) == 4
