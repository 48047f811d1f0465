"""Pictures of 16 bits and of light, of other programs, as they are read: every value, or a refusal that says why."""

from __future__ import annotations

import logging
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from profiles import display_p3, scanner
from stored import png, tiff

from vitmatte.pictures import packages
from vitmatte.pictures.reading import (
    pictures_in,
    read_cutout,
    read_image,
    read_mask,
    read_photograph,
    read_size,
    read_trimap,
)
from vitmatte.pictures.writing import write_image, write_matte

if packages.openimageio() is None:
    pytest.skip("no OpenImageIO", allow_module_level=True)

RANDOM = np.random.default_rng(5)
RGB = RANDOM.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
ALPHA = RANDOM.integers(1, 65535, (20, 30, 1)).astype(np.uint16)
RGBA, GREY_ALPHA = np.concatenate([RGB, ALPHA], -1), np.concatenate([RGB[..., :1], ALPHA], -1)
LIGHT = (RANDOM.random((20, 30, 3)) * 3 - 0.1).astype(np.float16)
SHARE = (RANDOM.random((20, 30)) * 0.9 + 0.05).astype(np.float16)


def as_code(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    light = light.astype(np.float64)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def scaled(levels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(levels.astype(np.float64) / 65535).float()


def exr(path, channels: dict[str, np.ndarray], kind: str = "half", **attributes):
    """A file of channels by name; kind as OpenImageIO names it; x, y, full and tile are fields of its."""
    oiio = packages.openimageio()
    pixels = np.stack(list(channels.values()), -1)
    pixels = pixels.astype({"half": np.float16, "float": np.float32}.get(kind, np.uint32))
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    spec.channelnames = tuple(channels)
    for name in ("x", "y", "tile_width", "tile_height", "full_x", "full_y", "full_width", "full_height"):
        if name in attributes:
            setattr(spec, name, attributes.pop(name))
    for name, value in attributes.items():
        spec.attribute(name, *(value if isinstance(value, tuple) else (value,)))
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    done = output.write_tiles(spec.x, spec.x + spec.width, spec.y, spec.y + spec.height, 0, 1, pixels
                              ) if spec.tile_width else output.write_image(pixels)
    assert done and output.close(), output.geterror()
    return path


def planes(colours: np.ndarray = LIGHT, prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + name: colours[..., i] for i, name in enumerate("RGB")}


@pytest.mark.parametrize(("levels", "colour"), [(RGB, 2), (GREY_ALPHA, 4), (RGBA, 6)])
def test_png_keeps_sixteen_bits(tmp_path, levels, colour):
    path = tmp_path / "x.png"
    path.write_bytes(png(levels, colour))
    expected = scaled(levels[..., :3] if colour != 4 else np.repeat(levels[..., :1], 3, -1))
    photo = read_photograph(path)
    assert photo.bits == 16 and torch.equal(photo.image[0], expected) and torch.equal(read_image(path), photo.image)
    if colour != 2:
        assert torch.equal(read_cutout(path)[0, ..., 3], scaled(ALPHA)[..., 0])
        assert torch.equal(read_mask(path)[0], scaled(ALPHA)[..., 0])


@pytest.mark.parametrize("chunk", [
    (b"gAMA", struct.pack(">I", 100000)), (b"gAMA", struct.pack(">I", 45455)), (b"sBIT", bytes([12, 12, 12])),
    (b"bKGD", bytes(6)), (b"tRNS", RGB[0, 0].astype(">u2").tobytes()),
], ids=lambda chunk: chunk[0].decode())
def test_nothing_beside_the_pixels_of_a_png_changes_them(tmp_path, chunk):
    (tmp_path / "x.png").write_bytes(png(RGB, 2, (chunk,)))
    assert torch.equal(read_photograph(tmp_path / "x.png").image[0], scaled(RGB))
    cutout = read_cutout(tmp_path / "x.png")[0]
    assert cutout.shape[-1] == (4 if chunk[0] == b"tRNS" else 3)
    if chunk[0] == b"tRNS":  # the colour that is transparent
        assert cutout[0, 0, 3] == 0 and cutout[1:, :, 3].min() == 1


@pytest.mark.parametrize("how", [
    {}, {"byteorder": ">"}, {"compression": "zlib", "predictor": True},
    {"compression": "zlib", "predictor": True, "byteorder": ">"}, {"tile": (16, 16)}, {"bigtiff": True},
    {"planar": True},
], ids=str)
@pytest.mark.parametrize("extra", [None, 0, 1, 2])
def test_tiffs_of_other_programs(tmp_path, how, extra):
    """extra: ExtraSamples of TIFF 6.0: unspecified, associated, unassociated alpha."""
    tifffile = pytest.importorskip("tifffile")
    levels, how = (RGB if extra is None else RGBA), dict(how)
    if extra == 1:
        levels = np.concatenate([(RGB.astype(np.uint64) * ALPHA // 65535).astype(np.uint16), ALPHA], -1)
    if how.pop("planar", False):
        stored, how["planarconfig"] = np.moveaxis(levels, -1, 0).copy(), "separate"
    else:
        stored, how["planarconfig"] = levels, "contig"
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", **how,
                     extrasamples=None if extra is None else [extra])
    photo = read_photograph(tmp_path / "x.tif")
    assert photo.bits == 16
    if extra == 1:  # what was cut off when it was multiplied does not come back
        off = (photo.image[0] - scaled(RGB)).abs() * scaled(ALPHA)
        assert off.max() < 1.1 / 65535
    else:
        assert torch.equal(photo.image[0], scaled(RGB))
    cutout = read_cutout(tmp_path / "x.tif")[0]
    assert cutout.shape[-1] == (4 if extra in (1, 2) else 3)
    if extra in (1, 2):
        assert torch.equal(cutout[..., 3], scaled(ALPHA)[..., 0])


def test_tiffs_that_pillow_does_not_open(tmp_path, caplog):
    tifffile = pytest.importorskip("tifffile")
    more = np.concatenate([RGBA, ALPHA], -1)
    tifffile.imwrite(tmp_path / "more.tif", more, photometric="rgb", extrasamples=[2, 0])
    assert torch.equal(read_cutout(tmp_path / "more.tif")[0], scaled(RGBA))
    tifffile.imwrite(tmp_path / "grey.tif", GREY_ALPHA, photometric="minisblack", extrasamples=[2],
                     planarconfig="contig")
    assert torch.equal(read_mask(tmp_path / "grey.tif")[0], scaled(ALPHA)[..., 0])
    assert "resolution and EXIF of such a TIFF are not read" in caplog.text
    for kind in (np.float32, np.uint32):
        tifffile.imwrite(tmp_path / "x.tif", RGB.astype(kind), photometric="rgb")
        with pytest.raises(ValueError, match=r"x\.tif cannot be read as a picture: it.* (floating point|type uint)"):
            read_photograph(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "p.tif", np.stack([RGB, RGB]), photometric="rgb")
    with pytest.raises(ValueError, match="several pages"):
        read_photograph(tmp_path / "p.tif")
    (tmp_path / "s.tif").write_bytes(tiff(RGB.astype(np.int16), photometric=2))
    with pytest.raises(ValueError, match="type int16"):
        read_photograph(tmp_path / "s.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_of_sixteen_bits_and_of_eight_is_the_same(tmp_path, orientation, suffix):
    from vitmatte.pictures.metadata import Metadata

    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(tmp_path / f"wide{suffix}", scaled(RGB), bits=16, metadata=Metadata(exif=exif.tobytes()))
    Image.fromarray((RGB >> 8).astype(np.uint8)).save(tmp_path / f"narrow{suffix}", exif=exif)
    wide, narrow = (read_image(tmp_path / f"{name}{suffix}") for name in ("wide", "narrow"))
    assert wide.shape == narrow.shape and (wide - narrow).abs().max() < 1.5 / 255
    assert read_size(tmp_path / f"wide{suffix}") == read_size(tmp_path / f"narrow{suffix}")


def test_profiles_of_sixteen_bits(tmp_path, caplog):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_image(tmp_path / "x.tif", scaled(RGB), bits=16, profile=profile)
    photo = read_photograph(tmp_path / "x.tif")
    assert photo.profile == profile and torch.equal(photo.image[0], scaled(RGB))
    write_image(tmp_path / "x.png", scaled(RGB), bits=16, profile=b"no profile at all")
    photo = read_photograph(tmp_path / "x.png")
    assert photo.profile is None and photo.bits == 16 and torch.equal(photo.image[0], scaled(RGB))
    assert "colour profile cannot be read" in caplog.text
    write_image(tmp_path / "p3.png", scaled(RGB), bits=16, profile=display_p3())
    photo = read_photograph(tmp_path / "p3.png")
    assert photo.profile == display_p3() and torch.equal(photo.image[0], scaled(RGB))
    caplog.clear()
    write_image(tmp_path / "s.tif", scaled(RGB), bits=16, profile=scanner())  # leads one way, by 8 bits
    photo = read_photograph(tmp_path / "s.tif")
    assert photo.profile is None and photo.bits == 8 and "have 16 bits, of which 8 are read" in caplog.text


def test_light_gets_srgbs_transfer_and_is_not_clipped(tmp_path):
    path = exr(tmp_path / "x.exr", planes())
    photo = read_photograph(path)
    assert photo.bits == "half" and photo.is_light and photo.profile is None
    assert np.allclose(photo.image[0].numpy(), as_code(LIGHT), rtol=1e-5, atol=1e-6)
    assert photo.image.max() > 1.5 and photo.image.min() < -0.5
    assert photo.seen.min() == 0 and photo.seen.max() == 1
    assert read_size(path) == (30, 20) and pictures_in(tmp_path) == [path]


@pytest.mark.parametrize("kind", ["half", "float"])
def test_light_in_is_light_out_to_the_bit_of_half(tmp_path, kind):
    path = exr(tmp_path / "x.exr", planes(), kind, PixelAspectRatio=2.0)
    photo = read_photograph(path)
    write_image(tmp_path / "y.exr", photo.image[0], bits=photo.bits, metadata=photo.metadata)
    again = read_photograph(tmp_path / "y.exr")
    assert again.bits == kind and again.metadata.pixel_aspect == 2
    found = packages.openimageio().ImageInput.open(str(tmp_path / "y.exr")).read_image("float")
    off = np.abs(found - LIGHT.astype(np.float32))
    assert off.max() == 0 if kind == "half" else (off <= 2e-6 * np.abs(LIGHT.astype(np.float32))).all()


def test_clipped_light_is_said(tmp_path, caplog):
    path = exr(tmp_path / "x.exr", planes())
    image = read_image(path)
    assert image.min() == 0 and image.max() == 1 and "and is clipped" in caplog.text
    caplog.clear()
    read_image(exr(tmp_path / "y.exr", planes(LIGHT.clip(0, 1))))
    assert not caplog.text


def test_premultiplied_light_becomes_straight(tmp_path):
    straight = LIGHT.clip(0, 1).astype(np.float32)
    path = exr(tmp_path / "x.exr", {**planes(straight * SHARE[..., None].astype(np.float32)), "A": SHARE}, "float")
    cutout = read_cutout(path)[0].numpy()
    assert np.allclose(cutout[..., :3], as_code(straight), atol=1e-5) and (cutout[..., 3] == SHARE).all()
    assert (read_mask(path)[0].numpy() == SHARE).all()


def test_mattes_and_trimaps_count_as_they_are_stored(tmp_path):
    levels = np.resize(np.array([0, 0.5, 1], np.float32), (20, 30))
    for names in ("Y", "A", "matte", "RGB"):
        channels = planes(np.dstack([levels] * 3)) if names == "RGB" else {names: levels}
        path = exr(tmp_path / "m.exr", channels)
        assert (read_mask(path)[0].numpy() == levels).all() and (read_trimap(path)[0].numpy() == levels).all()
    alpha = torch.from_numpy(SHARE.astype(np.float32))
    write_matte(tmp_path / "w.exr", alpha)
    assert torch.equal(read_mask(tmp_path / "w.exr")[0], alpha)
    with pytest.raises(ValueError, match="its values reach from .* to 255; expected 0 to 1"):
        read_mask(exr(tmp_path / "m.exr", {"Y": levels * 255}))


@pytest.mark.parametrize("compression", ["none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"])
@pytest.mark.parametrize("tile", [0, 16])
def test_compressions_and_tiles(tmp_path, compression, tile):
    smooth = np.broadcast_to(np.linspace(0, 2, 64, dtype=np.float16)[:, None, None], (64, 48, 3))
    path = exr(tmp_path / "x.exr", planes(smooth), compression=compression,
               **({"tile_width": tile, "tile_height": tile} if tile else {}))
    assert np.abs(read_photograph(path).image[0].numpy() - as_code(smooth)).max() < (
        0.02 if compression[:3] in ("b44", "dwa") else 1e-5)


def test_windows(tmp_path, caplog):
    """The picture is the display window: the data window's pixels in it, and black around them."""
    inner = exr(tmp_path / "inner.exr", planes(), x=4, y=7, full_width=40, full_height=30)
    image = read_photograph(inner).image[0].numpy()
    assert image.shape == (30, 40, 3) and read_size(inner) == (40, 30)
    assert np.allclose(image[7:27, 4:34], as_code(LIGHT), atol=1e-5) and image.sum() == pytest.approx(
        image[7:27, 4:34].sum(), rel=1e-5)
    assert not caplog.text
    outer = exr(tmp_path / "outer.exr", planes(), x=-3, y=-2, full_width=24, full_height=16)
    image = read_photograph(outer).image[0].numpy()
    assert image.shape == (16, 24, 3) and np.allclose(image, as_code(LIGHT)[2:18, 3:27], atol=1e-5)
    assert "data window, 30x20, reaches beyond the display window, 24x16" in caplog.text
    apart = exr(tmp_path / "apart.exr", planes(), x=100, y=100, full_width=24, full_height=16)
    assert read_photograph(apart).image.abs().max() == 0


def test_layers(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    one = exr(tmp_path / "one.exr", planes(prefix="beauty."))
    assert np.allclose(read_photograph(one).image[0].numpy(), as_code(LIGHT), atol=1e-5)
    assert "its layer beauty is read" in caplog.text
    main = exr(tmp_path / "main.exr", {**planes(), **planes(LIGHT[::-1], "other."), "Z": SHARE, "matte.A": SHARE})
    assert np.allclose(read_photograph(main).image[0].numpy(), as_code(LIGHT), atol=1e-5)
    two = exr(tmp_path / "two.exr", {**planes(prefix="diffuse."), **planes(prefix="specular.")})
    with pytest.raises(ValueError, match=r"two\.exr cannot .* diffuse\.R, .* expected R, G and B, or Y, of one layer"):
        read_photograph(two)
    with pytest.raises(ValueError, match="one channel that is no colour"):
        read_photograph(exr(tmp_path / "z.exr", {"Z": SHARE}))


def test_what_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match="R, G, B are whole numbers, as of object ids"):
        read_photograph(exr(tmp_path / "id.exr", planes(RGB), "uint"))
    broken = LIGHT.copy()
    broken[3, 4, 1], broken[5, 6, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of its pixels are not finite"):
        read_photograph(exr(tmp_path / "nan.exr", planes(broken)))
    oiio = packages.openimageio()
    spec = oiio.ImageSpec(8, 8, 3, "half")
    output = oiio.ImageOutput.create(str(tmp_path / "parts.exr"))
    assert output.open(str(tmp_path / "parts.exr"), (spec, spec))
    for part in range(2):
        if part:
            output.open(str(tmp_path / "parts.exr"), spec, "AppendSubimage")
        output.write_image(np.ones((8, 8, 3), np.float32))
    output.close()
    with pytest.raises(ValueError, match="several parts, of which one is wanted"):
        read_photograph(tmp_path / "parts.exr")


def test_damaged_files_are_refused(tmp_path):
    whole = exr(tmp_path / "x.exr", planes()).read_bytes()
    for end in (4, 8, 40, 200, len(whole) // 2, len(whole) - 20):
        (tmp_path / "cut.exr").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cut\.exr cannot be read as a picture"):
            read_photograph(tmp_path / "cut.exr")
    write_image(tmp_path / "x.tif", scaled(RGB), bits=16)
    whole = (tmp_path / "x.tif").read_bytes()
    for end in (20, len(whole) // 3):
        (tmp_path / "cut.tif").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cut\.tif"):
            read_photograph(tmp_path / "cut.tif")


def test_primaries_stay_with_the_light(tmp_path, caplog):
    aces = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
    kind = packages.openimageio().TypeDesc("float[8]")
    path = exr(tmp_path / "x.exr", planes(), PixelAspectRatio=2.0, chromaticities=(kind, aces))
    photo = read_photograph(path)
    write_image(tmp_path / "y.exr", photo.image[0], metadata=photo.metadata)
    assert np.allclose(read_photograph(tmp_path / "y.exr").metadata.primaries, aces) and not caplog.text
    write_image(tmp_path / "y.png", photo.seen[0], metadata=photo.metadata)
    assert "the light has primaries of its own, which only .exr tells" in caplog.text
    assert "the pixels are not square (2), which only .exr tells" in caplog.text


def test_another_profile_is_brought_to_srgb_for_light(tmp_path, caplog):
    """Display P3's (0.2, 0.6, 0.3): light (0.033, 0.318, 0.073), in sRGB's primaries (-0.031, 0.331, 0.055)."""
    write_image(tmp_path / "x.exr", torch.tensor([0.2, 0.6, 0.3]).expand(2, 2, 3), profile=display_p3())
    assert "OpenEXR has no ICC profile" in caplog.text
    assert np.allclose(read_image(tmp_path / "x.exr")[0, 0, 0].numpy(), [0, 0.611, 0.26], atol=1.5 / 255)


def test_without_openimageio(tmp_path, monkeypatch, caplog):
    path = exr(tmp_path / "x.exr", planes())
    (tmp_path / "x.png").write_bytes(png(RGB, 2))
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    packages.openimageio.cache_clear()
    for reader in (read_photograph, read_mask, read_size, read_cutout):
        with pytest.raises(ValueError, match=r"x\.exr .*OpenImageIO, which is not installed: pip install"):
            reader(path)
    photo = read_photograph(tmp_path / "x.png")
    assert photo.bits == 8 and "have 16 bits, of which 8 are read; reading all of them needs OpenImageIO" in caplog.text
    monkeypatch.undo()
    packages.openimageio.cache_clear()
