"""Messages that name the likely cause and the remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from commands import run
from nets import random_net
from PIL import Image

from vitmatte import MattingModel, VitMatteImageProcessor, cut_out, load_model, make_trimap, matte
from vitmatte.compositing.overlay import tint

IMAGE = torch.rand(1, 48, 96, 3)
LYING, LOAD_IMAGE = "EXIF orientation turns it", "Load Image gives as the mask of a picture without transparency"


def processed(image: torch.Tensor, plane: torch.Tensor) -> object:
    return VitMatteImageProcessor()(image[0].numpy() * 255, plane.numpy() * 255)


TOGETHER = {
    "matte": lambda image, plane: matte(load_model(), image, plane),
    "cut_out": cut_out,
    "tint": tint,
    "strands": lambda image, plane: make_trimap(plane, image=image, strands=3),
    "mark": lambda image, plane: make_trimap(image[..., 0], unknown=plane),
    "processor": processed,
}


@pytest.mark.parametrize("name", list(TOGETHER))
@pytest.mark.parametrize(("plane", "said"), [
    (torch.full((96, 48), 0.5), LYING),
    (torch.zeros(64, 64), LOAD_IMAGE),
    (torch.full((24, 48), 0.5), "scale one to the other"),
    (torch.full((48, 80), 0.5), "are they of one picture"),
], ids=["lying", "Load Image", "smaller", "cropped"])
def test_sizes_that_differ(name, plane, said):
    with pytest.raises(ValueError, match="expected equal sizes") as told:
        TOGETHER[name](IMAGE, plane)
    assert said in str(told.value)


def test_a_mask_of_64x64_that_is_painted_is_none_of_load_images():
    plane = torch.zeros(64, 64)
    plane[20:40, 20:40] = 1
    with pytest.raises(ValueError) as told:
        cut_out(IMAGE, plane)
    assert LOAD_IMAGE not in str(told.value)


@pytest.mark.parametrize("invert", [False, True])
def test_a_trimap_of_load_images_mask(caplog, invert):
    trimap = make_trimap(torch.zeros(1, 64, 64), invert=invert)
    assert LOAD_IMAGE in caplog.text and "radius" not in caplog.text
    with pytest.raises(ValueError, match=LOAD_IMAGE):
        matte(load_model(), IMAGE, trimap)


def test_a_mask_drawn_on_the_stored_pixels(tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 48)).save(tmp_path / "p.jpg", exif=exif)
    Image.new("L", (96, 48), 255).save(tmp_path / "m.png")
    assert run("cutout", tmp_path / "p.jpg", "--mask", tmp_path / "m.png", "-o", tmp_path / "o.png") == 1
    told = capsys.readouterr().err
    assert "the photograph is 48x96 and the mask 96x48" in told and LYING in told
    assert "turn the mask by 90 degrees" in told


def test_a_mask_called_a_trimap(tmp_path, caplog):
    mask = torch.zeros(3, 48, 96)
    mask[:, 10:30, 20:60] = 1
    mask[1, 10, 20] = 0.5
    found = matte(load_model(), IMAGE, mask)
    assert (found[0] == mask[0]).all()
    assert "no unknown area in 2 of 3 frames (0, 2): the matte is the trimap itself" in caplog.text
    assert "--mask where you gave" in caplog.text
    caplog.clear()
    for empty in (torch.zeros(48, 96), torch.ones(48, 96)):  # a frame of a clip without its subject, or all subject
        matte(load_model(), IMAGE, empty)
    assert not caplog.text
    Image.fromarray((mask[0].numpy() * 255).astype(np.uint8)).save(tmp_path / "m.png")
    Image.new("RGB", (96, 48)).save(tmp_path / "p.png")
    assert run("cutout", tmp_path / "p.png", "--trimap", tmp_path / "m.png", "-o", tmp_path / "o.png") == 0
    assert "no unknown area: the matte is the trimap itself. If it is a black and white mask" in caplog.text


def test_weights_that_are_put_away():
    """As accelerate's cpu_offload leaves a net: its parameters on the device meta until a layer runs."""
    net = random_net().eval().to("meta")
    with pytest.raises(ValueError, match="cpu_offload.*remove_hook_from_module") as told:
        net(torch.zeros(1, 4, 32, 32))
    assert "pixel_values.to" not in str(told.value)
    for device in (None, "cpu"):
        with pytest.raises(ValueError, match="cpu_offload"):
            matte(MattingModel(net, load_model().preprocessing), IMAGE, torch.full((48, 96), 0.5), device=device)


PHOTO = np.full((32, 32, 3), 200, np.uint8)
SOFT = np.zeros((32, 32), np.float32)
SOFT[8:24, 8:24] = 0.5
SOFT[12:20, 12:20] = 1


@pytest.mark.parametrize(("image", "trimap", "options", "said"), [
    (PHOTO, SOFT > 0.7, {}, "at most 1 .* taken for background all over.* multiply it by 255"),
    (PHOTO, SOFT, {}, "at most 1 .* multiply it by 255"),
    (PHOTO, (SOFT * 2).astype(np.uint8), {}, "at most 2 .* labels 0, 1, 2 by 127.5"),
    (torch.from_numpy(PHOTO), torch.from_numpy(SOFT), {}, "at most 1"),
    (PHOTO / 255, SOFT, {}, "give both in 0..255"),
    (PHOTO / 255, (SOFT * 255).astype(np.uint8), {"do_rescale": False}, "reach 255 .* divide the trimap by 255"),
])
def test_scales_of_the_processors_trimaps(caplog, image, trimap, options, said):
    VitMatteImageProcessor()(image, trimap, **options)
    assert len(caplog.records) == 1 + (image.max() <= 1 and not options)
    assert re.search(said, caplog.records[-1].getMessage())


@pytest.mark.parametrize(("trimap", "options"), [
    ((SOFT * 255).astype(np.uint8), {}), (np.zeros((32, 32), np.uint8), {}), (SOFT, {"do_rescale": False}),
])
def test_right_scales_are_not_warned_of(caplog, trimap, options):
    VitMatteImageProcessor()(PHOTO / 255 if options else PHOTO, trimap, **options)
    assert not caplog.records
