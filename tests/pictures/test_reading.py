"""What files stand for: masks by their alpha, trimaps by their brightness, every scale, and one picture a file."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from PIL import Image
from stored import png, tiff

from vitmatte.pictures.reading import read_cutout, read_image, read_mask, read_trimap
from vitmatte.pictures.writing import write_matte

NEW_PILLOW = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 11, reason="Pillow 10 refuses or cannot write it")
BLACK, GREY, WHITE, CLEAR = (0, 0, 0, 255), (128, 128, 128, 255), (255, 255, 255, 255), (0, 0, 0, 0)


def row(*values: int, kind: type = np.uint8) -> np.ndarray:
    return np.array([values], kind)


def saved(picture: Image.Image, kind: str = "PNG", **how) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def grey(*values: int, **how) -> bytes:
    return saved(Image.fromarray(row(*values)), **how)


def rgba(*pixels: tuple[int, int, int, int], **how) -> bytes:
    return saved(Image.fromarray(np.array([pixels], np.uint8)), **how)


def palette(*colours: tuple[int, int, int], **how) -> bytes:
    picture = Image.fromarray(row(*range(len(colours))))
    picture.putpalette([level for colour in colours for level in colour])
    return saved(picture, **how)


@pytest.fixture
def found(tmp_path):
    """Reads a file's content; the first row as numbers."""
    def read(content: bytes, reader=read_mask) -> list:
        path = tmp_path / "picture.png"
        path.write_bytes(content)
        return reader(path)[0, 0].tolist()

    return read


@pytest.mark.parametrize("content", [
    rgba(WHITE, GREY, CLEAR), rgba(WHITE, GREY, (0, 0, 0, 254)), rgba(WHITE, GREY, (0, 0, 0, 0), kind="TIFF"),
    grey(255, 128, 0, transparency=0), palette((255,) * 3, (128,) * 3, (0,) * 3, transparency=2),
    palette((255,) * 3, (128,) * 3, (0,) * 3), png(row(255, 128, 0), 0, ((b"tRNS", struct.pack(">H", 0)),)),
    png(row(65535, 32896, 0, kind=np.uint16), 0, ((b"tRNS", struct.pack(">H", 0)),)),
    png(row(65280, 32768, 0, kind=np.uint16), 0), tiff(row(65535, 32896, 0, kind=np.uint16), ">"),
    tiff(row(0, 32639, 65535, kind=np.uint16), photometric=0), tiff(row(32767, 16400, 0, kind=np.int16)),
    tiff(row(65535, 32896, 0, kind=np.int32), ">"), tiff(np.array([[1, 0.502, 0]], np.float32), ">"),
    saved(Image.fromarray(np.array([[(0, 0, 0, 0), (0, 0, 0, 127), (0, 0, 0, 255)]], np.uint8), "CMYK"), "TIFF"),
    pytest.param(tiff(np.array([[(255, 128, 128), (128, 128, 128), (0, 128, 128)]], np.uint8), photometric=6),
                 marks=NEW_PILLOW),
], ids=lambda _: "")
def test_a_trimap_is_its_brightness(found, content):
    assert found(content, read_trimap) == pytest.approx([1, 0.502, 0], abs=0.005)


@pytest.mark.parametrize(("content", "said"), [
    (rgba(WHITE, GREY, (255, 255, 255, 0)), "contradict"),  # what Photoshop writes for transparent
    (rgba((0, 0, 0, 254), (0, 0, 0, 128), CLEAR), "contradict"), (grey(255, 128, 0, transparency=128), "contradict"),
    (grey(255, 128, 0, transparency=255), "contradict"), (palette(BLACK[:3], GREY[:3], transparency=1), "contradict"),
    (rgba(WHITE, BLACK, CLEAR), "cannot be told"), (rgba((255, 0, 0, 255), BLACK, WHITE), "has colours"),
    (palette((0, 0, 0), (128, 0, 0), (0, 0, 128)), "has colours"), (grey(0, 1, 2), "from 0 to 2"),
    (grey(0, 1), "from 0 to 1,"), (grey(0, 85, 170), "values are 0, 85, 170, of which none is white"),
    (png(row(0, 128, 255, kind=np.uint16), 0), "from 0 to 255"), (tiff(row(0, 128, 255, kind=np.int32)), "to 255"),
    (tiff(row(0, 128, 255, kind=np.int16)), "0 to 255.*32767 for white"),
    (tiff(row(0, 64, 127, kind=np.int8)), "signed values of 8 bits"),
    (tiff(np.array([[0, 1, 2]], np.float32)), "from 0 to 2"), (tiff(np.array([[0, 1 / 255]], np.float32)), "scale"),
    (png(np.repeat(row(0, 128, 255, kind=np.uint16)[..., None], 3, 2), 2), "(below 256 of|from 0 to 255, .*) 65535"),
])
def test_what_is_no_trimap_for_certain(found, content, said):
    with pytest.raises(ValueError, match=rf"picture\.png cannot be read as a trimap: .*{said}"):
        found(content, read_trimap)


@pytest.mark.parametrize(("content", "expected"), [
    (rgba((255, 255, 255, 254), BLACK, GREY), [1, 0, 0.502]),  # opaque up to 1/255: brightness
    (rgba((9, 90, 200, 255), (9, 90, 200, 128), CLEAR), [1, 0.502, 0]),
    (rgba(WHITE, (255, 255, 255, 128), (255, 255, 255, 0)), [1, 0.502, 0]),
    (rgba(BLACK, (0, 0, 0, 128), CLEAR), [1, 0.502, 0]),  # a silhouette
    (saved(Image.fromarray(np.array([[(90, 255), (99, 128), (0, 0)]], np.uint8), "LA")), [1, 0.502, 0]),
    (png(np.array([[(9, 65535), (9, 32896), (9, 0)]], np.uint16), 4), [1, 0.502, 0]),
    pytest.param(tiff(np.array([[(9, 255), (9, 128), (0, 0)]], np.uint8), extra_sample=1), [1, 0.502, 0],
                 marks=NEW_PILLOW),  # premultiplied
    (palette((255, 9, 9), (9, 9, 255), (9, 99, 9), transparency=b"\xff\x80\0"), [1, 0.502, 0]),
    (grey(255, 255, 0, transparency=0), [1, 1, 0]), (saved(Image.fromarray(row(255, 0)).convert("1")), [1, 0]),
    (png(row(255, 0), 0, ((b"tRNS", struct.pack(">H", 0)),)), [1, 0]), (b"P5 2 1 1\n\1\0", [1, 0]),
    (grey(0, 128, 128), [0, 0.502, 0.502]), (grey(0, 0), [0, 0]),
])
def test_masks(found, content, expected):
    assert found(content) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("content", "said"), [
    (grey(255, 128, 0, transparency=0), "different masks"), (grey(255, 0, 0, transparency=255), "different masks"),
    (rgba(WHITE, BLACK, CLEAR), "different masks"),
    (palette((0, 0, 0), (128, 0, 0), (0, 0, 128)), "colours and nothing white"),
    (grey(0, 1, 1), "from 0 to 1, .*255 for white"), (grey(0, 20, 40), "from 0 to 40"),
    (png(row(0, 255, kind=np.uint16), 0), "from 0 to 255, .*65535 for white"),
    (rgba((9, 9, 9, 1), CLEAR, CLEAR), "from 0 to 1"),
    (png(np.array([[(255, 255), (255, 0)]], np.uint16), 4), "(below|from 0 to 255)"),
])
def test_what_is_no_mask_for_certain(found, content, said):
    with pytest.raises(ValueError, match=rf"picture\.png cannot be read as a mask: .*{said}"):
        found(content)


@pytest.mark.parametrize("content", [
    png(row(0, 255, 4095, kind=np.uint16), 0), tiff(row(0, 255, kind=np.int32)), b"P6 1 1 65535\n\0\xff\0\xff\0\xff",
    png(np.full((1, 2, 3), 255, np.uint16), 2),
], ids=lambda _: "")
def test_photographs_of_another_scale(found, content):
    with pytest.raises(ValueError, match="all its values are below 4096"):
        found(content, read_image)


def test_colours_and_alpha(found):
    assert found(rgba((255, 0, 51, 51)), read_cutout)[0] == pytest.approx([1, 0, 0.2, 0.2])
    assert found(grey(255), read_cutout)[0] == [1, 1, 1]
    premultiplied = tiff(np.array([[(50, 100, 100)]], np.uint8)[..., [0, 0, 0, 1]], photometric=2, extra_sample=1)
    assert found(premultiplied, read_cutout)[0] == pytest.approx([0.5, 0.5, 0.5, 100 / 255], abs=0.005)


def frames(kind: str) -> bytes:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("white", "black"))
    return saved(first, kind, save_all=True, append_images=[second])


@pytest.mark.parametrize(("kind", "what"), [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"),
                                            ("TIFF", "pages")])
@pytest.mark.parametrize("reader", [read_image, read_mask, read_trimap, read_cutout], ids=lambda r: r.__name__)
def test_several_pictures_in_a_file(found, kind, what, reader):
    with pytest.raises(ValueError, match=rf"picture\.png cannot be read as a .*: it has 2 {what}, .*folder"):
        found(frames(kind), reader)


@NEW_PILLOW
def test_previews_are_no_further_pictures(found, tmp_path):
    """A camera's MPO, and a TIFF whose further pages say that they are smaller copies."""
    assert found(frames("MPO"))[0] == 1
    pages = [Image.new("L", (size, size), 255) for size in (16, 8)]
    for first, second, right in ((0, 1, True), (0, 0, False), (1, 0, False)):
        for page, reduced in zip(pages, (first, second), strict=True):
            page.encoderinfo = {"tiffinfo": {254: reduced}}
        content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], tiffinfo={254: first})
        if right:
            assert found(content) == [1] * 16
        else:
            with pytest.raises(ValueError, match="2 pages"):
                found(content)


@pytest.mark.parametrize("how", [{"format": "PNG"}, {"format": "TIFF"}, {"format": "TIFF", "compression": "tiff_lzw"}],
                         ids=["PNG", "TIFF", "LZW"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_upright(tmp_path, how, kind, orientation):
    """Of Pillow's modes that it maps from a file into memory too."""
    levels = (np.arange(6).reshape(2, 3) * (np.iinfo(kind).max // 5)).astype(kind)
    expected = {1: levels, 2: levels[:, ::-1], 3: levels[::-1, ::-1], 4: levels[::-1], 5: levels.T,
                6: np.rot90(levels, -1), 7: np.rot90(levels, 2).T, 8: np.rot90(levels)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(levels).save(tmp_path / "m", exif=exif, **how)
    assert read_mask(tmp_path / "m")[0].numpy() == pytest.approx(expected / np.iinfo(kind).max)


def test_a_readers_warning_names_the_file(found, caplog, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("default", Image.DecompressionBombWarning)
        assert found(grey(*range(0, 256, 51), 255)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1])
    assert "picture.png: Image size" in caplog.text


def test_soft_mattes_stay_soft(tmp_path):
    """What `write_matte` wrote, and the same as an alpha channel."""
    alpha = torch.linspace(0, 1, 64).expand(4, 64)
    write_matte(tmp_path / "m.png", alpha)
    assert torch.allclose(read_mask(tmp_path / "m.png")[0], alpha, atol=1e-5)
    Image.fromarray((alpha.numpy() * 255).round().astype(np.uint8)).convert("LA").save(tmp_path / "la.png")
    layer = Image.new("RGBA", (64, 4), "white")
    layer.putalpha(Image.fromarray((alpha.numpy() * 255).round().astype(np.uint8)))
    layer.save(tmp_path / "rgba.png")
    for name in ("la.png", "rgba.png"):
        assert torch.allclose(read_mask(Path(tmp_path / name))[0], alpha, atol=0.51 / 255)


def test_a_picture_cut_short_is_not_said_to_have_damaged_exif(tmp_path, caplog):
    path = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ValueError, match="half.png cannot be read as a picture"):
        read_image(path)
    assert caplog.text == ""
