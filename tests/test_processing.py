"""VitMatteImageProcessor: every documented argument, every kind of input, against transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from nets import assert_close
from PIL import Image

from vitmatte import VitMatteImageProcessor
from vitmatte.processing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (21, 45, 3)).astype(np.uint8)
TRIMAP = RANDOM.choice([0, 128, 255], (21, 45)).astype(np.uint8)


def test_defaults_are_the_documented_ones():
    values = VitMatteImageProcessor().to_dict()
    assert values == {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_pad": True,
                      "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size_divisibility": 32,
                      "image_processor_type": "VitMatteImageProcessor"}


def test_arithmetic_and_padding():
    pixels = VitMatteImageProcessor()(IMAGE, TRIMAP, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 4, 32, 64) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0, :3, :21, :45], (IMAGE / 255 - 0.5).transpose(2, 0, 1) / 0.5, atol=1e-6)
    np.testing.assert_allclose(pixels[0, 3, :21, :45], TRIMAP / 255, atol=1e-6)
    assert not pixels[..., 21:, :].any() and not pixels[..., 45:].any()


@pytest.mark.parametrize("arguments", [
    {}, {"do_rescale": False}, {"rescale_factor": 0.5}, {"do_normalize": False}, {"image_mean": IMAGENET_MEAN},
    {"image_std": list(IMAGENET_STD)}, {"do_pad": False}, {"size_divisor": 20},
], ids=str)
def test_every_argument_equals_transformers(arguments):
    module = pytest.importorskip("transformers.models.vitmatte.image_processing_pil_vitmatte")
    expected = module.VitMatteImageProcessorPil(**arguments)(images=IMAGE, trimaps=TRIMAP, return_tensors="np")
    at_start = VitMatteImageProcessor(**arguments)(IMAGE, TRIMAP, return_tensors="np")
    at_call = VitMatteImageProcessor().preprocess(IMAGE, TRIMAP, return_tensors="np", **arguments)
    for found in (at_start, at_call):
        assert found["pixel_values"].shape == expected["pixel_values"].shape
        np.testing.assert_allclose(found["pixel_values"], expected["pixel_values"], rtol=1e-5, atol=1e-5)


def pairs():
    """The same picture and trimap in every form that is taken."""
    first = np.ascontiguousarray(IMAGE.transpose(2, 0, 1))
    opaque = np.dstack([IMAGE, np.full_like(TRIMAP, 7)])
    yield "pil", Image.fromarray(IMAGE), Image.fromarray(TRIMAP)
    yield "pil rgba", Image.fromarray(opaque, "RGBA"), Image.fromarray(TRIMAP)
    yield "numpy last", IMAGE, TRIMAP
    yield "numpy first", first, TRIMAP[None]
    yield "numpy rgba", opaque, TRIMAP[..., None]
    yield "numpy rgba first", np.ascontiguousarray(opaque.transpose(2, 0, 1)), TRIMAP
    yield "tensor last", torch.from_numpy(IMAGE), torch.from_numpy(TRIMAP)
    yield "tensor first", torch.from_numpy(first), torch.from_numpy(TRIMAP)
    yield "batch", IMAGE[None], TRIMAP[None]
    yield "tensor batch", torch.from_numpy(first)[None], torch.from_numpy(TRIMAP)[None, None]
    yield "lists", [IMAGE], [TRIMAP]


@pytest.mark.parametrize(("image", "trimap"), [pair[1:] for pair in pairs()], ids=[pair[0] for pair in pairs()])
def test_every_form_gives_the_same(image, trimap):
    expected = VitMatteImageProcessor()(IMAGE, TRIMAP, return_tensors="pt").pixel_values
    assert_close(VitMatteImageProcessor()(image, trimap, return_tensors="pt").pixel_values, expected, 0)


def test_narrow_pictures_of_ambiguous_order():
    narrow = RANDOM.integers(0, 256, (3, 40, 3)).astype(np.uint8)
    expected = VitMatteImageProcessor()(Image.fromarray(narrow), narrow[..., 0], return_tensors="np").pixel_values
    found = VitMatteImageProcessor()(narrow, narrow[..., 0], input_data_format="channels_last", return_tensors="np")
    np.testing.assert_array_equal(found.pixel_values, expected)
    first = VitMatteImageProcessor()(narrow.transpose(2, 0, 1), narrow[..., 0], input_data_format="channels_first",
                                     return_tensors="np")
    np.testing.assert_array_equal(first.pixel_values, expected)


def test_batches_lists_and_orders():
    processor = VitMatteImageProcessor()
    images, trimaps = np.stack([IMAGE, IMAGE[::-1]]), np.stack([TRIMAP, TRIMAP[::-1]])
    batch = processor(images, trimaps, return_tensors="pt").pixel_values
    assert batch.shape == (2, 4, 32, 64)
    assert_close(processor(list(images), list(trimaps), return_tensors="pt").pixel_values, batch, 0)
    last = processor(images, trimaps, return_tensors="pt", data_format="channels_last").pixel_values
    assert_close(last.permute(0, 3, 1, 2), batch, 0)
    several = processor([IMAGE, IMAGE[:, :20]], [TRIMAP, TRIMAP[:, :20]]).pixel_values
    assert [p.shape for p in several] == [(4, 32, 64), (4, 32, 32)]


def test_result_unpacks_and_moves():
    inputs = VitMatteImageProcessor()(IMAGE, TRIMAP, return_tensors="pt")
    assert set({**inputs}) == {"pixel_values"}
    assert inputs.to(torch.float64).pixel_values.dtype == torch.float64
    with pytest.raises(AttributeError):
        inputs.labels  # noqa: B018


@pytest.mark.parametrize(("image", "trimap", "arguments", "said"), [
    (IMAGE, TRIMAP[:20], {}, "image of 21x45 and trimap of 20x45"),
    ([IMAGE, IMAGE], [TRIMAP], {}, "2 images and 1 trimaps"),
    (IMAGE[..., 0], TRIMAP, {}, r"\[21, 45\]"),
    (IMAGE[..., :2], TRIMAP, {}, r"\[21, 45, 2\]"),
    (IMAGE, IMAGE, {}, "trimap"),
    (IMAGE, TRIMAP, {"return_tensors": "tf"}, "return_tensors is 'tf'"),
    (IMAGE, TRIMAP, {"data_format": "last"}, "data_format is 'last'"),
    (IMAGE, TRIMAP, {"image_mean": [0.5, 0.5]}, "2 numbers"),
    ([IMAGE, IMAGE[:, :20]], [TRIMAP, TRIMAP[:, :20]], {"return_tensors": "pt"}, "several sizes"),
])
def test_refusals(image, trimap, arguments, said):
    with pytest.raises(ValueError, match=said):
        VitMatteImageProcessor()(image, trimap, **arguments)


def test_files_keep_what_they_hold(tmp_path):
    given = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "size_divisibility": 16, "crop": "none",
             "image_processor_type": "VitMatteImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(given))
    processor = VitMatteImageProcessor.from_pretrained(tmp_path)
    processor.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "preprocessor_config.json").read_text())
    assert given.items() <= again.items()
    assert VitMatteImageProcessor.from_pretrained(tmp_path / "again").to_dict() == processor.to_dict()


def test_preprocessing_of_a_folder(tmp_path):
    assert Preprocessing.from_folder(tmp_path) == Preprocessing((0.5,) * 3, (0.5,) * 3, 32, None)
    VitMatteImageProcessor(image_mean=0.25, size_divisor=64).save_pretrained(tmp_path)
    assert Preprocessing.from_folder(tmp_path) == Preprocessing((0.25,) * 3, (0.5,) * 3, 64, None)


def test_as_trained_is_imagenet_with_a_half_for_unknown():
    image, trimap = torch.rand(1, 5, 7, 3), torch.tensor([0, 0.2, 128 / 255, 1.0, 0.5, 0.9, 1.0]).expand(1, 5, 7)
    pixels = Preprocessing().net_input(image, trimap)
    assert pixels.shape == (1, 4, 32, 32)
    expected = (image - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert_close(pixels[0, :3, :5, :7], expected[0].permute(2, 0, 1), 1e-6)
    assert pixels[0, 3, 0, :7].tolist() == [0, 0.5, 0.5, 1, 0.5, 0.5, 1]
