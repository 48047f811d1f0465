"""The command line: what it writes, says and returns."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from commands import run
from diffmatte_nets import random_diffmatte
from mematte import mematte_names, random_mematte
from paths import PORTRAIT, ROOT
from paths import PORTRAIT_MASK as MASK
from PIL import Image

from vitmatte import make_trimap, refine_matte
from vitmatte.pictures.reading import read_image, read_mask


@pytest.fixture
def photos(tmp_path):
    """A folder of three small photographs and one of their masks."""
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    portrait, mask = Image.open(PORTRAIT), Image.open(MASK)
    for i, name in enumerate(("a", "b", "c with spaces")):
        box = (380 + 20 * i, 20, 540 + 20 * i, 120)
        portrait.crop(box).save(tmp_path / "photos" / f"{name}.jpg")
        mask.crop(box).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "photos" / "notes.txt").write_text("not a picture")
    return tmp_path


def test_cutout_of_one_photograph(photos, capsys):
    out, alpha = photos / "out" / "a.png", photos / "out" / "alpha.png"
    assert run("cutout", photos / "photos/a.jpg", "--mask", photos / "masks/a.png", "-o", out, "--alpha", alpha,
               "--inner", 6, "--outer", 8) == 0
    assert capsys.readouterr().out.splitlines() == [str(out), str(alpha)]
    cutout, matte = np.array(Image.open(out)), np.array(Image.open(alpha))
    assert cutout.shape == (100, 160, 4) and matte.shape == (100, 160)
    assert matte.dtype in (np.uint16, np.int32)  # the second with Pillow 10
    photograph = np.array(Image.open(photos / "photos/a.jpg"))
    assert (cutout[..., :3] == photograph)[matte == 65535].all() and (cutout[..., :3] != photograph)[matte < 6e4].any()
    assert abs(cutout[..., 3] / 255 - matte / 65535).max() < 0.51 / 255
    assert len(np.unique(matte)) > 1000  # not 256: no 8-bit step


def test_trimap_then_cutout_equals_mask_then_cutout(photos):
    photo, mask = photos / "photos/a.jpg", photos / "masks/a.png"
    assert run("trimap", mask, "-o", photos / "t.png", "--inner", 5, "--outer", 7.5) == 0
    assert sorted(np.unique(np.array(Image.open(photos / "t.png")))) == [0, 128, 255]
    assert run("cutout", photo, "--trimap", photos / "t.png", "-o", photos / "1.png") == 0
    assert run("cutout", photo, "--mask", mask, "-o", photos / "2.png", "--inner", 5, "--outer", 7.5) == 0
    assert (np.array(Image.open(photos / "1.png")) == np.array(Image.open(photos / "2.png"))).all()


def test_refine(photos):
    photo, mask = photos / "photos/a.jpg", photos / "masks/a.png"
    for name, options in {"own": [], "plain": ["--refine", 0], "one": ["--refine", 1]}.items():
        assert run("cutout", photo, "--mask", mask, "-o", photos / "o.png", "--alpha", photos / f"{name}.png",
                   *options) == 0
    own, plain, one = (read_mask(photos / f"{name}.png") for name in ("own", "plain", "one"))
    assert own.equal(one)  # what the bundled model was made for
    expected = refine_matte(read_image(photo), plain, make_trimap(read_mask(mask)))
    assert not one.equal(plain) and (one - expected).abs().max() < 0.01


def test_folders(photos, capsys):
    assert run("cutout", photos / "photos", "--mask", photos / "masks", "-o", photos / "out", "--alpha",
               photos / "alphas") == 0
    for folder in ("out", "alphas"):
        assert sorted(p.name for p in (photos / folder).iterdir()) == ["a.png", "b.png", "c with spaces.png"]
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert run("trimap", photos / "masks", "-o", photos / "trimaps") == 0
    assert len(list((photos / "trimaps").iterdir())) == 3


def test_backgrounds(photos):
    photo, mask = photos / "photos/a.jpg", photos / "masks/a.png"
    assert run("cutout", photo, "--mask", mask, "-o", photos / "green.png", "--background", "#00ff00") == 0
    green = np.array(Image.open(photos / "green.png"))
    assert green.shape == (100, 160, 3) and (green[0, -1] == [0, 255, 0]).all()
    assert run("cutout", photo, "--mask", mask, "-o", photos / "lime.png", "--background", "lime") == 0
    assert (np.array(Image.open(photos / "lime.png")) == green).all()
    assert run("cutout", photo, "--mask", mask, "-o", photos / "over.jpg", "--background", PORTRAIT) == 0
    assert Image.open(photos / "over.jpg").size == (160, 100)


def test_colours_and_ways_of_compositing(photos):
    photo, mask = photos / "photos/a.jpg", photos / "masks/a.png"
    found = {}
    for name, options in {"estimated": [], "picture": ["--colours", "picture"], "linear": ["--linear"],
                          "tile": ["--fit", "tile"], "despill": ["--despill", "green"]}.items():
        assert run("cutout", photo, "--mask", mask, "-o", photos / "o.png", "--background", photos / "photos/b.jpg",
                   *options) == 0
        found[name] = np.array(Image.open(photos / "o.png")).tobytes()
    assert len(set(found.values())) >= 4  # one size: tiling is no scaling
    assert run("cutout", photo, "--mask", mask, "-o", photos / "c.png", "--colours", "picture") == 0
    assert (np.array(Image.open(photos / "c.png"))[..., :3] == np.array(Image.open(photo))).all()


def test_trimap_options(photos, capsys, caplog):
    mask, out = photos / "masks/a.png", photos / "t.png"
    white = photos / "white.png"
    Image.new("L", (160, 100), 255).save(white)
    assert run("trimap", mask, "-o", out, "--mark-unknown", white) == 0
    assert (np.array(Image.open(out)) == 128).all() and "no foreground" in caplog.text
    assert run("trimap", mask, "-o", out, "--strands", 5) == 1 and "give --photo" in capsys.readouterr().err
    assert run("trimap", photos / "masks", "-o", photos / "t", "--strands", 5, "--photo", photos / "photos", "--unit",
               "percent", "--fill-holes", 9, "--remove-specks", 9, "--mark-unknown", photos / "masks") == 0
    assert len(list((photos / "t").iterdir())) == 3
    assert run("trimap", mask, "-o", out, "--low", 0.9, "--high", 0.1) == 1
    assert "vitmatte: low is 0.9 and high 0.1" in capsys.readouterr().err


def test_one_failure_does_not_stop_the_others(photos, capsys):
    Image.new("L", (3, 3)).save(photos / "masks/b.png")
    assert run("cutout", photos / "photos", "--mask", photos / "masks", "-o", photos / "out") == 1
    assert sorted(p.name for p in (photos / "out").iterdir()) == ["a.png", "c with spaces.png"]
    told = capsys.readouterr().err
    assert "b.jpg with" in told and "the photograph is 160x100 and the mask 3x3" in told
    assert "1 of 3 pictures failed" in told


def test_warnings_name_their_file(photos, capsys):
    """Of a folder's run, in each command; what has none is not named."""
    Image.new("L", (160, 100), 0).save(photos / "masks/b.png")
    mask = np.array(Image.open(photos / "masks/a.png"))
    Image.fromarray(mask // 2).save(photos / "masks/c with spaces.png")
    assert run("trimap", photos / "masks", "-o", photos / "t") == 0
    told = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"warning: {photos / 'masks'}") for line in told)
    assert any("b.png: trimap: no foreground" in line for line in told)
    assert any("c with spaces.png: nothing in it is white: its values reach from 0 to 0.498" in line for line in told)
    assert not any("a.png" in line for line in told)
    Image.new("L", (160, 100), 255).save(photos / "t/b.png")
    assert run("cutout", photos / "photos", "--trimap", photos / "t", "-o", photos / "out") == 0
    told = capsys.readouterr().err.splitlines()
    warned = [line for line in told if line.startswith("warning")]
    assert len(warned) == 1 and warned[0].startswith(f"warning: {photos / 't/b.png'}: no unknown area")


@pytest.mark.parametrize(("command", "option", "levels", "said"), [
    ("cutout", "--mask", 1, "a mask: its values reach from 0 to 1"),
    ("cutout", "--trimap", 2, "a trimap: its values reach from 0 to 2"),
    ("trimap", None, 1, "a mask: its values reach from 0 to 1"),
])
def test_labels_are_refused(photos, capsys, command, option, levels, said):
    path = photos / "masks/a.png"
    Image.fromarray(np.array(Image.open(path)) // (255 // levels)).save(path)
    given = [photos / "photos/a.jpg", option, path] if option else [path]
    assert run(command, *given, "-o", photos / "o.png") == 1
    assert f"{path} cannot be read as {said}" in capsys.readouterr().err and not (photos / "o.png").exists()


def test_models(tmp_path, capsys):
    assert run("models", "--models-folder", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("vitmatte-tiny") and "bundled" in lines[0] and "small" in lines[0]
    assert sum("downloadable" in line and "non-commercial" in line for line in lines) == 2


def test_a_mematte_is_a_model_by_its_path(photos, capsys):
    photo, mask, net = photos / "photos/a.jpg", photos / "masks/a.png", photos / "MEMatte.pth"
    torch.save({"model": mematte_names(random_mematte().state_dict())}, net)
    given = ["cutout", photo, "--mask", mask, "-o", photos / "o.png", "--model", net]
    assert run(*given) == 0 and np.array(Image.open(photos / "o.png")).shape == (100, 160, 4)
    assert run(*given, "--strategy", "local") == 1
    assert "this net is a MEMatte" in capsys.readouterr().err
    assert run("models", "--models-folder", photos) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("MEMatte"))
    assert "your own file" in line and "non-commercial" in line


@pytest.mark.parametrize(("arguments", "status", "said"), [
    (["cutout", "nothing.jpg", "--mask", "m.png", "-o", "o.png"], 1, "no picture nothing.jpg"),
    (["cutout", PORTRAIT, "--mask", "nothing.png", "-o", "o.png"], 1, "no picture nothing.png"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.jpg"], 1, "has no transparency"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--background", "greenish"], 1,
     "no picture greenish, for the background; as a colour:"),
    (["cutout", f"{PORTRAIT}e", "--mask", "m.png", "-o", "o.png"], 1, f"; there is {os.path.basename(PORTRAIT)}"),
    (["cutout", "none/p.jpg", "--mask", "m.png", "-o", "o.png"], 1, "no picture none/p.jpg: there is no folder"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--background", "#12"], 1, "expected #RRGGBB"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--strategy", "exact", "--reach", "6"], 1,
     "are for strategy 'local'"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--memory-limit", "1"], 1, "--memory-limit is 1 MB"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--refine", "-1"], 1, "--refine is -1.0; expected"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--refine", "strong"], 2, "invalid float"),
    (["--version"], 0, ""),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--model", "huge"], 1, "no model 'huge'"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--device", "abacus"], 1, "device 'abacus'"),
    (["cutout", PORTRAIT, "--mask", MASK, "-o", "o.png", "--inner", "-3"], 1, "inner is -3"),
    (["cutout", PORTRAIT.parent, "--mask", "nowhere", "-o", "out"], 1, "no folder nowhere"),
    (["cutout", PORTRAIT, "-o", "o.png"], 2, "--mask"),
    (["cutout", PORTRAIT, "--mask", MASK, "--trimap", MASK, "-o", "o.png"], 2, "not allowed with"),
    (["download", "huge"], 2, "invalid choice"),
    ([], 2, "required"),
])
def test_errors_and_exit_statuses(tmp_path, monkeypatch, capsys, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == status
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_folder_mistakes_are_found_before_work(photos, capsys):
    (photos / "masks/b.png").unlink()
    assert run("cutout", photos / "photos", "--mask", photos / "masks", "-o", photos / "out") == 1
    assert "1 of 3 pictures" in capsys.readouterr().err and not (photos / "out").exists()
    assert run("cutout", photos / "photos", "--mask", MASK, "-o", photos / "out") == 1
    assert "give folders for all" in capsys.readouterr().err


def test_a_diffmatte_file(photos):
    torch.save({"model": random_diffmatte().state_dict()}, photos / "diffmatte.pth")
    photo, mask = photos / "photos/a.jpg", photos / "masks/a.png"
    for name in ("1.png", "2.png"):
        assert run("cutout", photo, "--mask", mask, "-o", photos / "o.png", "--alpha", photos / name, "--inner", 6,
                   "--outer", 8, "--model", photos / "diffmatte.pth") == 0
    first, again = (np.array(Image.open(photos / name)) for name in ("1.png", "2.png"))
    assert (first == again).all() and len(np.unique(first)) > 500


def test_a_diffmatte_is_not_exported(photos, capsys):
    torch.save({"model": random_diffmatte().state_dict()}, photos / "diffmatte.pth")
    assert run("export", "--model", photos / "diffmatte.pth", "-o", photos / "net.onnx") == 1
    assert "the net is a DiffMatte" in capsys.readouterr().err and not (photos / "net.onnx").exists()


def test_as_a_module(photos):
    done = subprocess.run([sys.executable, "-m", "vitmatte", "models"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "vitmatte-tiny" in done.stdout


def test_interruption_has_its_own_status(photos, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vitmatte.shots.cutout.matte", interrupted)
    assert run("cutout", photos / "photos/a.jpg", "--mask", photos / "masks/a.png", "-o", photos / "o.png") == 130
    assert "interrupted" in capsys.readouterr().err and not (photos / "o.png").exists()


def test_results_among_the_pictures_are_refused_before_any_work(photos, capsys):
    """a.png beside a.jpg would be two pictures of one name in the next run."""
    for words in (["-o", photos / "photos"], ["-o", photos / "out", "--alpha", photos / "photos"]):
        assert run("cutout", photos / "photos", "--mask", photos / "masks", *words) == 1
        assert "photos is a folder of the pictures given" in capsys.readouterr().err
    assert not (photos / "out").exists() and not list((photos / "photos").glob("*.png"))
