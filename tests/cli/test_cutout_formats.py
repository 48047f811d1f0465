"""`vitmatte cutout` and `vitmatte trimap` with formats: names, options, and light from file to file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image

from vitmatte.pictures import packages
from vitmatte.pictures.reading import read_cutout, read_mask, read_photograph
from vitmatte.pictures.writing import write_image

needs_openimageio = pytest.mark.skipif(packages.openimageio() is None, reason="no OpenImageIO")
SIDE = 96
CHEAP = ("--inner", 4, "--outer", 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """photos/ with a JPEG and masks/ for three names; the current folder."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (np.hypot(x - 48, y - 48) < 30).astype(np.uint8) * 255
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(disc).save(f"masks/{name}.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)).save("photos/a.jpg")
    return tmp_path


def plate(path, *, bright: float = 0.0) -> torch.Tensor:
    """A picture whose code values reach to `bright` within the subject, written to a file; its code values."""
    image = torch.rand(SIDE, SIDE, 3, generator=torch.Generator().manual_seed(2))
    image[40:56, 40:56] += bright
    write_image(path, image, bits="half" if str(path).endswith(".exr") else 16)
    return read_photograph(path).image[0]


@needs_openimageio
def test_light_comes_out_as_it_went_in(folder):
    image = plate("photos/b.exr", bright=12)  # brighter than a thousand times white
    assert run("cutout", "photos/b.exr", "--mask", "masks/b.png", "-o", "b.exr", "--alpha", "m.exr", *CHEAP) == 0
    photo = read_photograph("b.exr")
    assert photo.bits == "half" and torch.equal(photo.image[0][40:56, 40:56], image[40:56, 40:56])
    assert float(photo.image.max()) > 11
    alpha = read_mask("m.exr")[0]
    assert alpha[48, 48] == 1 and alpha[0, 0] == 0 and torch.equal(read_cutout("b.exr")[0, ..., 3], alpha)


@needs_openimageio
@pytest.mark.parametrize("how", [("--colours", "picture"), ("--background", "#204060", "--linear")])
def test_light_with_other_looks(folder, capsys, how):
    image = plate("photos/b.exr", bright=5)
    assert run("cutout", "photos/b.exr", "--mask", "masks/b.png", "-o", "b.exr", "--bits", "float", *CHEAP, *how) == 0
    photo = read_photograph("b.exr")
    assert photo.bits == "float"
    assert torch.allclose(photo.image[0][40:56, 40:56], image[40:56, 40:56], rtol=1e-5)
    assert run("cutout", "photos/b.exr", "--mask", "masks/b.png", "-o", "b.png", *CHEAP, *how) == 0
    assert "are clipped; write .exr to keep them" in capsys.readouterr().err


@needs_openimageio
def test_a_background_beyond_white_is_said_like_all_warnings(folder, capsys):
    """Once, and of the background, though no picture is at hand when it is read."""
    plate("back.exr", bright=5)
    how = ("--background", "back.exr", *CHEAP)
    assert run("cutout", "photos/a.jpg", "--mask", "masks/a.png", "-o", "o.png", *how) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == ["warning: back.exr: its light is darker than black or brighter than white, and is clipped"]


@needs_openimageio
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_come_out_as_they_went_in(folder, suffix):
    image = plate(f"photos/b{suffix}")
    assert run("cutout", f"photos/b{suffix}", "--mask", "masks/b.png", "-o", f"b{suffix}", *CHEAP) == 0
    photo = read_photograph(f"b{suffix}")
    assert photo.bits == 16 and torch.equal(photo.image[0][40:56, 40:56], image[40:56, 40:56])
    assert run("cutout", f"photos/b{suffix}", "--mask", "masks/b.png", "-o", "n.png", "--bits", 8, *CHEAP) == 0
    assert read_photograph("n.png").bits == 8


@needs_openimageio
def test_a_folders_results(folder):
    """Names are kept; light stays light unless a format is chosen, and mattes are never of 8 bits."""
    plate("photos/b.exr")
    plate("photos/c.tif")
    folders = ("cutout", "photos", "--mask", "masks", *CHEAP)
    assert run(*folders, "-o", "one", "--alpha", "mattes") == 0
    assert sorted(path.name for path in (folder / "one").iterdir()) == ["a.png", "b.exr", "c.png"]
    assert sorted(path.name for path in (folder / "mattes").iterdir()) == ["a.png", "b.exr", "c.png"]
    assert [read_photograph(f"one/{name}").bits for name in ("a.png", "b.exr", "c.png")] == [8, "half", 16]
    assert run(*folders, "-o", "two", "--alpha", "more", "--format", "webp", "--compression", "lossless") == 0
    assert sorted(path.name for path in (folder / "two").iterdir()) == ["a.webp", "b.webp", "c.webp"]
    assert sorted(path.name for path in (folder / "more").iterdir()) == ["a.png", "b.png", "c.png"]
    assert run(*folders, "-o", "two", "--format", "webp", "--compression", "lossless", "--skip-existing") == 0
    assert run(*folders, "-o", "three", "--format", "tif", "--bits", 16, "--premultiplied", "--compression", "lzw") == 0
    assert [read_photograph(f"three/{name}.tif").bits for name in "abc"] == [16, 16, 16]


@pytest.mark.parametrize(("arguments", "said"), [
    (("-o", "x.png", "--format", "tif"), "x.png: --format is tif, and the name of a single result says its format"),
    (("-o", "x.png", "--premultiplied"), ".png is always straight"), (("-o", "x.png", "--straight"), "always straight"),
    (("-o", "x.png", "--bits", "half"), ".png has 8 or 16"), (("-o", "x.png", "--compression", "11"), ".png has fast"),
    (("-o", "x.jpg", "--background", "white", "--compression", "fast"), ".jpg has none to choose"),
    (("-o", "x.tif", "--background", "white", "--premultiplied"), "and the picture has none"),
])
def test_options_that_mean_nothing(folder, monkeypatch, capsys, arguments, said):
    monkeypatch.setattr("vitmatte.cli.model_options.load_model", lambda *_, **__: pytest.fail("there was work"))
    assert run("cutout", "photos/a.jpg", "--mask", "masks/a.png", *arguments) == 1
    assert said in capsys.readouterr().err
    assert run("cutout", "photos/a.jpg", "--mask", "masks/a.png", "-o", "x.exr", "--bits", "12") == 2
    assert run("cutout", "photos/a.jpg", "--mask", "masks/a.png", "-o", "x.exr", "--premultiplied", "--straight") == 2


def test_trimaps(folder, capsys):
    assert run("trimap", "masks", "-o", "trimaps", "--format", "tif", "--compression", "lzw") == 0
    assert sorted(path.name for path in (folder / "trimaps").iterdir()) == ["a.tif", "b.tif", "c.tif"]
    assert run("trimap", "masks/a.png", "-o", "t.png", "--compression", "lzw") == 1
    assert "compression is 'lzw'; .png has fast" in capsys.readouterr().err
    assert run("trimap", "masks/a.png", "-o", "t.png", "--format", "exr") == 2
