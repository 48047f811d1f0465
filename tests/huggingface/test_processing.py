"""VitMatteImageProcessor: every documented argument, every kind of input, against transformers."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import numpy as np
import pytest
import torch
from nets import assert_close
from PIL import Image

from vitmatte import ImageMattingOutput, VitMatteImageProcessor, VitMatteImageProcessorFast, VitMatteImageProcessorPil
from vitmatte.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (21, 45, 3)).astype(np.uint8)
TRIMAP = RANDOM.choice([0, 128, 255], (21, 45)).astype(np.uint8)


def test_defaults_are_the_documented_ones():
    values = VitMatteImageProcessor().to_dict()
    assert values == {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_pad": True,
                      "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size_divisibility": 32,
                      "size_divisor": 32, "image_processor_type": "VitMatteImageProcessor"}


def test_arithmetic_and_padding():
    pixels = VitMatteImageProcessor()(IMAGE, TRIMAP, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 4, 32, 64) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[0, :3, :21, :45], (IMAGE / 255 - 0.5).transpose(2, 0, 1) / 0.5, atol=1e-6)
    np.testing.assert_allclose(pixels[0, 3, :21, :45], TRIMAP / 255, atol=1e-6)
    assert not pixels[..., 21:, :].any() and not pixels[..., 45:].any()


@pytest.mark.parametrize("arguments", [
    {}, {"do_rescale": False}, {"rescale_factor": 0.5}, {"do_normalize": False}, {"image_mean": IMAGENET_MEAN},
    {"image_std": list(IMAGENET_STD)}, {"do_pad": False}, {"size_divisor": 20}, {"do_rescale": True},
    {"image_mean": 0.25, "image_std": 2.0},
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
    with pytest.raises(AttributeError, match="pixel_values"):
        inputs.labels  # noqa: B018


def test_result_moves_in_place_and_casts_only_fractions():
    inputs = VitMatteImageProcessor()(IMAGE, TRIMAP, return_tensors="pt")
    inputs["size"], inputs["name"], inputs["many"] = torch.tensor([21, 45]), "x", [torch.zeros(2)]
    assert inputs.to("cpu", torch.bfloat16) is inputs and inputs.to(dtype=torch.float16) is inputs
    assert inputs.pixel_values.dtype == inputs.many[0].dtype == torch.float16
    assert inputs["size"].dtype == torch.int64 and inputs.name == "x"
    assert inputs.to("meta").pixel_values.device.type == inputs["size"].device.type == "meta"
    with pytest.raises(TypeError):
        inputs.to(torch.bfloat16, "cpu")


def test_result_copies_and_becomes_tensors():
    inputs = VitMatteImageProcessor()([IMAGE, IMAGE], [TRIMAP, TRIMAP])
    assert isinstance(inputs.pixel_values, list)
    for again in (copy.deepcopy(inputs), pickle.loads(pickle.dumps(inputs))):
        assert type(again) is type(inputs) and again.convert_to_tensors("pt").pixel_values.shape == (2, 4, 32, 64)
    assert inputs.data.keys() == {"pixel_values"}


@pytest.mark.parametrize("arguments", [{"device": "meta"}, {"disable_grouping": True}, {"do_convert_rgb": True}],
                         ids=str)
def test_arguments_of_newer_transformers(arguments):
    pixels = VitMatteImageProcessor()(images=IMAGE, trimaps=TRIMAP, return_tensors="pt", **arguments).pixel_values
    assert pixels.shape == (1, 4, 32, 64) and pixels.device.type == arguments.get("device", "cpu")


@pytest.mark.parametrize("grey", [IMAGE[..., 0], IMAGE[..., :1], IMAGE[None, ..., 0]], ids=["hw", "hw1", "1hw"])
def test_grey_arrays_by_request(grey):
    expected = VitMatteImageProcessor()(Image.fromarray(IMAGE[..., 0]), TRIMAP, return_tensors="np").pixel_values
    found = VitMatteImageProcessor()(grey, TRIMAP, do_convert_rgb=True, return_tensors="np").pixel_values
    np.testing.assert_array_equal(found, expected)


def test_a_fourth_channel_by_request():
    four = np.dstack([IMAGE, TRIMAP])
    how = {"image_mean": (0.0,) * 4, "image_std": (1.0,) * 4, "return_tensors": "np"}
    pixels = VitMatteImageProcessor()(four, TRIMAP, **how).pixel_values
    assert pixels.shape == (1, 5, 32, 64)
    np.testing.assert_allclose(pixels[0, 3, :21, :45], TRIMAP / 255, atol=1e-6)
    np.testing.assert_array_equal(VitMatteImageProcessor()(Image.fromarray(four, "RGBA"), TRIMAP, **how).pixel_values,
                                  pixels)
    with pytest.raises(ValueError, match=r"\[height, width, 4\]"):
        VitMatteImageProcessor()(IMAGE, TRIMAP, **how)


def test_flags_may_be_none_and_mean_no():
    processor = VitMatteImageProcessor(do_rescale=None, do_normalize=None, do_pad=None)
    joined = np.dstack([IMAGE, TRIMAP]).transpose(2, 0, 1)
    np.testing.assert_array_equal(processor(IMAGE, TRIMAP).pixel_values[0], joined)
    assert VitMatteImageProcessor.from_dict(processor.to_dict()).to_dict() == processor.to_dict()
    assert processor.to_dict()["do_rescale"] is None
    assert VitMatteImageProcessor.from_dict({"image_mean": None, "size_divisor": None}).size_divisor == 32


def test_values_already_in_0_1_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        VitMatteImageProcessor()(IMAGE / 255, TRIMAP)
        assert "do_rescale=False" in caplog.text
        caplog.clear()
        VitMatteImageProcessor()(IMAGE / 255, TRIMAP / 255, do_rescale=False)
        assert not caplog.text


def test_padding_of_arrays_and_tensors():
    image = RANDOM.random((3, 49, 91))
    padded = VitMatteImageProcessor().pad_image(image)
    assert padded.shape == (3, 64, 96) and padded.sum() == pytest.approx(image.sum())
    np.testing.assert_array_equal(VitMatteImageProcessor().pad_image(torch.from_numpy(image)).numpy(), padded)
    assert VitMatteImageProcessor().pad_image(image, size_divisor=10).shape == (3, 50, 100)


SIZES = [(21, 45), (30, 64)]
ALPHAS = torch.rand(2, 1, 32, 64)


@pytest.mark.parametrize("outputs", [
    ALPHAS, ALPHAS[:, 0], ImageMattingOutput(alphas=ALPHAS), {"alphas": ALPHAS}, ALPHAS.numpy(),
], ids=["tensor", "without channel", "output", "dict", "array"])
@pytest.mark.parametrize("sizes", [SIZES, torch.tensor(SIZES), np.array(SIZES), [list(size) for size in SIZES]],
                         ids=["pairs", "tensor", "array", "lists"])
def test_padding_is_taken_off_again(outputs, sizes):
    mattes = VitMatteImageProcessor().post_process_image_matting(outputs, sizes)
    assert [tuple(matte.shape) for matte in mattes] == SIZES
    for matte, alpha in zip(mattes, ALPHAS[:, 0], strict=True):
        np.testing.assert_array_equal(matte, alpha[: matte.shape[0], : matte.shape[1]])


def test_one_size_for_all_and_none_where_nothing_was_padded():
    processor = VitMatteImageProcessor()
    for size in ((21, 45), torch.tensor([21, 45])):
        assert [matte.shape for matte in processor.post_process_image_matting(ALPHAS, size)] == [(21, 45)] * 2
    assert [matte.shape for matte in processor.post_process_image_matting(ALPHAS)] == [(32, 64)] * 2
    whole = VitMatteImageProcessor(do_pad=False).post_process_image_matting(torch.rand(1, 1, 21, 45), [(21, 45)])
    assert whole[0].shape == (21, 45)
    other = processor.post_process_image_matting(torch.rand(1, 1, 48, 48), [(33, 45)], size_divisor=16)
    assert other[0].shape == (33, 45)


def test_round_trip_through_every_size():
    for height, width in ((1, 1), (31, 33), (32, 64), (45, 21)):
        pixels = VitMatteImageProcessor()(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8),
                                          return_tensors="pt").pixel_values
        matte, = VitMatteImageProcessor().post_process_image_matting(pixels[:, 3:], [(height, width)])
        assert matte.shape == (height, width)


@pytest.mark.parametrize(("outputs", "sizes", "said"), [
    (ALPHAS, [(21, 45)], "1 sizes for 2 mattes"),
    (ALPHAS, [(45, 21), (64, 30)], r"expected \(height, width\), and this is \(width, height\)"),
    (ALPHAS, [(21, 45), (16, 16)], "says 16x16, which padded to multiples of 32 is 32x32.*32x64"),
    (ALPHAS, (64, 128), "says 64x128"),
    (ALPHAS, [21, 45, 3], "original_sizes is"),
    (ALPHAS, [(0, 45), (21, 45)], "original_sizes is"),
    (ALPHAS, [(21.5, 45), (21, 45)], "original_sizes is"),
    (torch.rand(2, 3, 32, 64), SIZES, r"alphas is \[2, 3, 32, 64\]"),
    ({"logits": ALPHAS}, SIZES, "without alphas"),
    (ImageMattingOutput(), SIZES, "without alphas"),
])
def test_refusals_of_post_processing(outputs, sizes, said):
    with pytest.raises(ValueError, match=said):
        VitMatteImageProcessor().post_process_image_matting(outputs, sizes)


@pytest.mark.parametrize(("image", "trimap", "arguments", "said"), [
    (IMAGE, TRIMAP[:20], {}, "image is 45x21 and trimap 45x20"),
    ([IMAGE, IMAGE], [TRIMAP], {}, "2 images and 1 trimaps"),
    (IMAGE[..., 0], TRIMAP, {}, r"\[21, 45\]"),
    (IMAGE[..., :2], TRIMAP, {}, r"\[21, 45, 2\]"),
    (IMAGE, IMAGE, {}, "trimap"),
    (IMAGE, TRIMAP, {"return_tensors": "tf"}, "return_tensors is 'tf'"),
    (IMAGE, TRIMAP, {"data_format": "last"}, "data_format is 'last'"),
    (IMAGE, TRIMAP, {"image_mean": [0.5, 0.5]}, "2 numbers"),
    ([IMAGE, IMAGE[:, :20]], [TRIMAP, TRIMAP[:, :20]], {"return_tensors": "pt"}, "several sizes"),
    (IMAGE, TRIMAP, {"image_std": [1, 0, 1]}, "other than 0"),
    (IMAGE, TRIMAP, {"size_divisor": 0}, "size_divisor is 0"),
    (IMAGE, TRIMAP, {"size_divisor": 16, "size_divisibility": 32}, "size_divisibility is 32 and size_divisor 16"),
    (IMAGE, TRIMAP, {"device": "cpu"}, "device is 'cpu' with return_tensors None"),
    ("cat.png", TRIMAP, {}, "image is a str"),
    (IMAGE, Image.fromarray(TRIMAP.astype(np.int32) * 257), {}, "trimap is a PIL picture of mode I"),
    (Image.fromarray(IMAGE[..., 0].astype(np.float32)), TRIMAP, {}, "image is a PIL picture of mode F"),
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


def test_unknown_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match="extra_argument"):
        VitMatteImageProcessor()(IMAGE, TRIMAP, extra_argument=True)


@pytest.mark.parametrize("name", ["size_divisor", "size_divisibility"])
def test_both_names_of_the_divisor(tmp_path, name):
    processor = VitMatteImageProcessor(**{name: 16})
    assert processor.size_divisor == processor.size_divisibility == 16
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({name: 8}))
    read = VitMatteImageProcessor.from_pretrained(tmp_path)
    assert read.size_divisor == read.to_dict()["size_divisor"] == read.to_dict()["size_divisibility"] == 8
    assert VitMatteImageProcessor.from_pretrained(tmp_path, **{name: 64}).size_divisibility == 64
    read.size_divisibility = 128
    assert read.size_divisor == 128
    assert read(IMAGE, TRIMAP, return_tensors="np", **{name: 10}).pixel_values.shape == (1, 4, 30, 50)


def test_overrides_of_what_a_file_says(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "preprocessor_config.json").write_text(json.dumps({"do_pad": False, "crop": "none"}))
    read = VitMatteImageProcessor.from_pretrained(tmp_path, subfolder="inside", do_normalize=False, crop="all",
                                                  use_fast=True, local_files_only=True)
    assert (read.do_pad, read.do_normalize, read.extra) == (False, False, {"crop": "all"})
    with pytest.raises(TypeError, match="'foo'"):
        VitMatteImageProcessor.from_pretrained(tmp_path, subfolder="inside", foo=1)
    read, unused = VitMatteImageProcessor.from_pretrained(tmp_path / "inside", foo=1, do_pad=True,
                                                          return_unused_kwargs=True)
    assert read.do_pad is True and unused == {"foo": 1}
    with pytest.raises(FileNotFoundError):
        VitMatteImageProcessor.from_pretrained(tmp_path)


def test_hub_arguments_reach_the_hub(monkeypatch, tmp_path):
    given = {}
    (tmp_path / "preprocessor_config.json").write_text("{}")

    def fetch(name, **how):
        given.update(how, name=name)
        return tmp_path

    monkeypatch.setattr("vitmatte.huggingface.processor_config.fetch_repository", fetch)
    VitMatteImageProcessor.from_pretrained("somebody/something", revision="v1", cache_dir="c", token=False,
                                           local_files_only=True, force_download=True, subfolder="s")
    assert given == {"name": "somebody/something", "weights": False, "revision": "v1", "cache_dir": "c",
                     "token": False, "local_files_only": True, "force_download": True, "subfolder": "s"}


def test_json_and_saving(tmp_path):
    processor = VitMatteImageProcessor(image_mean=np.array(IMAGENET_MEAN), size_divisor=16)
    assert json.loads(processor.to_json_string()) == processor.to_dict()
    processor.to_json_file(tmp_path / "p.json")
    assert VitMatteImageProcessor.from_json_file(tmp_path / "p.json").to_dict() == processor.to_dict()
    assert processor.save_pretrained(tmp_path / "new") == [str(tmp_path / "new" / "preprocessor_config.json")]
    assert repr(processor).startswith("VitMatteImageProcessor {")
    with pytest.raises(ValueError, match="is a file"):
        processor.save_pretrained(tmp_path / "p.json")


def test_saved_files_load_in_transformers_and_back(tmp_path):
    module = pytest.importorskip("transformers.models.vitmatte.image_processing_pil_vitmatte")
    ours = VitMatteImageProcessor(image_mean=IMAGENET_MEAN, size_divisor=16, rescale_factor=0.5)
    ours.save_pretrained(tmp_path / "ours")
    theirs = module.VitMatteImageProcessorPil.from_pretrained(tmp_path / "ours")
    expected = ours(IMAGE, TRIMAP, return_tensors="np").pixel_values
    np.testing.assert_allclose(theirs(images=IMAGE, trimaps=TRIMAP, return_tensors="np").pixel_values, expected,
                               rtol=1e-5, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    back = VitMatteImageProcessor.from_pretrained(tmp_path / "theirs")
    np.testing.assert_array_equal(back(IMAGE, TRIMAP, return_tensors="np").pixel_values, expected)


def test_other_names_of_the_same():
    assert VitMatteImageProcessorPil is VitMatteImageProcessorFast is VitMatteImageProcessor


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
