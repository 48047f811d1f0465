"""What TIFFs say of themselves, and those that were cut short while they were written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from vitmatte.pictures import packages, tiff
from vitmatte.pictures.metadata import Metadata
from vitmatte.pictures.reading import read_photograph
from vitmatte.pictures.tiff import tell_tags
from vitmatte.pictures.writing import write_image

needs_openimageio = pytest.mark.skipif(packages.openimageio() is None, reason="no OpenImageIO")


@pytest.mark.parametrize(("bits", "compression"), [
    (8, None), (8, "deflate"), pytest.param(16, None, marks=needs_openimageio),
    pytest.param(16, "deflate", marks=needs_openimageio)])
@pytest.mark.parametrize("description", [
    'ImageJ=1.11a\nimages=6\nchannels=3\nslices=2\nhyperstack=true\n', '{"shape": [3, 20, 8]}', "shape=(3, 20, 8)",
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"></OME>',
    "my cat <3", "{not JSON", "2024",
])
def test_a_tiff_does_not_say_what_another_was(tmp_path, bits, compression, description):
    """Neither which program wrote that, nor how it was laid out; what somebody wrote of the picture stays."""
    path, own = tmp_path / "o.tif", description in ("my cat <3", "{not JSON", "2024")
    Image.new("RGB", (8, 20), 90).save(tmp_path / "p.tif", description=description, software="ImageJ 1.54")
    photo = read_photograph(tmp_path / "p.tif")
    write_image(path, photo.image[0], bits=bits, compression=compression, metadata=photo.metadata)
    with Image.open(path) as picture:
        assert picture.size == (8, 20) and picture.getexif().get(305) is None
        assert picture.getexif().get(270) == (description if own else None)
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffFile(path) as file:
        assert file.asarray().shape == (20, 8, 3) and not {"imagej", "ome", "shaped"} & file.flags
        assert (file.pages[0].description == description) == own and file.pages[0].software == ""
    if (oiio := packages.openimageio()) is not None:
        source = oiio.ImageInput.open(str(path))
        spec = source.spec()
        source.close()
        assert (spec.width, spec.height, spec.nchannels) == (8, 20, 3)
        assert spec.getattribute("ImageDescription") == (description if own else None)
        assert spec.getattribute("Software") is None


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("how", [{}, {"rowsperstrip": 4}, {"tile": (16, 16)}, {"compression": "zlib"}], ids=str)
def test_a_tiff_that_was_cut_short_is_refused(tmp_path, big, how):
    """Wherever: libtiff says nothing when the disk is full as it closes. BigTIFF is what is written beyond 4 GB."""
    tifffile = pytest.importorskip("tifffile")
    levels = np.random.default_rng(0).integers(0, 256, (33, 20, 3)).astype(np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, levels, photometric="rgb", bigtiff=big, metadata=None, **how)
    whole = path.read_bytes()
    tell_tags(path, Metadata(), "x.tif")
    assert (tifffile.imread(path) == levels).all()
    for end in {*range(0, len(whole), 29), *range(len(whole) - 20, len(whole))}:
        path.write_bytes(whole[:end])
        with pytest.raises(OSError, match="cut short"):
            tell_tags(path, Metadata(), "x.tif")


@pytest.mark.parametrize("compression", [None, "deflate"])
@needs_openimageio
def test_what_libtiff_writes_last_is_looked_for_too(tmp_path, monkeypatch, compression):
    """Its directory follows the pixels, and long values follow the directory."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    monkeypatch.setattr(tiff, "tell_tags", lambda *_: None)
    levels = np.random.default_rng(0).integers(0, 65536, (150, 40, 3)).astype(np.uint16)
    tiff.write_tiff(tmp_path / "x.tif", levels, profile=profile, compression=compression)
    monkeypatch.undo()
    whole = (tmp_path / "x.tif").read_bytes()
    for end in (0, 3, 8, len(whole) // 2, *range(len(whole) - len(profile) - 300, len(whole) - 1, 61)):
        (tmp_path / "x.tif").write_bytes(whole[:end])
        with pytest.raises(OSError, match="cut short"):
            tell_tags(tmp_path / "x.tif", Metadata(), "x.tif")


def test_a_big_tiff_says_what_it_leaves_out(tmp_path, caplog):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb", bigtiff=True)
    whole = (tmp_path / "x.tif").read_bytes()
    tell_tags(tmp_path / "x.tif", Metadata(), "x.tif")
    assert caplog.text == ""
    tell_tags(tmp_path / "x.tif", Metadata((300.0, 300.0)), "x.tif")
    assert "x.tif: resolution and EXIF are left out" in caplog.text and (tmp_path / "x.tif").read_bytes() == whole
