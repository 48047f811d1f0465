"""DiffMatte in pieces: every tile, band and plan gives the alpha of the whole net at once, and its authors' alpha."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cancel import Cancel
from diffmatte_nets import diffmatte_config, model_of, random_diffmatte, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import SPREAD, assert_close, randomise
from paths import DATA
from rounding import ALPHA
from safetensors.torch import load_file
from torch.nn import functional as F

from vitmatte import load_model, matte
from vitmatte.inference import transposed
from vitmatte.inference.decode import decoder_shape
from vitmatte.inference.frames import Frame, Setting, compute
from vitmatte.inference.matting import prepare
from vitmatte.inference.plan import SIDES, Plan, footprint_of
from vitmatte.inference.planning import MemoryLimitError
from vitmatte.inference.unet_tiles import unet_spans
from vitmatte.model.config import MattingConfig, TransformerConfig
from vitmatte.model.diffusion import DiffusionConfig, noise
from vitmatte.model.vitmatte import ViTMatte
from vitmatte.weights.load import load_net

pytestmark = pytest.mark.numbers

CPU = torch.device("cpu")
GOLDEN = DATA / "diffmatte.safetensors"
INSIDE = ("image", "trimap", "noise", "alpha")
MODEL = model_of(random_diffmatte())


def scene(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(image [H, W, 3], trimap [H, W]) of noise and blocks."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 3, (height // 8 + 1, width // 8 + 1), generator=generator) / 2
    trimap = blocks.repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width].contiguous()
    trimap[-1, 0] = 0.5
    return torch.rand(height, width, 3, generator=generator), trimap


def by_plan(model, image: torch.Tensor, trimap: torch.Tensor, plan: Plan) -> torch.Tensor:
    """The alpha by the given plan; -1 where nothing was written."""
    setting = Setting(model, CPU, footprint_of(model.net, *trimap.shape, torch.float32, "cpu"), plan)
    out = torch.full(trimap.shape, -1.0)
    with torch.inference_mode():
        compute(setting, [Frame(image, trimap, out)], lambda share: None)
    return out


def test_the_authors_alpha(tmp_path):
    """Of a small net by their code, in a file that tests/support/make_diffmatte_golden.py wrote."""
    state = load_file(GOLDEN)
    image, trimap, start, expected = (state.pop(name) for name in INSIDE)
    torch.save({"model": state}, tmp_path / "diffmatte.pth")
    assert_close(noise(*trimap.shape, seed=0), start, 1e-6)
    alpha = matte(load_model(tmp_path / "diffmatte.pth"), (image / 255)[None], trimap)[0]
    unknown = trimap == 0.5
    assert expected[unknown].std() > SPREAD
    assert_close(alpha[unknown], expected[unknown], ALPHA)
    assert alpha[~unknown].equal(trimap[~unknown])


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 130), width=st.integers(1, 130), seed=st.integers(0, 99),
       piece=st.sampled_from([1, 60_000, 10**7]), side=st.sampled_from(SIDES))
def test_any_pieces_give_the_whole_nets_alpha(height, width, seed, piece, side):
    image, trimap = scene(height, width, seed)
    unknown = trimap == 0.5
    found = by_plan(MODEL, image, trimap, Plan(piece, piece, side, 1, 0))
    assert_close(found[unknown], reference(MODEL, image, trimap)[unknown], ALPHA)
    assert bool((found[~unknown] == -1).all())


@pytest.mark.parametrize("folded", [False, True])
def test_a_net_wide_enough_for_taps(monkeypatch, folded):
    monkeypatch.setattr("vitmatte.inference.upsample.TAPS_CHANNELS", 1)
    monkeypatch.setattr("vitmatte.inference.unet_tiles.TAPS_CHANNELS", 1)
    net = random_diffmatte()
    image, trimap = scene(90, 140)
    expected = reference(model_of(net), image, trimap)[trimap == 0.5]
    assert expected.std() > SPREAD
    if folded:
        net.fold()
    for side in (1024, 64, 32):
        found = by_plan(model_of(net), image, trimap, Plan(10**7, 10**7, side, 1, 0))
        assert_close(found[trimap == 0.5], expected, ALPHA)


@pytest.mark.parametrize("scale", [0.2, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_steps_and_scale(steps, scale):
    config = diffmatte_config(diffusion=DiffusionConfig(time_channels=5, embedding_channels=4, steps=steps,
                                                        scale=scale, seed=7))
    model = model_of(random_diffmatte(config))
    image, trimap = scene(50, 40)
    alpha = matte(model, image[None], trimap)[0]
    assert_close(alpha[trimap == 0.5], reference(model, image, trimap)[trimap == 0.5], ALPHA)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_spans_hold_what_a_step_depends_on(data):
    """By brute force, in a U-Net of sums: which places of each map a part of the matte depends on."""
    levels = data.draw(st.integers(2, 4))
    size = data.draw(st.integers(1, 5)) * 2 ** (levels + 1)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    found = unet_spans((start, stop), size, levels)

    def near(places: set[int], limit: int) -> set[int]:
        return {p + d for p in places for d in (-1, 0, 1) if 0 <= p + d < limit}

    needed = near(set(range(start, stop)), size)  # the head's convolution
    details: dict[int, set[int]] = {}
    for level in range(levels - 1):
        assert needed <= set(range(*found.features[level]))
        enlarged, below = near(needed, size >> level), size >> (level + 1)
        assert enlarged <= set(range(*found.joined[level]))
        bilinear = {min(max(0, p), below - 1) for j in enlarged for p in ((j - 1) // 2, (j - 1) // 2 + 1)}
        transposed = {x for x in range(below) for j in enlarged if 2 * x - 1 <= j <= 2 * x + 2}
        needed = bilinear | transposed
        details[level + 1] = set(needed)
    assert needed <= set(range(*found.features[levels - 1]))
    for level in range(levels - 1, 0, -1):
        assert details[level] <= set(range(*found.outer[level]))
        inner = near(details[level], size >> level)
        assert inner <= set(range(*found.inner[level]))
        above = {2 * p + d for p in inner for d in (-1, 0, 1) if 0 <= 2 * p + d < size >> (level - 1)}
        details[level - 1] = details.get(level - 1, set()) | above
    assert details[0] <= set(range(*found.details[0]))


def test_what_one_step_sees_of_a_pixel():
    """The halo that docs/diffmatte.md names."""
    shape = decoder_shape(MattingConfig(convstream_hidden_sizes=(32, 64, 128), diffusion=DiffusionConfig()))
    reaches = set()
    for at in range(2048, 2064):
        seen = unet_spans((at, at + 1), 4096, shape.levels).details[0]
        reaches |= {at - seen[0], seen[1] - at - 1}
    assert max(reaches) == 50


def test_repeats_are_equal_and_batches_agree():
    image, trimap = scene(70, 45)
    frames = torch.stack([image, image.flip(0), image])
    together = matte(MODEL, frames, trimap)
    assert together.equal(matte(MODEL, frames, trimap))
    assert_close(together[0], matte(MODEL, image[None], trimap)[0], ALPHA)
    assert_close(together[2], together[0], ALPHA)


def test_the_seed_and_the_steps_are_the_configurations():
    image, trimap = scene(70, 45)
    net = random_diffmatte()
    alpha = matte(model_of(net), image[None], trimap)
    for changed in ({"seed": 1}, {"steps": 4}):
        other = random_diffmatte(diffmatte_config(diffusion=replace(net.architecture.diffusion, **changed)))
        assert float((matte(model_of(other), image[None], trimap) - alpha).abs().max()) > 1e-3


def test_known_pixels_are_the_trimap():
    image, trimap = scene(70, 45)
    alpha = matte(MODEL, image[None], trimap)[0]
    assert alpha[trimap != 0.5].equal(trimap[trimap != 0.5]) and alpha[trimap == 0.5].std() > SPREAD


@pytest.mark.parametrize("strategy", ["exact", "auto", "grid", "local"])
def test_progress_and_interruption(strategy):
    image, trimap = scene(96, 100)
    told: list[tuple[int, int]] = []
    alpha = matte(MODEL, image[None], trimap, strategy=strategy, on_progress=lambda *a: told.append(a))
    shares = [done / total for done, total in told]
    assert shares == sorted(shares) and shares[-1] == 1 and len(set(shares)) > 5
    with pytest.raises(KeyboardInterrupt):
        matte(MODEL, image[None], trimap, strategy=strategy, check_interrupt=Cancel(6))
    assert matte(MODEL, image[None], trimap, strategy=strategy).equal(alpha)


@pytest.mark.parametrize("strategy", ["exact", "local", "grid"])
def test_what_is_told_adds_up(strategy):
    """The multiply-adds of all steps are those that were foreseen: the share ends with 1, not before or after."""
    image, trimap = scene(90, 130)
    shares: list[float] = []
    job = prepare(MODEL, image[None], trimap, strategy=strategy)
    setting = Setting(MODEL, CPU, job.footprint, Plan(60_000, 60_000, 32, 1, 0))
    with torch.inference_mode():
        compute(setting, [Frame(image, trimap, torch.empty_like(trimap), job.scopes[0])], shares.append)
    assert shares == sorted(shares) and len(shares) > 60
    assert shares[-1] == pytest.approx(1, abs=0.02)


def test_local_reaches_within_its_tokens_and_computes_all_of_them():
    """Where the reach spans the picture, and the tables are as trained, local is exact."""
    image, trimap = scene(96, 96)
    local = matte(MODEL, image[None], trimap, strategy="local", reach=5)
    assert_close(local, matte(MODEL, image[None], trimap), ALPHA)
    image, trimap = scene(60, 190)
    apart = matte(MODEL, image[None], trimap, strategy="local", reach=2)[0] - matte(MODEL, image[None], trimap)[0]
    assert bool(apart.isfinite().all()) and float(apart.abs().max()) > 1e-4
    some = trimap.clone()
    some[:, 60:] = some[:, 60:].round()  # nothing unknown there, and the unknown area's alpha stays nearly as it was
    tokens = prepare(MODEL, image[None], some, strategy="local", reach=2).footprint.tokens
    assert tokens == 4 * 12


def test_out_of_memory_is_answered_by_smaller_tiles(monkeypatch):
    image, trimap = scene(96, 100)
    expected = matte(MODEL, image[None], trimap)
    real, failed = F.pad, []

    def pad(x, *rest, **more):
        if len(failed) < 3 and x.ndim == 2 and x.shape[0] > 60:
            failed.append(1)
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(x, *rest, **more)

    monkeypatch.setattr("vitmatte.inference.denoise.F.pad", pad)
    assert_close(matte(MODEL, image[None], trimap), expected, ALPHA)
    assert len(failed) == 3


def test_a_memory_limit_is_kept_or_named():
    image, trimap = scene(96, 100)
    job = prepare(MODEL, image[None], trimap)
    with pytest.raises(MemoryLimitError) as told:
        matte(MODEL, image[None], trimap, memory_limit=1)
    least = told.value.least
    assert least <= job.plan().peak_bytes and job.plan(least).peak_bytes == least
    assert_close(matte(MODEL, image[None], trimap, memory_limit=least), matte(MODEL, image[None], trimap), ALPHA)


@pytest.mark.parametrize("dtype, most", [(torch.bfloat16, 0.3), (torch.float16, 0.05)], ids=str)
def test_half_precision(dtype, most):
    image, trimap = scene(64, 64)
    net = random_diffmatte(diffmatte_config(steps=1))
    expected = matte(model_of(net), image[None], trimap)
    net.fold()
    assert_close(matte(model_of(net.to(dtype)), image[None], trimap), expected, most)


@pytest.mark.parametrize("part", ["down_blks.0.conv1", "down_blks.1.downsample.op", "mid_blk.conv1",
                                  "up_blks.2.upsample.conv"])
def test_overflow_is_answered_by_float32(part):
    """Products beyond what float16 holds, which a ReLU or a sigmoid would hide."""
    net = random_diffmatte(diffmatte_config(steps=2))
    net.get_submodule(f"decoder.{part}").weight.mul_(3e4)
    image, trimap = scene(64, 64)
    half = net.half()
    found = matte(model_of(half), image[None], trimap)
    assert_close(found, matte(model_of(half.float()), image[None], trimap), ALPHA)


def test_small_frames_run_together():
    net = random_diffmatte()
    images = torch.rand(5, 40, 40, 3)
    trimaps = torch.stack([scene(40, 40, seed)[1] for seed in range(5)])
    together = matte(model_of(net), images, trimaps)
    for i in range(5):
        assert_close(together[i:i + 1], matte(model_of(net), images[i:i + 1], trimaps[i:i + 1]), ALPHA)


def test_the_published_size(tmp_path):
    """DiffMatte-ViTS's configuration is read from the shapes of its tensors."""
    config = MattingConfig(convstream_hidden_sizes=(32, 64, 128), diffusion=DiffusionConfig())
    net = randomise(ViTMatte(config))
    torch.save({"model": {f"model.{name}": value for name, value in net.state_dict().items()}}, tmp_path / "net.pth")
    found = load_net(tmp_path / "net.pth", fold=True).architecture
    assert found == replace(config, backbone=TransformerConfig())


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 12), (40, 33)], ids=str)
def test_strips_of_transposed_convolutions(monkeypatch, size):
    """As where products are written down, a few rows at a time."""
    conv = torch.nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
    x = torch.randn(1, 6, *size).contiguous(memory_format=torch.channels_last)
    seen: list[int] = []
    conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    with torch.no_grad():
        expected = conv(x)
        for rows in (1, 3, 8):
            monkeypatch.setattr(transposed, "UNFOLDED", rows * 16 * 5 * size[1] * 4)
            for unfolds in (True, False):
                monkeypatch.setattr(transposed, "unfolds", lambda unfolds=unfolds: unfolds)
                seen.clear()
                found = transposed.doubled(conv, x)
                assert torch.allclose(found, expected, atol=1e-5)
                assert max(seen) <= (rows + 2 if unfolds else size[0])
                assert len(seen) == (-(-size[0] // rows) if unfolds else 1)


def test_strips_within_a_net(monkeypatch):
    image, trimap = scene(90, 100)
    expected = matte(MODEL, image[None], trimap)
    monkeypatch.setattr(transposed, "UNFOLDED", 1)
    monkeypatch.setattr(transposed, "unfolds", lambda: True)
    assert_close(matte(MODEL, image[None], trimap), expected, ALPHA)


def test_processors_that_write_products_down(monkeypatch):
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)
    for capability, limit, expected in (("DEFAULT", None, True), ("AVX2", None, False), ("AVX512", "sse41", True),
                                        ("AVX2", "AVX", True), ("AVX512", "AVX2", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        with monkeypatch.context() as patch:
            if limit:
                patch.setenv("ONEDNN_MAX_CPU_ISA", limit)
            transposed.unfolds.cache_clear()
            assert transposed.unfolds() == expected
    transposed.unfolds.cache_clear()
