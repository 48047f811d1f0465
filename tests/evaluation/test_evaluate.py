"""The command `vitmatte evaluate`, on generated files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from vitmatte.cli.main import main
from vitmatte.evaluation.metrics import errors
from vitmatte.pictures import reading, writing


@pytest.fixture()
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(("cat", "dog")):
        ramp = torch.linspace(0, 1, 40).expand(32, 40).contiguous()
        found = (ramp + 0.1 * (i + 1)).clamp(0, 1)
        trimap = torch.where((ramp > 0.3) & (ramp < 0.7), 0.5, (ramp > 0.5).float())
        writing.write_matte(tmp_path / "alpha" / f"{name}.png", ramp)
        writing.write_matte(tmp_path / "pred" / f"{name}.tif", found)
        writing.write_trimap(tmp_path / "trimap" / f"{name}.png", trimap)
        writing.write_image(tmp_path / "image" / f"{name}.jpg",
                                torch.from_numpy(rng.random((32, 40, 3), dtype=np.float32)))
    return tmp_path


def run(folders, *extra):
    report = folders / "report.json"
    status = main(["evaluate", "--alpha", str(folders / "alpha"), "--json", str(report), *extra])
    return status, json.loads(report.read_text()) if report.exists() else None


def test_files_against_files(folders, capsys):
    status, report = run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "trimap"))
    assert status == 0 and report["area"] == "unknown" and list(report["pictures"]) == ["cat", "dog"]
    planes = [reading.read_mask(folders / f)[0].numpy() for f in ("pred/dog.tif", "alpha/dog.png")]
    trimap = reading.read_trimap(folders / "trimap/dog.png")[0].numpy()
    expected = errors(*planes, (trimap > 0.1) & (trimap < 0.9))
    assert report["pictures"]["dog"] == pytest.approx(vars(expected))
    assert report["mean"]["mse"] == pytest.approx((0.01 + 0.04) / 2, rel=1e-3)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["picture", "SAD", "MSE", "Grad", "Conn"] and shown[-1].startswith("median")


def test_the_whole_picture(folders):
    _, whole = run(folders, "--pred", str(folders / "pred"), "--whole")
    _, unknown = run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "trimap"))
    assert whole["area"] == "whole" and whole["mean"]["sad"] > unknown["mean"]["sad"]


def test_straight_from_a_model(folders):
    status, report = run(folders, "--model", "vitmatte-tiny", "--image", str(folders / "image"),
                         "--trimap", str(folders / "trimap"))
    assert status == 0 and 0 < report["mean"]["mse"] < 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["--pred", "pred"], "--whole"),
    (["--model", "vitmatte-tiny", "--whole"], "--image"),
    (["--pred", "nowhere", "--whole"], "no folder"),
    (["--pred", "few", "--whole"], "for 1 of 2 mattes: dog"),
    (["--pred", "other", "--whole"], "cat.png: found is (10, 10)"),
    (["--pred", "pred", "--image", "image", "--whole"], "--image is for --model"),
    (["--pred", "pred", "--whole", "--refine", "1"], "--refine is for --model"),
    (["--pred", "pred", "--whole", "--refine", "-1"], "--refine is -1.0; expected a number from 0"),
])
def test_what_is_wrong_is_named(folders, capsys, arguments, message):
    writing.write_matte(folders / "few" / "cat.png", torch.zeros(32, 40))
    for name in ("cat", "dog"):
        writing.write_matte(folders / "other" / f"{name}.png", torch.zeros(10, 10))
    folder_options = ("--pred", "--image")
    given = [str(folders / a) if i and arguments[i - 1] in folder_options else a for i, a in enumerate(arguments)]
    assert run(folders, *given) == (1, None)
    assert message in capsys.readouterr().err


def test_a_trimap_as_a_layer(folders):
    """White subject, grey unknown, transparent background: the same figures."""
    _, expected = run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "trimap"))
    (folders / "layers").mkdir()
    for path in (folders / "trimap").iterdir():
        levels = Image.open(path)
        layer = Image.merge("RGBA", (levels, levels, levels, levels.point(lambda level: 255 * (level > 0))))
        layer.save(folders / "layers" / path.name)
    (folders / "report.json").unlink()
    assert run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "layers")) == (0, expected)


def test_nothing_unknown_is_not_perfect(folders, capsys):
    """It is said, and counts for nothing; without any picture that counts there are no figures."""
    white = torch.ones(32, 40)
    writing.write_matte(folders / "pred" / "cat.tif", 1 - reading.read_mask(folders / "alpha" / "cat.png")[0])
    writing.write_trimap(folders / "trimap" / "cat.png", white)
    status, report = run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "trimap"))
    told = capsys.readouterr()
    assert status == 0 and report["pictures"]["cat"] is None
    assert report["mean"] == report["median"] == report["pictures"]["dog"]
    assert "cat.png: no unknown area" in told.err and "dog" not in told.err
    assert told.out.splitlines()[1].split() == ["cat", "no", "unknown", "area"]
    writing.write_trimap(folders / "trimap" / "dog.png", white)
    (folders / "report.json").unlink()
    assert run(folders, "--pred", str(folders / "pred"), "--trimap", str(folders / "trimap")) == (1, None)
    assert "no picture has an unknown area" in capsys.readouterr().err


def test_values_of_another_scale(folders, capsys):
    levels = np.linspace(0, 255, 40 * 32).reshape(32, 40).astype(np.uint16)
    Image.fromarray(levels).save(folders / "alpha" / "dog.png")
    assert run(folders, "--pred", str(folders / "pred"), "--whole") == (1, None)
    assert "dog.png cannot be read as a mask: its values reach from 0 to 255" in capsys.readouterr().err
