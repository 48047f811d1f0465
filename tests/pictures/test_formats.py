"""OpenEXR, 16-bit PNG and TIFF, WebP as they are written: values by hand, read back by other programs."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from vitmatte.pictures import packages
from vitmatte.pictures.exr import write_exr
from vitmatte.pictures.formats import COMPRESSIONS, Form, parsed_bits, result_suffix
from vitmatte.pictures.metadata import Metadata
from vitmatte.pictures.reading import read_photograph
from vitmatte.pictures.writing import write_image, write_matte, write_trimap

needs_openimageio = pytest.mark.skipif(packages.openimageio() is None, reason="no OpenImageIO")
# Code values, and their light by IEC 61966-2-1: ((0.5 + 0.055) / 1.055)^2.4, (1.555 / 1.055)^2.4, and -0.1 / 12.92.
LIGHT = {0.5: 0.2140411, 1.5: 2.537155, -0.1: -0.00773994, 1.0: 1.0, 0.0: 0.0}
RANDOM = torch.Generator().manual_seed(3)
CUTOUT = torch.rand(24, 40, 4, generator=RANDOM)
CUTOUT[:, :9, 3], CUTOUT[:, 9:20, 3] = 0, 1


@pytest.fixture
def without_openimageio(monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    packages.openimageio.cache_clear()
    yield
    monkeypatch.undo()
    packages.openimageio.cache_clear()


@pytest.fixture(params=["OpenImageIO", "PyAV"])
def writer(request):
    """Each of the packages that write OpenEXR."""
    if request.param == "PyAV":
        pytest.importorskip("av")
        request.getfixturevalue("without_openimageio")
    elif packages.openimageio() is None:
        pytest.skip("no OpenImageIO")
    return request.param


def by_openexr(path) -> tuple[np.ndarray, dict]:
    """[H, W, C] as R, G, B, A or Y, in the type that the file has, and its header; by OpenEXR's own package."""
    file = pytest.importorskip("OpenEXR").File(str(path), separate_channels=True)
    channels = file.channels()
    names = [name for name in "RGBAY" if name in channels]
    assert set(names) == set(channels)
    return np.stack([channels[name].pixels for name in names], -1), file.header()


def by_ffmpeg(path, layout: str) -> np.ndarray:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format=layout)


def one_pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).expand(2, 3, len(values)).contiguous()


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("premultiplied", [True, False])
def test_light_and_alpha_of_openexr_by_hand(tmp_path, writer, half, premultiplied):
    path = tmp_path / "x.exr"
    write_exr(path, one_pixel(0.5, 1.5, -0.1, 0.25), half=half, premultiplied=premultiplied)
    found, _ = by_openexr(path)
    assert found.dtype == (np.float16 if half else np.float32)
    share = 0.25 if premultiplied else 1
    expected = [LIGHT[0.5] * share, LIGHT[1.5] * share, LIGHT[-0.1] * share, 0.25]
    assert np.allclose(found[0, 0], expected, rtol=2**-11 if half else 1e-6, atol=0)
    if half:
        assert (found == np.asarray(expected).astype(np.float16)).all()  # the nearest


def test_what_half_has_no_place_for(tmp_path, writer):
    bright = torch.full((2, 3, 3), 200.0)  # as light 296,000
    write_exr(tmp_path / "x.exr", bright)
    assert (by_openexr(tmp_path / "x.exr")[0] == 65504).all()
    write_exr(tmp_path / "y.exr", bright, half=False)
    assert (by_openexr(tmp_path / "y.exr")[0] > 200000).all()


def test_a_matte_alone(tmp_path, writer):
    for bits, kind in ((None, np.float16), ("float", np.float32)):
        write_matte(tmp_path / "m.exr", CUTOUT[..., 3], bits=bits)
        found, header = by_openexr(tmp_path / "m.exr")
        assert [channel.name for channel in header["channels"]] == ["Y"] and found.dtype == kind
        assert (found[..., 0] == CUTOUT[..., 3].numpy().astype(kind)).all()


@needs_openimageio
@pytest.mark.parametrize(("bits", "top", "stored"), [(8, 255, np.uint8), (16, 65535, np.uint16)])
def test_premultiplied_tiff_by_hand(tmp_path, bits, top, stored):
    """Code values times alpha, and the tag that says so (ExtraSamples 1, associated)."""
    tifffile = pytest.importorskip("tifffile")
    picture = one_pixel(0.5, 1.0, 0.0, 0.25)
    for premultiplied, tag, expected in ((True, 1, (0.125, 0.25, 0, 0.25)), (False, 2, (0.5, 1, 0, 0.25))):
        write_image(tmp_path / "x.tif", picture, bits=bits, premultiplied=premultiplied)
        with tifffile.TiffFile(tmp_path / "x.tif") as file:
            page = file.pages[0]
            assert [int(sample) for sample in page.extrasamples] == [tag]
            found = page.asarray()
        assert found.dtype == stored
        assert found[1, 2].tolist() == [int(value * top + 0.5) for value in expected]
        assert np.abs(read_photograph(tmp_path / "x.tif").image[0, 0, 0] - torch.tensor([0.5, 1, 0])).max() < 2 / top


@pytest.mark.parametrize(("suffix", "bits", "compression"), [
    (".png", 16, None), pytest.param(".tif", 16, None, marks=needs_openimageio),
    pytest.param(".tif", 16, "lzw", marks=needs_openimageio), (".tif", 8, "lzw"), (".tif", 8, "deflate"),
])
def test_what_is_kept_beside_the_pixels(tmp_path, suffix, bits, compression):
    exif = Image.Exif()
    exif[0x013B], exif[0x0112], exif[0x8298] = "Ada", 1, "hers"
    exif[0x8769] = {0x829A: 0.25, 0x9003: "2020:01:02 03:04:05"}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / f"x{suffix}"
    write_image(path, CUTOUT, bits=bits, profile=profile, metadata=Metadata((300.0, 150.0), exif.tobytes()),
                compression=compression)
    if bits == 16:
        assert (by_ffmpeg(path, "rgba64le") == (CUTOUT.double().numpy() * 65535).round()).all()
    with Image.open(path) as picture:
        picture.load()
        assert picture.mode == "RGBA" and picture.info["icc_profile"] == profile
        assert [round(value) for value in picture.info["dpi"]] == [300, 150]
        kept = picture.getexif()
        assert kept[0x013B] == "Ada" and kept[0x8298] == "hers" and kept.get(0x0132) is None
        assert kept.get_ifd(0x8769)[0x829A] == 0.25 and kept.get_ifd(0x8825)[2] == (1.0, 2.0, 3.0)
    photo = read_photograph(path)
    assert photo.bits == (bits if packages.openimageio() else 8) and photo.profile == profile
    assert photo.metadata.exif is not None and round(photo.metadata.dpi[0]) == 300


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".tif", 8),
                                              pytest.param(".tif", 16, marks=needs_openimageio)])
def test_compressions_keep_every_bit(tmp_path, suffix, bits):
    top, layout = (255, "rgba") if bits == 8 else (65535, "rgba64le")
    expected = (CUTOUT.double().numpy() * top).round().astype(np.uint8 if bits == 8 else np.uint16)
    sizes = {}
    for compression in (None, *COMPRESSIONS[suffix]):
        path = tmp_path / f"{compression}{suffix}"
        write_image(path, CUTOUT, bits=bits, compression=compression)
        assert (by_ffmpeg(path, layout) == expected).all(), compression
        sizes[compression] = path.read_bytes()
    assert sizes[None] == sizes[COMPRESSIONS[suffix][0]]
    if suffix == ".png":
        assert len(sizes["none"]) > max(len(content) for name, content in sizes.items() if name not in ("none", "0"))


@needs_openimageio
def test_compressions_of_openexr(tmp_path):
    expected = None
    for compression in COMPRESSIONS[".exr"]:
        write_image(tmp_path / "x.exr", CUTOUT, compression=compression)
        found, header = by_openexr(tmp_path / "x.exr")
        expected = found if expected is None else expected
        lossy = compression.startswith("dwa")
        assert np.abs(found.astype(float) - expected.astype(float)).max() <= (0.1 if lossy else 0)
        assert header["compression"].name.lower() == f"{'no' if compression == 'none' else compression}_compression"


def test_webp_without_losses(tmp_path):
    expected = (CUTOUT.numpy() * 255).round().astype(np.uint8)
    write_image(tmp_path / "x.webp", CUTOUT, compression="lossless")
    with Image.open(tmp_path / "x.webp") as picture:
        assert (np.asarray(picture) == expected).all()  # colours below a transparent pixel too
    write_image(tmp_path / "y.webp", CUTOUT)
    assert (tmp_path / "y.webp").stat().st_size < (tmp_path / "x.webp").stat().st_size


@pytest.mark.parametrize("compression", [None, "none", "lzw", "deflate"])
def test_mattes_and_trimaps_have_compressions_too(tmp_path, compression):
    matte, trimap = CUTOUT[..., 3], (CUTOUT[..., 3] * 2).round() / 2
    write_matte(tmp_path / "m.tif", matte, compression=compression)
    assert (by_ffmpeg(tmp_path / "m.tif", "gray16le") == (matte.double().numpy() * 65535).round()).all()
    write_trimap(tmp_path / "t.tif", trimap, compression=compression)
    assert sorted(np.unique(by_ffmpeg(tmp_path / "t.tif", "gray"))) == [0, 128, 255]


@needs_openimageio
@pytest.mark.parametrize("name", ["x.exr", "x.tif"])
def test_the_time_of_writing_changes_nothing(tmp_path, name):
    """Parts of a folder that are made on several machines are the bytes that one makes."""
    how = {"bits": 16} if name == "x.tif" else {}
    write_image(tmp_path / name, CUTOUT, **how)
    before = (tmp_path / name).read_bytes()
    time.sleep(1.1)
    write_image(tmp_path / name, CUTOUT, **how)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(("name", "how", "said"), [
    ("x.png", {"bits": "half"}, r"bits is 'half'; \.png has 8 or 16"), ("x.exr", {"bits": 16}, "has half or float"),
    ("x.webp", {"bits": 16}, r"\.webp has 8"), ("x.tif", {"bits": "float"}, "has 8 or 16"),
    ("x.png", {"premultiplied": True}, r"\.png is always straight, \.tif and \.exr are either"),
    ("x.webp", {"premultiplied": False}, "straight alpha is asked for; .webp is always straight"),
    ("x.png", {"compression": "zip"}, "'zip'; .png has fast, none"), ("x.tif", {"compression": "9"}, "has none, lzw"),
    ("x.webp", {"compression": "small"}, "has lossy, lossless"), ("x.exr", {"compression": "deflate"}, "has zip, none"),
])
def test_options_that_mean_nothing_are_refused(tmp_path, name, how, said):
    with pytest.raises(ValueError, match=said):
        write_image(tmp_path / name, CUTOUT, **how)
    assert not list(tmp_path.iterdir())


def test_options_of_pictures_without_alpha_and_of_mattes(tmp_path):
    with pytest.raises(ValueError, match="premultiplied alpha is asked for, and the picture has none"):
        write_image(tmp_path / "x.exr", CUTOUT[..., :3], premultiplied=True)
    with pytest.raises(ValueError, match="x.jpg: compression is 'fast'; .jpg has none to choose"):
        write_image(tmp_path / "x.jpg", CUTOUT[..., :3], compression="fast")
    with pytest.raises(ValueError, match="bits is 8; a matte has 16"):
        write_matte(tmp_path / "m.png", CUTOUT[..., 3], bits=8)
    with pytest.raises(ValueError, match="has half or float"):
        write_matte(tmp_path / "m.exr", CUTOUT[..., 3], bits=16)
    write_matte(tmp_path / "m.png", CUTOUT[..., 3], bits=16)
    with pytest.raises(ValueError, match="bits is '12'; expected 8, 16, half or float"):
        parsed_bits("12")


def test_forms_follow_the_photograph():
    assert [Form().of("x.png", bits).bits for bits in (8, 16, "half")] == [8, 16, 16]
    assert [Form().of("x.exr", bits).bits for bits in (8, 16, "half", "float")] == ["half", "half", "half", "float"]
    assert Form(8).of("x.png", 16).bits == 8 and Form().of("x.webp", "float").bits == 8
    assert [result_suffix(name) for name in ("a.jpg", "a.EXR")] == [".png", ".exr"]
    of_mattes = [result_suffix("a.exr", chosen, matte=True) for chosen in (".webp", ".tif", None)]
    assert of_mattes == [".png", ".tif", ".exr"]


def test_what_is_clipped_is_said(tmp_path, caplog):
    write_image(tmp_path / "x.png", one_pixel(0.5, 1.5, -0.1))
    assert "100.0 % of the pixels" in caplog.text and "write .exr" in caplog.text
    caplog.clear()
    write_image(tmp_path / "x.png", one_pixel(0.5, 1.002, 0))  # rounding
    assert not caplog.text


def test_without_openimageio(tmp_path, without_openimageio):
    with pytest.raises(RuntimeError, match=r"OpenImageIO, which is not installed: pip install \"vitmatte\[formats"):
        write_image(tmp_path / "x.tif", CUTOUT, bits=16)
    with pytest.raises(RuntimeError, match="OpenEXR files of compression dwaa are read and written with OpenImageIO"):
        pytest.importorskip("av")
        write_image(tmp_path / "x.exr", CUTOUT, compression="dwaa")
    write_image(tmp_path / "x.png", CUTOUT, bits=16)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_with_no_package_at_all(tmp_path, without_openimageio, monkeypatch):
    packages.pyav.cache_clear()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RuntimeError, match="OpenEXR files are read and written with OpenImageIO"):
        write_matte(tmp_path / "x.exr", CUTOUT[..., 3])
    monkeypatch.undo()
    packages.pyav.cache_clear()


@needs_openimageio
@pytest.mark.parametrize("name", ["x.exr", "x.tif"])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, name):
    """Neither part of a file, nor the loss of the one that was there."""
    oiio = packages.openimageio()
    how = {"bits": 16} if name == "x.tif" else {}
    write_image(tmp_path / name, CUTOUT, **how)
    before = (tmp_path / name).read_bytes()
    monkeypatch.setattr(oiio.ImageOutput, "write_image", lambda *_: False)
    with pytest.raises(OSError, match=f"{name} could not be written"):
        write_image(tmp_path / name, CUTOUT, **how)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == before
