"""`vitmatte evaluate --clip`: the flicker of frames in folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from moving import disc, picture

from vitmatte.cli.main import main
from vitmatte.pictures import writing

FRAMES, STEP = 4, 3  # pixels to the right each frame


@pytest.fixture()
def folders(tmp_path):
    """A disc that moves to the right, found with an error that moves along: a part of it has half its share."""
    for i in range(FRAMES):
        true = disc(96, 128, 45 + STEP * i, 48, 26)
        wrong = true * (1 - 0.5 * disc(96, 128, 45 + STEP * i, 30, 9))
        name = f"{i:04}.png"
        writing.write_matte(tmp_path / "alpha" / name, true)
        writing.write_matte(tmp_path / "pred" / name, wrong)
        writing.write_image(tmp_path / "image" / name, picture(true, STEP * i))
        trimap = torch.where((true > 0) | (disc(96, 128, 45 + STEP * i, 48, 32) > 0), 0.5, 0.0)
        writing.write_trimap(tmp_path / "trimap" / name, trimap)
    return tmp_path


def run(folders, *extra):
    report = folders / "report.json"
    given = ["--pred", str(folders / "pred"), "--alpha", str(folders / "alpha"), "--json", str(report)]
    status = main(["evaluate", *given, *extra])
    return status, json.loads(report.read_text()) if report.exists() else None


def test_flicker_of_files(folders, capsys):
    status, report = run(folders, "--whole", "--clip")
    assert status == 0 and report["clip"]["pairs"] == FRAMES - 1 and report["clip"]["messddt"] is None
    found, true = ([disc(96, 128, 45 + STEP * i, 48, 26) for i in range(2)] for _ in range(2))
    wrong = [a * (1 - 0.5 * disc(96, 128, 45 + STEP * i, 30, 9)) for i, a in enumerate(found)]
    change = (wrong[1] - wrong[0]) - (true[1] - true[0])
    assert report["clip"]["dtssd"] == pytest.approx(float(change.square().mean().sqrt()), rel=1e-2)
    assert "MESSDdt needs the pictures" in capsys.readouterr().out


def test_motion_of_the_pictures_follows_the_error(folders, capsys):
    _, still = run(folders, "--whole", "--clip")
    status, report = run(folders, "--trimap", str(folders / "trimap"), "--clip", "--image", str(folders / "image"))
    assert status == 0 and 0 < report["clip"]["messddt"] < 0.2 * report["mean"]["mse"]
    assert still["clip"]["dtssd"] > 0 and "MESSDdt 0.0" in capsys.readouterr().out


def test_without_clip_nothing_changes(folders):
    assert "clip" not in run(folders, "--whole")[1]


def test_what_is_wrong_is_named(folders, capsys):
    writing.write_image(folders / "small" / "0000.png", torch.zeros(10, 12, 3))
    for i in range(1, FRAMES):
        writing.write_image(folders / "small" / f"{i:04}.png", torch.zeros(10, 12, 3))
    assert run(folders, "--whole", "--clip", "--image", str(folders / "small")) == (1, None)
    assert "0000.png is 12x10 and its matte 128x96" in capsys.readouterr().err
    for name in ("alpha", "pred"):
        for i in range(1, FRAMES):
            (folders / name / f"{i:04}.png").unlink()
    assert run(folders, "--whole", "--clip") == (1, None)
    assert "no two frames that follow each other" in capsys.readouterr().err


def test_frames_of_several_sizes(folders, capsys):
    for name in ("alpha", "pred"):
        writing.write_matte(folders / name / "0002.png", torch.from_numpy(np.zeros((50, 60), np.float32)))
    assert run(folders, "--whole", "--clip") == (1, None)
    assert "0002.png: found is (50, 60) and that of the frame before (96, 128)" in capsys.readouterr().err
