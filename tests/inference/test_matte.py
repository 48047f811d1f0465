"""`matte`: the same size, the same place, the stated rules for batches, and errors that say what is wrong."""

from __future__ import annotations

import pytest
import torch
from nets import SPREAD, assert_close, random_net
from paths import DATA
from rounding import ALPHA
from safetensors.torch import load_file

from vitmatte import MattingModel, load_model, make_trimap, matte
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.weights.save import save_net

pytestmark = pytest.mark.numbers

GOLDEN = DATA / "golden.safetensors"


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def scene():
    """(image [1, 90, 130, 3], trimap [1, 90, 130]) with known and unknown areas."""
    golden = load_file(GOLDEN)
    trimap = torch.where(golden["trimap"] == 128, 0.5, golden["trimap"] / 255)
    return (golden["image"] / 255)[None, :90, :130], trimap[None, :90, :130]


def test_golden_alpha(model):
    """transformers' alpha of the bundled model, so that parity holds where transformers is not installed.

    At 512 x 512 pixels transformers takes the model's position tables as they were trained.
    """
    golden = load_file(GOLDEN)
    height, width = golden["trimap"].shape
    trimap, image = torch.zeros(512, 512), torch.zeros(1, 512, 512, 3)
    trimap[:height, :width] = torch.where(golden["trimap"] == 128, 0.5, golden["trimap"] / 255)
    image[0, :height, :width] = golden["image"] / 255
    alpha = matte(model, image, trimap, strategy="exact", refine=0)[0, :height, :width]
    trimap = trimap[:height, :width]
    unknown = trimap == 0.5
    assert golden["alpha"][unknown].std() > SPREAD
    assert_close(alpha[unknown], golden["alpha"][unknown], ALPHA)
    assert_close(alpha[~unknown], trimap[~unknown], 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (31, 32), (64, 65)], ids=str)
def test_any_size_keeps_size_and_place(model, size):
    image, trimap = torch.rand(1, *size, 3), torch.full((1, *size), 0.5)
    alpha = matte(model, image, trimap)
    assert alpha.shape == (1, *size) and alpha.dtype == torch.float32
    assert alpha.min() >= 0 and alpha.max() <= 1


@pytest.mark.parametrize("size", [(64, 20), (20, 96), (160, 32), (33, 32)], ids=str)
def test_any_size_in_a_grid(model, size):
    alpha = matte(model, torch.rand(1, *size, 3), torch.full((1, *size), 0.5), strategy="grid")
    assert alpha.shape == (1, *size) and bool(alpha.isfinite().all())


@pytest.mark.parametrize("size", [(90, 130), (64, 130), (90, 128)], ids=str)
def test_padding_is_cropped_not_stretched(scene, size):
    """The matte is the top left of the padded net's, pixel for pixel."""
    net = random_net()
    image, trimap = (x[:, :size[0], :size[1]] for x in scene)
    pixels = Preprocessing().net_input(image, trimap)
    assert pixels.shape[-2:] == (64 if size[0] == 64 else 96, 128 if size[1] == 128 else 160)
    with torch.inference_mode():
        padded = net(pixels).alphas[0, 0]
    unknown = trimap[0] == 0.5
    alpha = matte(MattingModel(net, Preprocessing()), image, trimap)[0]
    assert_close(alpha[unknown], padded[:size[0], :size[1]][unknown], ALPHA)


def test_known_pixels_are_exactly_the_trimap(model, scene):
    image, _ = scene
    trimap = torch.randint(0, 3, (1, 90, 130)) / 2
    alpha = matte(model, image, trimap)
    assert alpha[trimap != 0.5].equal(trimap[trimap != 0.5])
    assert alpha[trimap == 0.5].std() > SPREAD


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_unknown_pixels_the_net_is_not_run(scene, value, monkeypatch):
    image, _ = scene
    model = MattingModel(random_net(), Preprocessing())
    monkeypatch.setattr("vitmatte.inference.matting.compute_with_retries", None)
    trimap = torch.full((90, 130), value)
    assert matte(model, image, trimap).equal(trimap[None])


def test_weights_that_are_elsewhere_are_named(scene):
    model = MattingModel(random_net(), Preprocessing())
    with pytest.raises(ValueError, match=r"are torch.float32 on cpu, and it is to run in torch.float16 on cuda"):
        matte(model, *scene, device="cuda", dtype=torch.float16)


def test_all_unknown(model, scene):
    alpha = matte(model, scene[0], torch.full((90, 130), 0.5))
    assert alpha.std() > SPREAD


def test_one_trimap_serves_eight_frames(model, scene):
    image, trimap = scene
    frames = torch.stack([image[0].roll(i, dims=0) for i in range(8)])
    together = matte(model, frames, trimap, refine=0)
    assert together.shape == (8, 90, 130)
    for i in range(8):
        assert_close(together[i:i + 1], matte(model, frames[i:i + 1], trimap, refine=0), ALPHA)
    assert_close(matte(model, frames, trimap[0], refine=0), together, 0)


def test_one_frame_serves_eight_trimaps(model, scene):
    image, trimap = scene
    trimaps = torch.cat([trimap.roll(i, dims=2) for i in range(8)])
    together = matte(model, image, trimaps, refine=0)
    assert together.shape == (8, 90, 130)
    for i in range(8):
        assert_close(together[i:i + 1], matte(model, image, trimaps[i:i + 1], refine=0), ALPHA)


def test_eight_frames_with_eight_trimaps(model, scene):
    image, trimap = scene
    frames = torch.stack([image[0].roll(i, dims=0) for i in range(8)])
    trimaps = torch.cat([trimap.roll(i, dims=1) for i in range(8)])
    together = matte(model, frames, trimaps, refine=0)
    for i in range(8):
        assert_close(together[i:i + 1], matte(model, frames[i:i + 1], trimaps[i:i + 1], refine=0), ALPHA)


def test_alpha_channels_and_layouts_do_not_matter(model, scene):
    image, trimap = scene
    expected = matte(model, image, trimap)
    rgba = torch.cat([image, torch.rand(1, 90, 130, 1)], dim=-1)
    assert_close(matte(model, rgba, trimap), expected, 0)
    strided = image.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert_close(matte(model, strided, trimap), expected, 0)
    assert_close(matte(model, image.half(), trimap.half()), expected, 0.02)
    assert_close(matte(model, image.double().requires_grad_(), trimap.double()), expected, 0)


def test_inputs_are_left_alone(model, scene):
    image, trimap = (x.clone() for x in scene)
    matte(model, image, trimap)
    assert image.equal(scene[0]) and trimap.equal(scene[1])


def test_anything_between_is_unknown(model, scene):
    image, trimap = scene
    soft = torch.where(trimap == 0.5, torch.rand_like(trimap) * 0.96 + 0.02, trimap)
    assert_close(matte(model, image, soft), matte(model, image, trimap), 0)


def test_an_eight_bit_step_from_sure_is_sure(model, scene):
    image, trimap = scene
    near = torch.where(trimap == 1, 254 / 255, torch.where(trimap == 0, 1 / 255, trimap))
    assert_close(matte(model, image, near), matte(model, image, trimap), 0)


def test_normalizations_differ_as_they_should(tmp_path, scene):
    """"hub" is what preprocessor_config.json says, with the trimap's own values; "as_trained" is ImageNet's."""
    net = random_net()
    save_net(net, tmp_path)
    image, trimap = scene
    trimap = torch.where(trimap == 0.5, 128 / 255, trimap)
    hub, trained = (load_model(tmp_path, normalization=n) for n in ("hub", "as_trained"))
    assert hub.preprocessing == Preprocessing((0.5,) * 3, (0.5,) * 3, 32, None)
    assert trained.preprocessing == Preprocessing()
    assert (matte(hub, image, trimap) - matte(trained, image, trimap)).abs().mean() > 0.01
    pixels = torch.cat([image * 2 - 1, trimap[..., None]], dim=-1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = net(torch.nn.functional.pad(pixels, (0, 30, 0, 6))).alphas[:, 0, :90, :130]
    unknown = (trimap > 0) & (trimap < 1)
    assert_close(matte(hub, image, trimap)[unknown], expected[unknown], ALPHA)


def test_progress_and_interrupts(model, scene):
    image, trimap = scene
    seen = []
    matte(model, image.expand(3, -1, -1, -1), trimap, on_progress=lambda done, total: seen.append(done / total))
    assert seen == sorted(seen) and seen[-1] == 1

    class Cancelled(Exception):
        pass

    calls = []

    def cancel():
        calls.append(None)
        if len(calls) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        matte(model, image.expand(3, -1, -1, -1), trimap, check_interrupt=cancel)


IMAGE, TRIMAP = torch.zeros(1, 8, 8, 3), torch.full((1, 8, 8), 0.5)


@pytest.mark.parametrize(("image", "trimap", "said"), [
    (IMAGE.expand(3, -1, -1, -1), TRIMAP.expand(2, -1, -1), "3 images and 2 trimaps; expected equal numbers"),
    (IMAGE, torch.zeros(1, 8, 9), r"image is 8x8 and trimap 9x8 \(width x height\)"),
    (IMAGE[0], TRIMAP, r"image has shape \[8, 8, 3\]; expected \[batch, height, width, 3 or 4\]"),
    (IMAGE[..., :1], TRIMAP, r"image has shape \[1, 8, 8, 1\]"),
    (IMAGE.permute(0, 3, 1, 2), TRIMAP, r"image has shape \[1, 3, 8, 8\]"),
    (IMAGE, TRIMAP[None], r"trimap has shape \[1, 1, 8, 8\]"),
    (IMAGE[:0], TRIMAP, r"image has shape \[0, 8, 8, 3\]: it is empty"),
    (IMAGE, TRIMAP[:0], r"trimap has shape \[0, 8, 8\]: it is empty"),
    (IMAGE.byte(), TRIMAP, "image is torch.uint8; .* divide by 255"),
    (IMAGE, TRIMAP.int(), "trimap is torch.int32"),
    (IMAGE * float("nan"), TRIMAP, "image has values that are not finite"),
    (IMAGE, TRIMAP / 0, "trimap has values that are not finite"),
    (IMAGE + 200, TRIMAP, "image has values from 200 to 200; expected 0..1"),
    (IMAGE, TRIMAP * 255, "trimap has values from 127.5 to 127.5; expected 0..1"),
    (IMAGE, TRIMAP - 1.5, "trimap has values from -1 to -1; expected 0..1"),
    (IMAGE, TRIMAP * 4, "trimap has values from 2 to 2; expected 0..1"),  # labels 0, 1 and 2
])
def test_refusals(model, image, trimap, said):
    with pytest.raises(ValueError, match=said):
        matte(model, image, trimap)


@pytest.mark.parametrize(("arguments", "error", "said"), [
    ({"name_or_path": "vitmatte-huge"}, FileNotFoundError, "no model 'vitmatte-huge': .*vitmatte-tiny"),
    ({"normalization": "imagenet"}, ValueError, "normalization is 'imagenet'; expected one of as_trained, hub"),
    ({"dtype": torch.float8_e4m3fn}, ValueError, "dtype is torch.float8_e4m3fn"),
])
def test_loading_refusals(arguments, error, said):
    with pytest.raises(error, match=said):
        load_model(**arguments)


def test_half_precision_is_close(scene):
    image, trimap = scene
    expected = matte(load_model(), image, trimap)
    found = matte(load_model(dtype=torch.bfloat16), image, trimap)
    assert found.dtype == torch.float32 and (found - expected).abs().mean() < 0.01


def test_a_rough_mask_becomes_a_matte(model, scene):
    """From mask to matte, as the README says."""
    image, _ = scene
    mask = (torch.arange(130) > 60).float().expand(1, 90, 130)
    alpha = matte(model, image, make_trimap(mask, inner=8, outer=8))
    assert (alpha[..., :50] == 0).all() and (alpha[..., 75:] == 1).all() and alpha[..., 54:68].std() > SPREAD


def test_every_frame_is_handed_over_once_and_in_turn(model):
    """Also settled ones, which need no net, between small ones that run together."""
    image, trimap = torch.rand(6, 32, 32, 3), torch.full((6, 32, 32), 0.5)
    trimap[2] = 1
    seen = []
    found = matte(model, image, trimap, on_frame=lambda number, alpha: seen.append((number, alpha.clone())))
    assert [number for number, _ in seen] == list(range(6))
    assert all(alpha.equal(found[number]) for number, alpha in seen)
