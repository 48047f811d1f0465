"""Every option that names what is written, below a folder that cannot be made or written: one error that names the
path, says what was expected and what helps, before any work, and nothing is left."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image

from vitmatte.files import check_can_write, make_folder, whole_file

FOLDERS = ("--mask", "masks", "--model", "vitmatte-tiny")
OPTIONS = {
    "cutout -o": ("cutout", "photos/a.png", "--mask", "masks/a.png", "-o", "{}/o.png"),
    "cutout --alpha": ("cutout", "photos/a.png", "--mask", "masks/a.png", "-o", "o.png", "--alpha", "{}/o.png"),
    "cutout --manifest": ("cutout", "photos/a.png", "--mask", "masks/a.png", "-o", "o.png", "--manifest", "{}"),
    "cutout of folders -o": ("cutout", "photos", *FOLDERS, "-o", "{}"),
    "cutout of folders --alpha": ("cutout", "photos", *FOLDERS, "-o", "out", "--alpha", "{}"),
    "cutout of folders --manifest": ("cutout", "photos", *FOLDERS, "-o", "out", "--manifest", "{}"),
    "cutout --models-folder": ("cutout", "photos/a.png", "--mask", "masks/a.png", "-o", "o.png", "--model",
                               "vitmatte-small-composition-1k", "--models-folder", "{}"),
    "trimap -o": ("trimap", "masks/a.png", "-o", "{}/o.png"),
    "trimap of folders -o": ("trimap", "masks", "-o", "{}"),
    "trimap --manifest": ("trimap", "masks", "-o", "out", "--manifest", "{}"),
    **{f"video {option} {name}": ("video", "photos", *FOLDERS, option, "{}" + name)
       for option in ("-o", "--alpha", "--fill") for name in ("", "/c.####.png", "/c.####.exr", "/c.mkv")},
    "evaluate --json": ("evaluate", "--pred", "masks", "--alpha", "masks", "--whole", "--json", "{}/r.json"),
    "export -o": ("export", "-o", "{}/m.pt2"),
    "download --models-folder": ("download", "vitmatte-base-composition-1k", "--models-folder", "{}"),
    "train": ("train", "recipe.json"),
}
LONG = "n" * 300
PLACES = {
    "below a file": "file/new",
    "a name that is too long": LONG,
    "a name that is too long in a new folder": f"new/{LONG}",
    "a link that leads nowhere": "link/new",
    "links in a circle": "circle/new",
    **({"no disk's folder": "/proc/new"} if sys.platform == "linux" else {}),
}


@pytest.fixture
def idle(monkeypatch, tmp_path):
    """Any work is an error of the test; the folder is the current one."""
    def work(*_, **__):
        raise AssertionError("there was work before the refusal")

    for name in ("shots.cutout.read_photograph", "shots.cutout.matte", "shots.trimap.make_trimap",
                 "cli.evaluate.judge", "cli.export.load_model", "cli.model_options.load_model",
                 "weights.download._fetch", "training.loop._train"):
        monkeypatch.setattr(f"vitmatte.{name}", work)
    for name in ("photos", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((32, 32), 255, np.uint8)).convert("RGB").save(tmp_path / name / "a.png")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(name: str, place: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says where it may not write."""
    if ".exr" in name:
        pytest.importorskip("OpenImageIO")
    if ".mkv" in name:
        pytest.importorskip("av")
    Path("recipe.json").write_text(json.dumps({
        "foregrounds": [{"folder": "photos"}], "backgrounds": [{"folder": "photos"}], "run": place,
        "model": {"model_type": "vitmatte"}}))
    before = sorted(Path().rglob("*"))
    assert run(*(part.replace("{}", place) for part in OPTIONS[name])) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "trained on" not in line]
    assert len(told) == 1 and str(Path(place)) in told[0] and "; expected " in told[0] and "Errno" not in told[0], told
    assert sorted(Path().rglob("*")) == before
    return told[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OPTIONS)
def test_places_where_no_folder_can_be(idle, capsys, name, place):
    refused(name, PLACES[place], capsys)


@pytest.mark.parametrize(("number", "said"), [
    (errno.EACCES, "expected a folder that this user may write to; give another, or get the right"),
    (errno.EROFS, "expected a disk that can be written; give a folder on another one"),
    (errno.ENODEV, "expected a drive that is there; connect it"),
    (errno.ENOSPC, "expected room on the disk; make some"),
    (errno.EFBIG, "expected files of this size to be allowed; raise the limit"),
])
@pytest.mark.parametrize("name", OPTIONS)
def test_folders_that_cannot_be_made_or_written(idle, monkeypatch, capsys, name, number, said):
    Path("disk/old").mkdir(parents=True)

    def refusing(real):
        def refuse(path, *how, **options):
            if idle / "disk" in path.absolute().parents:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *how, **options)

        return refuse

    with monkeypatch.context() as patch:
        for method in ("mkdir", "open"):
            patch.setattr(Path, method, refusing(getattr(Path, method)))
        for place in ("disk/new", "disk/old"):
            assert f"could not be written: {os.strerror(number)}; {said}" in refused(name, place, capsys)


def test_a_drive_that_is_not_there(tmp_path, monkeypatch):
    """Such as Z: on Windows, above which there is nothing at all."""
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(FileNotFoundError, match=r"o\.png could not be written: there is no .*see whether its drive"):
        check_can_write(tmp_path / "o.png")


def test_a_folder_that_could_be_made_in_part_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="could not be written: .*; expected names as long as the disk takes") as told:
        make_folder(tmp_path / "new" / "deep" / LONG)
    assert told.value.errno == errno.ENAMETOOLONG and not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_read_meanwhile_is_not_said_of_what_is_written(tmp_path):
    with pytest.raises(FileNotFoundError) as told, whole_file(tmp_path / "o.png"):
        (tmp_path / "frame.png").read_bytes()
    assert "o.png" not in str(told.value) and "frame.png" in str(told.value) and not list(tmp_path.iterdir())
