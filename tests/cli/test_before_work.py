"""What cannot be written is refused before a model is loaded or a picture read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from paths import PORTRAIT
from paths import PORTRAIT_MASK as MASK
from PIL import Image

from vitmatte.files import check_can_write
from vitmatte.pictures.reading import read_size
from vitmatte.pictures.writing import write_image

CUTOUT = ("cutout", PORTRAIT, "--mask", MASK)


@pytest.fixture
def idle(monkeypatch, tmp_path):
    """Any work is an error of the test; the folder is the current one."""
    def work(*_, **__):
        raise AssertionError("there was work before the refusal")

    for name in ("shots.cutout.load_model", "shots.cutout.read_photograph", "shots.cutout.matte",
                 "shots.trimap.make_trimap", "cli.evaluate.matte", "cli.evaluate.load_model", "cli.evaluate.judge",
                 "cli.export.load_model"):
        monkeypatch.setattr(f"vitmatte.{name}", work)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(width: int, height: int, name: str, **how: object) -> str:
    Image.new("L", (width, height), 90).save(name, **how)
    return name


@pytest.mark.parametrize(("arguments", "said"), [
    ((*CUTOUT, "-o", "o.png", "--alpha", "x.jpg"), "x.jpg: a matte needs 16 bits"),
    ((*CUTOUT, "-o", "o.png", "--alpha", "x.webp"), "x.webp: a matte needs 16 bits"),
    ((*CUTOUT, "-o", "o.jpg"), "has no transparency"),
    ((*CUTOUT, "-o", "o.xyz"), "unknown kind of picture"),
    ((*CUTOUT, "-o", "folder"), "folder is a folder; expected the name of a file"),
    ((*CUTOUT, "-o", "o.png", "--alpha", "folder"), "folder is a folder"),
    ((*CUTOUT, "-o", "file/o.png"), "file is a file; expected a folder"),
    ((*CUTOUT, "-o", "o.png", "--background", "mattes"), "mattes is a folder; expected a picture"),
    ((*CUTOUT, "-o", "o.png", "--manifest", "file"), "manifest is file, a file; expected a folder, or the name of a"),
    (("trimap", "mattes", "-o", "t", "--manifest", "file/r"), "manifest is file/r, which lies below the file"),
    ((*CUTOUT, "-o", "o.png", "--models-folder", "file"), "--models-folder is file, a file; expected a folder"),
    (("models", "--models-folder", "file/m"), "--models-folder is file/m, which lies below the file"),
    (("evaluate", "--pred", "back.png", "--alpha", "mattes", "--whole"), "back.png is one picture; expected a video"),
    (("evaluate", "--pred", "mattes", "--alpha", "back.png", "--whole"), "back.png is one picture; expected a video"),
    (("train", "mattes"), "mattes is a folder; expected a recipe"),
    ((*CUTOUT, "-o", "x" * 300 + ".png"), "could not be written: File name too long"),
    ((*CUTOUT, "-o", "o.png", "--inner", -3), "inner is -3"),
    ((*CUTOUT, "-o", "o.png", "--low", 0.9, "--high", 0.1), "low is 0.9"),
    ((*CUTOUT, "-o", "o.png", "--mark-unknown", "nothing.png"), "no picture or folder nothing.png"),
    ((*CUTOUT, "-o", "back.png", "--background", "back.png"), "back.png is among the pictures given"),
    (("cutout", PORTRAIT, "--mask", "nothing.png", "-o", "o.png"), "no picture nothing.png"),
    (("cutout", PORTRAIT, "--mask", "folder", "-o", "o.png"), "folder is a folder; give folders for all"),
    (("trimap", MASK, "-o", "t.jpg"), "t.jpg: a trimap needs exact values"),
    (("trimap", MASK, "-o", "t.webp"), "t.webp: a trimap needs exact values"),
    (("trimap", MASK, "-o", "file/t.png"), "file/t.png could not be written"),
    (("evaluate", "--alpha", "mattes", "--pred", "mattes", "--whole", "--json", "folder"), "folder is a folder"),
    (("evaluate", "--alpha", "mattes", "--pred", "mattes", "--whole", "--json", "file/r.json"), "could not be"),
    (("evaluate", "--alpha", "mattes", "--model", "m", "--image", "mattes", "--trimap", "mattes", "--device", "no"),
     "device 'no' cannot be used"),
    (("export", "-o", "file/m.onnx"), "file/m.onnx could not be written"),
])
def test_refused_before_work(idle, monkeypatch, capsys, arguments, said):
    for name in ("folder", "mattes"):
        Path(name).mkdir()
    Path("file").write_text("no folder")
    saved(8, 8, "back.png")
    saved(8, 8, "mattes/a.png")
    before = sorted(str(path) for path in Path().rglob("*"))
    if "back.png" in arguments:
        monkeypatch.undo()
        monkeypatch.chdir(idle)
    assert run(*arguments) == 1
    assert said in capsys.readouterr().err
    assert sorted(str(path) for path in Path().rglob("*")) == before


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16383), (".jpg", 65500), (".jpeg", 65500)])
def test_sides_that_a_format_does_not_hold(idle, capsys, suffix, side):
    photo, mask = saved(side + 1, 2, "p.png"), saved(side + 1, 2, "m.png")
    options = ["--background", "#ffffff"]
    assert run("cutout", photo, "--mask", mask, "-o", f"o{suffix}", *options) == 1
    assert f"the picture is {side + 1}x2, and {suffix} holds sides of up to {side}" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds sides of up to"):
        write_image(f"o{suffix}", torch.zeros(2, side + 1, 3))
    write_image(f"most{suffix}", torch.zeros(1, side, 3))
    assert Image.open(f"most{suffix}").size == (side, 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_sizes_without_decoding_are_upright(tmp_path, suffix):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / f"p{suffix}", exif=exif)
        assert read_size(tmp_path / f"p{suffix}") == ((20, 30) if orientation > 4 else (30, 20))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_folders_that_refuse(idle, monkeypatch, capsys, number):
    real = Path.open

    def refuse(path, *how, **options):
        if path.name.startswith(".writing-"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *how, **options)

    monkeypatch.setattr(Path, "open", refuse)
    for arguments in ((*CUTOUT, "-o", "o.png"), ("trimap", MASK, "-o", "o.png"), ("export", "-o", "o.onnx")):
        assert run(*arguments) == 1
        assert f"could not be written: {os.strerror(number)}" in capsys.readouterr().err


def test_a_folder_that_is_not_there_yet(tmp_path, monkeypatch):
    check_can_write(tmp_path / "new" / "deep" / "o.png")
    assert list(tmp_path.iterdir()) == []

    def refuse(path, *_, **__):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"o\.png could not be written: Permission denied; expected a folder that "
                                              "this user may write to; give another") as told:
        check_can_write(tmp_path / "new" / "deep" / "o.png")
    assert told.value.errno == errno.EACCES
