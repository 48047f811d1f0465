"""What TIFFs say of themselves."""

from __future__ import annotations

import pytest
from PIL import Image

from vitmatte.pictures import packages
from vitmatte.pictures.reading import read_photograph
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
