"""Colours and profiles: what is written looks as the photograph did, on any background, and keeps what users keep."""

from __future__ import annotations

import logging

import numpy as np
import profiles
import pytest
import torch
from commands import run
from PIL import Image, ImageCms

from vitmatte.pictures.profiles import converted, same_space

SIDE = 32
STEPS = 2  # of 8 bits, by which colours may be off after one conversion
XYZ_TO_SRGB = np.linalg.inv(np.array(profiles.SRGB).T)


def srgb_of_light(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_of_lab(lab: tuple[float, float, float]) -> np.ndarray:
    """By the definition of CIE L*a*b* (D50), without any library."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * profiles.D50
    return srgb_of_light(XYZ_TO_SRGB @ xyz)


def p3_of_srgb(levels: tuple[int, ...]) -> np.ndarray:
    code = np.array(levels) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return srgb_of_light(np.linalg.inv(np.array(profiles.P3).T) @ np.array(profiles.SRGB).T @ light)


def srgb_of_p3(levels: tuple[int, ...]) -> np.ndarray:
    code = np.array(levels) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return srgb_of_light(XYZ_TO_SRGB @ np.array(profiles.P3).T @ light)


@pytest.fixture
def shots(tmp_path):
    """A function that saves a plain photograph with its mask and cuts it out; gives the result as it was written."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:24, 8:24] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")

    def cut(name: str, picture: Image.Image, *options: object, output: str = "out.png", **how: object) -> Image.Image:
        picture.save(tmp_path / name, **how)
        (tmp_path / output).unlink(missing_ok=True)
        assert run("cutout", tmp_path / name, "--mask", tmp_path / "mask.png", "-o", tmp_path / output, "--inner", 2,
                   "--outer", 2, *options) == 0
        return Image.open(tmp_path / output)

    return cut


def near(found: object, expected: object, steps: float = STEPS) -> bool:
    return bool(abs(np.asarray(found, np.float64)[..., :3] - np.asarray(expected)).max() <= steps)


def test_cmyk_with_its_profile(shots):
    found = shots("p.jpg", Image.new("CMYK", (SIDE, SIDE), (255, 0, 0, 0)), icc_profile=profiles.cmyk(), quality=100)
    assert found.mode == "RGBA" and "icc_profile" not in found.info
    assert near(found.getpixel((16, 16)), srgb_of_lab(profiles.CYAN), 3)  # 2, and the JPEG's own


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_with_its_profile(shots, mode):
    """0.5 of gamma 1 is 188 of sRGB."""
    picture = Image.new("L", (SIDE, SIDE), 128).convert(mode if mode != "I;16" else "L")
    if mode == "I;16":
        picture = Image.fromarray(np.full((SIDE, SIDE), 128 * 257, np.uint16))
    found = shots("p.png", picture, icc_profile=profiles.grey(1.0))
    assert found.mode == "RGBA" and "icc_profile" not in found.info
    assert near(found.getpixel((16, 16)), srgb_of_light(np.full(3, 128 / 255)))


def test_grey_with_an_rgb_profile_keeps_it(shots):
    found = shots("p.jpg", Image.new("L", (SIDE, SIDE), 90), icc_profile=profiles.display_p3())
    assert found.info["icc_profile"] == profiles.display_p3() and near(found.getpixel((16, 16)), (90, 90, 90))


def test_lab(shots):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for how in ({}, {"icc_profile": lab}):
        picture = Image.new("LAB", (SIDE, SIDE), (140, 148, 108))  # L* 55, a* 20, b* -20
        found = shots("p.tif", picture, **how)
        assert "icc_profile" not in found.info
        assert near(found.getpixel((16, 16)), srgb_of_lab((140 / 2.55, 20, -20)), 3)


def test_a_profile_without_a_way_back(shots):
    found = shots("p.png", Image.new("RGB", (SIDE, SIDE), (255, 0, 0)), icc_profile=profiles.scanner())
    assert "icc_profile" not in found.info and near(found.getpixel((16, 16)), srgb_of_lab((40, 50, 30)), 3)


@pytest.mark.parametrize(("mode", "profile", "said"), [
    ("RGB", profiles.cmyk(), "is of CMYK and its pixels are RGB"), ("RGB", profiles.grey(2.2), "is of GRAY"),
    ("CMYK", profiles.display_p3(), "is of RGB and its pixels are CMYK"), ("RGB", b"no profile", "cannot be read"),
    ("RGB", profiles.display_p3()[:200], "cannot be read"),
])
def test_profiles_that_mean_nothing_are_left_out(shots, caplog, mode, profile, said):
    found = shots("p.tif", Image.new(mode, (SIDE, SIDE), (10, 200, 30, 0)[:len(mode)]), icc_profile=profile)
    assert "icc_profile" not in found.info and "p.tif: its colour profile" in caplog.text and said in caplog.text


def test_a_colour_behind_a_display_p3_photograph(shots):
    found = shots("p.png", Image.new("RGB", (SIDE, SIDE), (200, 40, 40)), "--background", "#00b140",
                  icc_profile=profiles.display_p3())
    assert found.info["icc_profile"] == profiles.display_p3()
    assert near(found.getpixel((1, 1)), p3_of_srgb((0, 0xb1, 0x40))) and near(found.getpixel((16, 16)), (200, 40, 40))
    assert not near(found.getpixel((1, 1)), (0, 0xb1, 0x40), 20)  # as it was


def test_backgrounds_come_into_the_photographs_space(shots, tmp_path):
    colour = (60, 180, 90)
    picture, behind = Image.new("RGB", (SIDE, SIDE), (200, 40, 40)), Image.new("RGB", (SIDE, SIDE), colour)
    behind.save(tmp_path / "srgb.png")
    behind.save(tmp_path / "p3.png", icc_profile=profiles.display_p3())
    p3 = {"icc_profile": profiles.display_p3()}
    for background, how, expected in (("srgb", p3, p3_of_srgb(colour)), ("p3", {}, srgb_of_p3(colour)),
                                      ("p3", p3, colour), ("srgb", {}, colour)):
        found = shots("p.png", picture, "--background", tmp_path / f"{background}.png", **how)
        assert near(found.getpixel((1, 1)), expected) and near(found.getpixel((16, 16)), (200, 40, 40), 1)
        assert found.info.get("icc_profile") == how.get("icc_profile")


def test_two_makers_srgb_are_one(shots):
    """No step is lost where nothing is to be converted."""
    lcms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (lcms, profiles.srgb()):
        assert same_space(profile, None) and not same_space(profile, profiles.display_p3())
        found = shots("p.png", Image.new("RGB", (SIDE, SIDE), 60), "--background", "#00ff01", icc_profile=profile)
        assert found.getpixel((1, 1)) == (0, 255, 1) and found.info["icc_profile"] == profile


def test_there_and_back():
    colours = torch.rand(1, 20, 30, 3) * 0.5 + 0.25
    there = converted(colours, None, profiles.display_p3())
    assert there.shape == colours.shape and abs(there - colours).max() > 0.02
    assert abs(converted(there, profiles.display_p3(), None) - colours).max() < 3 / 255


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E], exif[0x8298], exif[0x0112] = "a girl", "Anna", orientation
    exif[0x8769] = {0x9003: "2024:05:01 10:00:00", 0xA002: SIDE, 0xA003: SIDE // 2, 0x927C: b"secret"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    return exif


@pytest.mark.parametrize("source", ["p.jpg", "p.png", "p.webp", "p.tif"])
@pytest.mark.parametrize("output", ["o.png", "o.jpg", "o.webp", "o.tif"])
def test_exif_and_resolution_survive(shots, source, output):
    picture = Image.new("RGB", (SIDE, SIDE), 90)
    given = exif_of(6)
    if not source.endswith(".tif"):
        given[0x0100] = 4000  # how pixels are stored is each file's own affair
    found = shots(source, picture, "--background", "#ffffff", output=output, exif=given.tobytes(), dpi=(300, 200))
    exif = found.getexif()
    assert (exif[0x010E], exif[0x8298], exif[0x0112]) == ("a girl", "Anna", 1)
    assert output.endswith(".tif") or 0x0100 not in exif
    details = exif.get_ifd(0x8769)
    assert details[0x9003] == "2024:05:01 10:00:00" and (details[0xA002], details[0xA003]) == (SIDE // 2, SIDE)
    assert 0x927C not in details and exif.get_ifd(0x8825)[1] == "N"
    if "webp" not in source + output:  # WebP has no resolution but that of EXIF
        assert [round(value) for value in found.info["dpi"]] == [200, 300]  # upright


def test_the_thumbnail_of_the_old_background_goes(shots, tmp_path):
    exif = exif_of(1)
    data = exif.tobytes()
    picture = Image.new("RGB", (SIDE, SIDE), 90)
    # A second directory with a thumbnail, by hand: Pillow writes none.
    little = data[6:8] == b"II"
    order = "little" if little else "big"
    tiff = bytearray(data[6:])
    first = int.from_bytes(tiff[4:8], order)
    after = first + 2 + 12 * int.from_bytes(tiff[first:first + 2], order)
    tiff += bytes(len(tiff) % 2)
    place, thumb = len(tiff), b"\xff\xd8THUMBNAIL\xff\xd9"
    tiff[after:after + 4] = place.to_bytes(4, order)

    def entry(tag: int, value: int) -> bytes:
        return b"".join((tag.to_bytes(2, order), (4).to_bytes(2, order), (1).to_bytes(4, order),
                         value.to_bytes(4, order)))

    tiff += (2).to_bytes(2, order) + entry(0x201, place + 30) + entry(0x202, len(thumb)) + bytes(4) + thumb
    found = shots("p.jpg", picture, output="out.png", exif=b"Exif\0\0" + bytes(tiff))
    assert b"THUMBNAIL" in (tmp_path / "p.jpg").read_bytes() and found.getexif()[0x010E] == "a girl"
    assert b"THUMBNAIL" not in (tmp_path / "out.png").read_bytes()
    assert b"secret" not in (tmp_path / "out.png").read_bytes()


def test_what_cannot_be_copied_is_said(shots, caplog):
    caplog.set_level(logging.WARNING)
    long = exif_of(1)
    long[0x010E] = "x" * 70_000
    picture = Image.new("RGB", (SIDE, SIDE), 90)
    found = shots("p.png", picture, "--background", "#ffffff", output="o.jpg", exif=long)
    assert not found.getexif() and "o.jpg: EXIF of 70" in caplog.text
    for name, damaged in (("p.png", b"Exif\0\0II*\0\xff\xff\xff\xff"), ("p.jpg", b"Exif\0\0damaged")):
        assert not shots(name, picture, exif=damaged).getexif()


def test_nothing_is_made_up(shots):
    found = shots("p.png", Image.new("RGB", (SIDE, SIDE), 90))
    assert not {"icc_profile", "dpi", "exif"} & set(found.info)
