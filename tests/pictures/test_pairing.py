"""Which files belong together: every format that is read, in cut-outs, marks, evaluation and training alike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from commands import run
from PIL import Image

from vitmatte.pictures.pairing import by_stem, counterparts
from vitmatte.pictures.reading import pictures_in, read_image, suffixes
from vitmatte.training.data.pictures import find_foregrounds
from vitmatte.training.recipe import Source

READ = [".png", ".JPG", ".gif", ".jp2", ".ppm", ".jfif", ".jpe", ".tif", ".TIFF", ".bmp", ".webp", ".mpo", ".apng",
        ".j2k", ".pgm", *([".avif"] if ".avif" in suffixes() else [])]
NOT_READ = [".heic", ".psd", ".txt"]
MASK = np.zeros((24, 32), np.uint8)
MASK[6:18, 8:24] = 255


@pytest.fixture
def folders(tmp_path):
    """photos: one of every kind, named by it; masks: a PNG for each."""
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for suffix in READ:
        Image.new("RGB", (32, 24), (90, 120, 30)).save(tmp_path / "photos" / f"a{suffix[1:]}{suffix}")
    for suffix in NOT_READ:
        (tmp_path / "photos" / f"b{suffix[1:]}{suffix}").write_bytes(b"of another program")
    (tmp_path / "photos" / "._a.jpg").write_bytes(b"of the system")
    for path in (tmp_path / "photos").iterdir():
        Image.fromarray(MASK).save(tmp_path / "masks" / f"{path.stem}.png")
    return tmp_path


def test_every_kind_that_is_read_is_found(folders):
    found = pictures_in(folders / "photos")
    assert sorted(path.suffix for path in found) == sorted(READ)
    assert all(read_image(path).shape == (1, 24, 32, 3) for path in found)
    with pytest.raises(ValueError, match="not a picture in a format that is read"):
        read_image(folders / "photos" / "bpsd.psd")


def test_cutouts_of_every_kind(folders, capsys):
    photos, masks, out = (folders / name for name in ("photos", "masks", "out"))
    assert run("cutout", photos, "--mask", masks, "-o", out, "--inner", 2, "--outer", 2) == 0
    assert len(list(out.iterdir())) == len(READ)
    told = capsys.readouterr().err
    assert "left out of" in told and "bheic.heic, bpsd.psd, btxt.txt" in told and "._a" not in told


def test_folders_of_results_are_not_said_to_be_left_out(folders, capsys):
    for suffix in NOT_READ:
        (folders / "photos" / f"b{suffix[1:]}{suffix}").unlink()
    for _ in range(2):
        run("trimap", folders / "masks", "-o", folders / "masks" / "t")
        assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [
    ("cutout", "photos", "--mask", "masks", "-o", "out"),
    ("trimap", "photos", "--photo", "masks", "-o", "out"),
    ("cutout", "photos", "--mask", "photos2", "--mark-unknown", "masks", "-o", "out"),
    ("trimap", "photos", "--mark-foreground", "masks", "-o", "out"),
    ("evaluate", "--alpha", "photos", "--pred", "masks", "--whole"),
    ("evaluate", "--alpha", "photos", "--pred", "photos2", "--trimap", "masks"),
    ("evaluate", "--alpha", "masks", "--pred", "photos", "--whole"),
])
def test_doubles_are_refused(folders, capsys, command):
    shutil.copytree(folders / "photos", folders / "photos2")
    shutil.copy(folders / "masks" / "apng.png", folders / "masks" / "apng.tif")
    assert run(*(folders / word if (folders / word).is_dir() or word == "out" else word for word in command)) == 1
    told = capsys.readouterr().err
    assert "pictures of one name and several suffixes: apng.png, apng.tif" in told and not (folders / "out").exists()


def test_what_is_lacking_is_named(folders, capsys):
    (folders / "masks" / "apng.png").rename(folders / "masks" / "apng.psd")
    for command in (("cutout", folders / "photos", "--mask", folders / "masks", "-o", folders / "out"),
                    ("trimap", folders / "photos", "--mark-unknown", folders / "masks", "-o", folders / "out"),
                    ("evaluate", "--alpha", folders / "photos", "--pred", folders / "masks", "--whole")):
        assert run(*command) == 1
        told = capsys.readouterr().err
        assert f"for 1 of {len(READ)}" in told and ": apng;" in told and "there is apng.psd, which is not read" in told
    with pytest.raises(FileNotFoundError, match="no folder"):
        counterparts(folders / "nowhere", ["a"])
    (folders / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        by_stem(folders / "empty")


def test_pairs_of_training(tmp_path):
    for name in ("fg", "alpha"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for suffix in READ:
        Image.new("RGB", (32, 24)).save(tmp_path / "set/fg" / f"a{suffix[1:]}{suffix}")
        Image.fromarray(MASK).save(tmp_path / "set/alpha" / f"a{suffix[1:]}.JPE", "JPEG")
    (tmp_path / "set/fg/._x.png").write_bytes(b"")
    (tmp_path / "set/fg/folder.png").mkdir()
    found = find_foregrounds([Source(str(tmp_path / "set"))])
    assert len(found) == len(READ) and all(file.alpha.suffix == ".JPE" for file in found)
    Image.fromarray(MASK).save(tmp_path / "set/alpha/apng.png")
    with pytest.raises(ValueError, match=r"apng\.JPE, apng\.png"):
        find_foregrounds([Source(str(tmp_path / "set"))])
    (tmp_path / "set/alpha/apng.png").unlink(), (tmp_path / "set/alpha/apng.JPE").unlink()
    with pytest.raises(FileNotFoundError, match="nothing in .*alpha for 1 of"):
        find_foregrounds([Source(str(tmp_path / "set"))])
