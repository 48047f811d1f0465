"""What training reads: pairs of folders, cut-outs and backgrounds, through the one reader of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vitmatte.pictures.writing import write_matte
from vitmatte.training.data.pictures import (
    File,
    find_backgrounds,
    find_foregrounds,
    load_background,
    load_foreground,
)
from vitmatte.training.recipe import Source


def test_layouts(tmp_path):
    """Composition-1k's and Distinctions-646's pairs of folders, and plain cut-outs."""
    for at, colour, alpha in (("adobe/Training_set/Other", "fg", "alpha"), ("d646/Train", "FG", "GT")):
        for name in (colour, alpha):
            (tmp_path / at / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (9, 8, 7)).save(tmp_path / at / colour / "a.png")
        Image.new("L", (40, 40), 128).save(tmp_path / at / alpha / "a.jpg")
    for at in ("adobe", "d646"):
        (file,) = find_foregrounds([Source(str(tmp_path / at))])
        picture = load_foreground(file)
        assert picture.levels[0].mode == "RGBa" and picture.levels[0].getpixel((3, 3)) == (5, 4, 4, 128)
    Image.new("L", (30, 30)).save(tmp_path / "d646/Train/GT/a.png")
    with pytest.raises(ValueError, match="several suffixes: a.jpg, a.png"):
        find_foregrounds([Source(str(tmp_path / "d646"))])
    (tmp_path / "d646/Train/GT/a.jpg").unlink()
    with pytest.raises(ValueError, match="expected equal sizes"):
        load_foreground(find_foregrounds([Source(str(tmp_path / "d646"))])[0])
    (tmp_path / "adobe/Training_set/Other/alpha/a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="nothing in .* for 1 of"):
        find_foregrounds([Source(str(tmp_path / "adobe"))])


@pytest.fixture
def pair(tmp_path):
    """A function that writes a colour picture and its soft matte, and reads the foreground of them."""
    def read(save, exif=None) -> np.ndarray:
        for name in ("fg", "alpha"):
            (tmp_path / name).mkdir(exist_ok=True)
        colours = np.dstack([np.full((32, 64), 200), np.arange(64).repeat(32).reshape(64, 32).T, np.zeros((32, 64))])
        Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "fg" / "a.png", exif=exif or Image.Exif())
        save(tmp_path / "alpha")
        (file,) = find_foregrounds([Source(str(tmp_path))])
        return np.asarray(load_foreground(file).levels[0])

    return read


RAMP = torch.linspace(0, 1, 64).expand(32, 64).contiguous()
LEVELS = (RAMP * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("save", [
    lambda folder: write_matte(folder / "a.png", RAMP), lambda folder: write_matte(folder / "a.tif", RAMP),
    lambda folder: Image.fromarray(LEVELS).save(folder / "a.png"),
    lambda folder: Image.fromarray(np.dstack([np.full((32, 64, 3), 90, np.uint8), LEVELS])).save(folder / "a.png"),
    lambda folder: Image.fromarray(np.dstack([np.full((32, 64), 90, np.uint8), LEVELS]), "LA").save(folder / "a.png"),
    lambda folder: Image.fromarray(RAMP.numpy()).save(folder / "a.tif"),
], ids=["16 bits", "TIFF", "8 bits", "RGBA", "LA", "float"])
def test_mattes_of_pairs_stay_soft(pair, save):
    assert (pair(save)[..., 3] == LEVELS).all()


def test_mattes_of_another_scale(pair):
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a mask: its values reach from 0 to 255"):
        pair(lambda folder: Image.fromarray(LEVELS.astype(np.uint16)).save(folder / "a.png"))


@pytest.mark.parametrize("both", [True, False])
def test_pairs_are_upright(pair, both):
    """Where the colour picture lies on its side: with its matte, or with one that stands already."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored, upright = LEVELS, np.rot90(LEVELS, -1)
    found = pair(lambda folder: Image.fromarray(stored if both else np.ascontiguousarray(upright)).save(
        folder / "a.png", exif=exif if both else Image.Exif()), exif)
    assert (found[..., 3] == upright).all()
    row = found[-1, 0] / 255
    assert row[3] == 0 if upright[-1, 0] == 0 else row[0] == pytest.approx(200 / 255 * row[3], abs=0.01)


def test_cutouts_and_backgrounds_read_as_others(tmp_path):
    """An opaque cut-out has its alpha channel, none is refused; 16-bit grey backgrounds keep their brightness."""
    Image.new("RGBA", (40, 30), (10, 20, 30, 255)).save(tmp_path / "opaque.png")
    assert load_foreground(File(tmp_path / "opaque.png")).levels[0].getpixel((3, 3)) == (10, 20, 30, 255)
    Image.new("RGB", (40, 30)).save(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"none\.png has no alpha channel; .*\(fg and alpha, or FG and GT\)"):
        load_foreground(File(tmp_path / "none.png"))
    Image.fromarray(np.full((30, 40), 32896, np.uint16)).save(tmp_path / "wide.png")
    assert load_background(File(tmp_path / "wide.png")).levels[0].getpixel((3, 3)) == (128, 128, 128)
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    assert load_background(File(tmp_path / "turned.jpg")).size == (30, 40)


def test_what_is_no_picture_is_not_drawn(tmp_path):
    for name in ("a.png", "._a.png", ".hidden/b.png", "deep/c.JPG", "folder.png/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    found = [file.colour.relative_to(tmp_path).as_posix() for file in find_backgrounds([Source(str(tmp_path))])]
    assert found == ["a.png", "deep/c.JPG", "folder.png/d.png"]
