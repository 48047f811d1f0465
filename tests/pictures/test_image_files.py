"""Picture files: every mode, orientation, 16 bits, and files that are whole or absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import assert_close
from PIL import Image, ImageCms

from vitmatte.compositing.blend import colour, composite, fit
from vitmatte.files import check_can_write, whole_file
from vitmatte.pictures import reading, writing

RANDOM = np.random.default_rng(1)
PIXELS = RANDOM.integers(0, 256, (6, 9, 3)).astype(np.uint8)
GREY = RANDOM.integers(0, 256, (6, 9)).astype(np.uint8)


def grey_of(mode: str) -> Image.Image:
    return Image.fromarray(GREY).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I", "F"])
def test_pictures_of_every_mode(tmp_path, mode):
    path = tmp_path / "p.tif"
    picture = Image.fromarray(PIXELS).convert(mode)
    scaled = {"F": lambda levels: levels / np.float32(255), "I": lambda levels: levels * 257}.get(mode)
    (Image.fromarray(scaled(np.asarray(picture))) if scaled else picture).save(path)
    image = reading.read_image(path)
    assert image.shape == (1, 6, 9, 3) and image.dtype == torch.float32
    if mode in ("RGB", "RGBA"):
        assert_close(image[0], torch.from_numpy(PIXELS) / 255, 1e-7)


def test_sixteen_bit_grey_keeps_its_bits(tmp_path):
    levels = RANDOM.integers(0, 65536, (6, 9)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "d.png")
    assert_close(reading.read_mask(tmp_path / "d.png")[0], torch.from_numpy(levels / 65535).float(), 1e-7)
    assert_close(reading.read_image(tmp_path / "d.png")[0, ..., 1], torch.from_numpy(levels / 65535).float(), 1e-7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_respected(tmp_path, orientation):
    upright = Image.fromarray(PIXELS)
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # what a camera's sensor would store
    stored = upright if turned is None else upright.transpose(Image.Transpose(turned))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "p.png", exif=exif)
    assert_close(reading.read_image(tmp_path / "p.png")[0], torch.from_numpy(PIXELS) / 255, 1e-7)


def test_masks_by_alpha_or_brightness(tmp_path):
    path = tmp_path / "m.png"
    for picture, expected in (
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(np.dstack([PIXELS, GREY]), "RGBA"), GREY),
        (Image.fromarray(np.dstack([np.dstack([GREY] * 3), np.full_like(GREY, 255)]), "RGBA"), GREY),
        (grey_of("1"), np.asarray(grey_of("1")) * 255),
    ):
        picture.save(path)
        assert_close(reading.read_mask(path)[0], torch.from_numpy(expected / 255).float(), 1e-6)


def test_mattes_keep_sixteen_bits(tmp_path):
    alpha = torch.rand(5, 7)
    for name in ("a.png", "a.tif"):
        writing.write_matte(tmp_path / name, alpha)
        assert_close(reading.read_mask(tmp_path / name)[0], alpha, 0.51 / 65535)
    with pytest.raises(ValueError, match="a matte needs 16 bits"):
        writing.write_matte(tmp_path / "a.jpg", alpha)


def test_trimaps_are_what_other_programs_expect(tmp_path):
    writing.write_trimap(tmp_path / "t.png", torch.tensor([[0, 0.5, 1]]))
    with Image.open(tmp_path / "t.png") as found:
        assert found.mode == "L" and list(np.array(found)[0]) == [0, 128, 255]


def test_cutouts_and_their_profile(tmp_path):
    image, profile = torch.rand(5, 7, 4), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("c.png", "c.tif"):
        writing.write_image(tmp_path / name, image, profile=profile)
        with Image.open(tmp_path / name) as found:
            assert found.mode == "RGBA" and found.info["icc_profile"] == profile
            assert_close(torch.from_numpy(np.array(found)) / 255, image, 0.51 / 255)
    assert reading.read_photograph(tmp_path / "c.png").profile == profile


@pytest.mark.parametrize(("name", "channels", "said"), [
    ("c.jpg", 4, "has no transparency; write a .png"), ("c.xyz", 3, "unknown kind of picture"), ("c", 3, "unknown"),
])
def test_names_that_cannot_be_written(tmp_path, name, channels, said):
    with pytest.raises(ValueError, match=said):
        writing.write_image(tmp_path / name, torch.zeros(2, 2, channels))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"x\.png is not a picture"):
        reading.read_image(tmp_path / "x.png")
    Image.fromarray(PIXELS.repeat(50, 0).repeat(50, 1)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.png cannot be read as a picture"):
        reading.read_image(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError, match=r"no picture .*nothing\.png"):
        reading.read_image(tmp_path / "nothing.png")


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "f.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "first" and [p.name for p in path.parent.iterdir()] == ["f.txt"]
    with pytest.raises(IsADirectoryError, match="is a folder"), whole_file(tmp_path):
        pass
    for below in (path / "g.txt", path / "deeper" / "g.txt"):
        with pytest.raises(NotADirectoryError, match=r"g\.txt could not be written: .*f\.txt is a file; expected a f"):
            check_can_write(below)
        with pytest.raises(NotADirectoryError, match=r"f\.txt is a file"), whole_file(below):
            pass


def test_compositing():
    foreground, alpha = torch.rand(2, 4, 5, 3), torch.rand(2, 4, 5)
    background = colour("#ff8000")
    assert_close(background, torch.tensor([1, 128 / 255, 0]), 1e-7)
    found = composite(foreground, alpha, background)
    assert_close(found[1, 2, 3], alpha[1, 2, 3] * foreground[1, 2, 3] + (1 - alpha[1, 2, 3]) * background, 1e-6)
    for text in ("ff8000", "#ff80", "#gggggg", ""):
        with pytest.raises(ValueError, match="expected #RRGGBB"):
            colour(text)


@pytest.mark.parametrize("size", [(10, 10), (30, 7), (7, 30), (40, 81), (2, 2)], ids=str)
def test_backgrounds_cover(size):
    ramp = torch.linspace(0, 1, 41).view(1, 1, 41, 1).expand(1, 21, 41, 3)
    found = fit(ramp, *size)
    assert found.shape == (1, *size, 3) and found.min() >= 0 and found.max() <= 1
    assert abs(float(found.mean()) - 0.5) < 0.02  # the middle is kept
