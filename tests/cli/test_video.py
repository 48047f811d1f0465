"""The command `vitmatte video`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from clips import drawn_frame, drawn_mask, seen, write_frame_pictures, write_mask_pictures, write_video
from commands import run
from nets import random_net, small_config
from paths import ROOT
from PIL import Image

from vitmatte.video.colours import Colours
from vitmatte.video.file import VideoFile
from vitmatte.weights.save import save_net

pytest.importorskip("av")
COUNT = 6
RADII = ("--inner", 3, "--outer", 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A clip as file and pictures, masks as pictures and file, a small model; the folder is the current one."""
    save_net(random_net(small_config()), tmp_path / "model")
    write_video(tmp_path / "clip.mkv", [drawn_frame(i)[..., :3] for i in range(COUNT)], layout="yuv444p", sound="flac")
    write_frame_pictures(tmp_path / "frames", COUNT)
    write_mask_pictures(tmp_path / "masks", COUNT)
    write_video(tmp_path / "masks.mkv", [drawn_mask(i) for i in range(COUNT)], layout="gray", colours=Colours(6, True))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def video(*arguments):
    return run("video", *arguments, "--model", "model", *RADII)


def test_a_clip_becomes_a_cut_out_a_fill_and_a_matte(folder, capsys):
    assert video("clip.mkv", "--mask", "masks", "-o", "cut.mkv", "--alpha", "matte.mkv", "--fill", "fill.mkv") == 0
    said = capsys.readouterr()
    assert said.out.split() == ["cut.mkv", "fill.mkv", "matte.mkv"] and "6 frames" in said.err and "net" in said.err
    cut, matte = (np.stack(seen(folder / name, layout)) for name, layout in (("cut.mkv", "gbrap16le"),
                                                                           ("matte.mkv", "gray16le")))
    fill = np.stack(seen(folder / "fill.mkv", "gbrp16le"))
    assert len(cut) == COUNT and (cut[..., 3] == matte).all() and (cut[..., :3] == fill).all()
    assert matte[0, 24, 20] == 65535 and matte[0, 2, 60] == 0
    with Image.open(folder / "masks/mask.0001.png") as mask:
        assert (matte[0][np.asarray(mask) == 0] == 0).mean() > 0.8
    assert VideoFile(folder / "cut.mkv").sound is not None


def test_pictures_in_pictures_out_and_on(folder, capsys):
    given = ("frames", "--mask", "masks", "-o", "cut", "--alpha", "matte/m.####.tif", "--frames", "1002-1005")
    assert video(*given) == 0
    assert sorted(path.name for path in (folder / "cut").iterdir()) == [f"shot.{n}.png" for n in range(1002, 1006)]
    assert len(list((folder / "matte").iterdir())) == 4
    before = (folder / "cut/shot.1004.png").read_bytes()
    (folder / "cut/shot.1004.png").unlink()
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "cut").iterdir()}
    capsys.readouterr()
    assert video(*given, "--skip-existing") == 0
    assert "3 of 4 frames are done already" in capsys.readouterr().err
    assert (folder / "cut/shot.1004.png").read_bytes() == before
    assert all((folder / "cut" / name).stat().st_mtime_ns == was for name, was in times.items())
    assert video(*given, "--skip-existing") == 0


def test_parts_that_overlap_meet(folder, capsys):
    """Where all of the past is within the overlap, they have the bytes of the whole run; without it they do not."""
    given = ("frames", "--mask", "masks", "--steady", 0.8)
    assert video(*given, "--alpha", "whole") == 0
    for name, overlap in (("parts", COUNT), ("cut", 0)):
        for frames in ("1001-1003", "1004-1006"):
            assert video(*given, "--alpha", name, "--frames", frames, "--overlap", overlap) == 0
        assert len(list((folder / name).iterdir())) == COUNT
    found = {name: {path.name: path.read_bytes() for path in (folder / name).iterdir()}
             for name in ("whole", "parts", "cut")}
    assert found["parts"] == found["whole"] != found["cut"]
    (folder / "parts/shot.1005.png").unlink()
    capsys.readouterr()
    assert video(*given, "--alpha", "parts", "--frames", "1004-1006", "--overlap", COUNT, "--skip-existing") == 0
    assert "2 of 3 frames are done already" in capsys.readouterr().err
    assert (folder / "parts/shot.1005.png").read_bytes() == found["whole"]["shot.1005.png"]


@pytest.mark.parametrize(("words", "said"), [
    (("-o", "c.mov", "--frames", "1002-1003", "--overlap", 1), "--overlap is for pictures"),
    (("-o", "c", "--overlap", 1), "--overlap is 1; expected a number of frames, 0 or more, and --frames"),
    (("-o", "c", "--frames", "1002-1003", "--overlap", -1), "--overlap is -1"),
    (("-o", "c", "--frames", "1002-1007", "--overlap", 1), "frames is 1002-1007, and frames has 1001-1006"),
])
def test_overlaps_that_cannot_be(folder, capsys, words, said):
    assert video("frames", "--mask", "masks", *words) == 1
    assert said in capsys.readouterr().err and not (folder / "c").exists()


@pytest.mark.parametrize("masks", [("--mask", "masks/mask.0001.png"), ("--mask", "masks.mkv"),
                                   ("--trimap", "masks.mkv"), ("--mask", "masks/mask.####.png", "--steady", 0.6)])
def test_masks_of_all_kinds(folder, masks):
    assert video("clip.mkv", *masks, "--alpha", "m.mkv", "--no-sound") == 0
    assert len(seen(folder / "m.mkv", "gray16le")) == COUNT and VideoFile(folder / "m.mkv").sound is None


def test_a_mask_of_the_first_frame_is_carried_on(folder, capsys):
    clip, mask = (ROOT / "pictures" / name for name in ("clip.mp4", "clip-mask.png"))
    assert run("video", clip, "--mask", mask, "--carry", "--alpha", "m.mkv", "--frames", "1-6") == 0
    assert "5 frames had no mask" in capsys.readouterr().err
    assert len(seen(folder / "m.mkv", "gray16le")) == 6


def test_a_mask_that_cannot_be_carried_on_is_refused(folder, capsys):
    for path in sorted((folder / "masks").iterdir())[1:]:
        path.unlink()
    assert video("clip.mkv", "--mask", "masks", "--alpha", "m.mkv") == 1
    assert "no mask for 5 of 6 frames" in capsys.readouterr().err
    assert video("clip.mkv", "--mask", "masks", "--alpha", "m.mkv", "--carry") == 1  # mattes of a random net
    said = capsys.readouterr().err
    assert "frame 3: the matte of the frame before runs into" in said and "give a mask for this frame" in said
    assert not (folder / "m.mkv").exists()


def test_backgrounds(folder):
    Image.new("RGB", (10, 10), (0, 0, 255)).save("blue.png")
    for given, blue in (("blue.png", 65535), ("#0000ff", 65535), ("clip.mkv", None)):
        assert video("clip.mkv", "--mask", "masks", "-o", "on.mkv", "--background", given) == 0
        corner = seen(folder / "on.mkv", "gbrp16le")[0][-1, -1]
        assert blue is None or (corner == (0, 0, blue)).all()


@pytest.mark.parametrize(("arguments", "said"), [
    (("none.mp4", "--mask", "masks", "-o", "c.mov"), "no clip none.mp4"),
    (("model/config.json", "--mask", "masks", "-o", "c.mov"), "cannot be read as a video"),
    (("clip.mkv", "--mask", "nothing", "-o", "c.mov"), "no masks nothing"),
    (("clip.mkv", "--mask", "masks"), "nothing is to be written"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mp4"), "c.mp4: .mp4 has no transparency"),
    (("clip.mkv", "--mask", "masks", "-o", "c.gif"), "c.gif: expected a video"),
    (("clip.mkv", "--mask", "masks", "-o", "clip.mkv"), "clip.mkv is among what is given"),
    (("clip.mkv", "--mask", "masks", "-o", "masks"), "masks is among what is given"),
    (("frames", "--mask", "masks", "-o", "frames/c.####.png"), "frames/c.####.png is among what is given"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--alpha", "c.mov"), "c.mov is named for two results"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--float"), "--float is for OpenEXR"),
    (("clip.mkv", "--mask", "masks", "-o", "c.####.png", "--straight"), "--straight is for OpenEXR"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--frames", "9-12"), "frames is 9-12, and clip.mkv has 1-6"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--frames", "x"), "frames is 'x'"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--steady", 2), "strength is 2"),
    (("frames", "--mask", "masks", "-o", "c.mov", "--rate", "0"), "rate is '0'"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--skip-existing"), "--skip-existing is for pictures"),
    (("clip.mkv", "--mask", "masks", "-o", "c.mov", "--inner", -1), "inner is -1"),
    (("clip.mkv", "--mask", "masks", "--alpha", "m.mov", "--background", "red"), "--background is for --output"),
    (("clip.mkv", "--trimap", "masks", "-o", "c.mov", "--mark-unknown", "masks"), "marks are for --mask"),
    (("clip.mkv", "--mask", "masks", "-o", "file/c.mov"), "file/c.mov could not be written"),
    (("clip.mkv", "--mask", "small.png", "-o", "c.mov"), "clip.mkv is 64x48 and small.png 8x8"),
    (("clip.mkv", "--mask", "short.mkv", "-o", "c.mov"), "short.mkv has 2 masks for 6 frames"),
])
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(folder, monkeypatch, capsys, arguments, said):
    def work(*_, **__):
        raise AssertionError("there was work before the refusal")

    (folder / "file").write_text("")
    Image.new("L", (8, 8)).save("small.png")
    write_video(folder / "short.mkv", [drawn_mask(i) for i in range(2)], layout="gray", colours=Colours(6, True))
    monkeypatch.setattr("vitmatte.cli.model_options.load_model", work)
    before = sorted(folder.rglob("*"))
    assert run("video", *arguments) == 1
    assert said in capsys.readouterr().err and sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)])
def test_a_run_that_is_ended_leaves_whole_files_or_none(folder, name, status):
    """And pictures go on where they stopped, with the same results."""
    long = [drawn_frame(i % 7)[..., :3] for i in range(60)]
    write_video(folder / "long.mkv", long, layout="yuv444p")
    given = ["long.mkv", "--mask", "masks/mask.0001.png", "--model", "model"]
    for output in ("cut.mkv", "out/####.png"):
        process = subprocess.Popen(
            [sys.executable, "-m", "vitmatte", "video", *given, "-o", output], stderr=subprocess.PIPE, text=True,
            env={**__import__("os").environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        started = "out/0003.png" if "#" in output else ".writing-*"
        deadline = time.monotonic() + 120
        while not [path for path in folder.glob(started) if "#" not in output or path.stat().st_size]:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
            time.sleep(0.01)
        time.sleep(0.1)  # now it is being written
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == status
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    assert not (folder / "cut.mkv").exists() and (not hidden or name == "SIGKILL")
    done = [path for path in (folder / "out").glob("*.png") if not path.name.startswith(".")]
    assert 3 <= len(done) < 60
    assert run("video", *given, "-o", "out/####.png", "--skip-existing") == 0
    assert run("video", *given, "-o", "all/####.png") == 0
    for i in range(1, 61):
        assert (folder / f"out/{i:04}.png").read_bytes() == (folder / f"all/{i:04}.png").read_bytes()


def test_the_same_warning_is_given_once(folder, capsys):
    Image.fromarray(np.zeros((48, 64), np.uint8)).save("black.png")
    assert video("clip.mkv", "--mask", "black.png", "--alpha", "m.mkv") == 0
    assert capsys.readouterr().err.count("no foreground") == 1
    assert not torch.from_numpy(np.stack(seen(folder / "m.mkv", "gray16le")).astype(np.int32)).any()
