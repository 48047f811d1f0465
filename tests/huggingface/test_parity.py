"""The same alphas as transformers, from the same weights and pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from nets import SPREAD, assert_close, random_net, randomise, small_config
from paths import DATA
from rounding import ALPHA, ALPHA_LARGE, U, features_bound

from vitmatte import MattingModel, VitDetConfig, VitMatteConfig, VitMatteForImageMatting, VitMatteImageProcessor, matte
from vitmatte.inference.preprocessing import HUB_MEAN, HUB_STD, Preprocessing

transformers = pytest.importorskip("transformers")

REFERENCE = DATA / "published"  # of hustvl's repositories on the hub
# (x / 255 - 0.5) / 0.5, at most 1: each side rounds x / 255 and its factor, the difference and the quotient.
PIXELS = 2 * 6 * U
SIZES = [(512, 512), (640, 960), (417, 738), (33, 50)]


def base_config() -> VitMatteConfig:
    small = VitMatteConfig().vitdet.to_dict()
    return VitMatteConfig(backbone_config={**small, "hidden_size": 768, "num_attention_heads": 12}, hidden_size=768)


CONFIGS = {"S": VitMatteConfig, "B": base_config}


def theirs(config: VitMatteConfig):
    """transformers' net of a configuration of ours."""
    from transformers import VitMatteConfig as Config
    from transformers import VitMatteForImageMatting as Net

    values = config.to_dict()
    del values["model_type"]
    return Net(Config(**values)).eval()


def hub_processor():
    try:
        from transformers.models.vitmatte.image_processing_pil_vitmatte import VitMatteImageProcessorPil as Processor
    except ImportError:
        from transformers import VitMatteImageProcessor as Processor
    return Processor()


def picture(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An 8-bit picture with coarse and fine structure, and a trimap of 0, 128 and 255."""
    random = np.random.default_rng(height * width)
    coarse = np.kron(random.integers(0, 200, (height // 24 + 1, width // 24 + 1, 3)), np.ones((24, 24, 1)))
    image = (coarse[:height, :width] + random.integers(0, 56, (height, width, 3))).astype(np.uint8)
    trimap = np.kron(random.integers(0, 3, (height // 16 + 1, width // 16 + 1)), np.ones((16, 16)))
    return image, np.array([0, 128, 255], np.uint8)[trimap[:height, :width].astype(int)]


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request):
    """(our net, theirs) with the same random weights."""
    ours = random_net(CONFIGS[request.param](), seed=1)
    other = theirs(ours.config)
    other.load_state_dict(ours.state_dict(), strict=True)
    return ours, other


@pytest.mark.slow
@pytest.mark.parametrize("size", [*SIZES[:-1], pytest.param(SIZES[-1], marks=pytest.mark.numbers)], ids=str)
@torch.inference_mode()
def test_alpha_equals_transformers(pair, size):
    ours, other = pair
    image, trimap = picture(*size)
    pixels = hub_processor()(images=image, trimaps=trimap, return_tensors="pt")["pixel_values"]
    expected = other(pixels).alphas
    assert expected.std() > SPREAD
    assert_close(VitMatteImageProcessor()(image, trimap, return_tensors="pt").pixel_values, pixels, PIXELS)
    assert_close(ours(pixels).alphas, expected, ALPHA_LARGE)

    model = MattingModel(ours, Preprocessing(HUB_MEAN, HUB_STD, unknown=None))
    alpha = matte(model, torch.from_numpy(image / np.float32(255))[None], torch.from_numpy(trimap / np.float32(255)))
    unknown = torch.from_numpy(trimap == 128)
    assert_close(alpha[0][unknown], expected[0, 0, :size[0], :size[1]][unknown], ALPHA_LARGE)
    assert_close(alpha[0][~unknown], torch.from_numpy(trimap / np.float32(255))[~unknown], 0)


@pytest.mark.numbers
@pytest.mark.parametrize("changes", [
    {}, {"hidden_act": "relu"}, {"qkv_bias": False},  # transformers 5 cannot build a net without absolute positions
    {"use_relative_position_embeddings": False}, {"window_size": 0}, {"layer_norm_eps": 0.1},
    {"image_size": [64, 128]}, {"out_features": ["stage2"]}, {"mlp_ratio": 2},
], ids=str)
@torch.inference_mode()
def test_every_option_of_the_backbone(changes):
    ours = random_net(small_config(**changes), seed=8)
    other = theirs(ours.config)
    other.load_state_dict(ours.state_dict(), strict=True)
    image, trimap = picture(112, 144)
    pixels = hub_processor()(images=image, trimaps=trimap, return_tensors="pt")["pixel_values"]
    expected = other(pixels).alphas
    assert expected.std() > SPREAD
    assert_close(ours(pixels).alphas, expected, ALPHA)


@pytest.mark.numbers
@torch.inference_mode()
def test_hidden_states_and_attentions():
    ours = random_net(seed=3)
    other = theirs(ours.config)
    other.load_state_dict(ours.state_dict(), strict=True)
    other.set_attn_implementation("eager")
    pixels = torch.randn(2, 4, 64, 96)
    found = ours(pixels, output_hidden_states=True, output_attentions=True)
    expected = other(pixels, output_hidden_states=True, output_attentions=True)
    assert len(found.hidden_states) == len(expected.hidden_states) == 5
    assert len(found.attentions) == len(expected.attentions) == 4
    for a, b in zip([*found.hidden_states, *found.attentions], [*expected.hidden_states, *expected.attentions],
                    strict=True):
        assert_close(a, b, features_bound(b))
    assert_close(ours(pixels, return_dict=False)[0], found.alphas, ALPHA)  # fused attention against the reference


@pytest.mark.numbers
def test_files_load_in_both_directions(tmp_path):
    from transformers import VitMatteForImageMatting as Net

    ours = random_net(seed=4)
    ours.save_pretrained(tmp_path / "ours")
    other, told = Net.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    pixels = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        assert_close(other.eval()(pixels).alphas, ours(pixels).alphas, ALPHA)

    other = randomise(theirs(small_config(window_size=2)), seed=5)
    other.save_pretrained(tmp_path / "theirs")
    found = VitMatteForImageMatting.from_pretrained(tmp_path / "theirs")
    with torch.inference_mode():
        assert_close(found(pixels).alphas, other(pixels).alphas, ALPHA)


@pytest.mark.parametrize(("size", "config"), [("small", CONFIGS["S"]), ("base", CONFIGS["B"])])
def test_names_shapes_and_configuration_are_the_hubs(size, config):
    folder = REFERENCE / f"vitmatte-{size}"
    shapes = json.loads((folder / "state_dict_shapes.json").read_text())
    net = VitMatteForImageMatting(config(), device="meta")
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == shapes
    read, given = VitMatteConfig.from_pretrained(folder), json.loads((folder / "config.json").read_text())
    assert read.vitdet == VitDetConfig.from_dict(config().vitdet.to_dict() | given["backbone_config"])
    written = read.to_dict()
    assert {key: written[key] for key in given if key != "backbone_config"} == \
           {key: given[key] for key in given if key != "backbone_config"}
    assert given["backbone_config"].items() <= written["backbone_config"].items()
