"""Folders on the command line: parts, records, faults among many, and the same bytes however they are done."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import run
from nets import random_net, small_config
from PIL import Image

from vitmatte.scale import Cutout, MaskOptions, Pool, Selection, run_folder
from vitmatte.weights.save import save_net

COUNT = 7


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures in two folders, masks and a small model; the folder is the current one."""
    save_net(random_net(small_config()), tmp_path / "model")
    random = np.random.default_rng(0)
    for i in range(COUNT):
        for kind in ("photos", "masks"):
            path = tmp_path / kind / f"s{i % 2}" / f"f.{1001 + i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (40 + 8 * (i % 2), 48, 3), dtype=np.uint8)
            if kind == "masks":
                pixels = np.zeros(pixels.shape[:2], np.uint8)
                pixels[10:30, 12 + i:30] = 255
            Image.fromarray(pixels).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cutout(out, *more, status=0):
    assert run("cutout", "photos", "--mask", "masks", "--recursive", "-o", f"{out}/cut", "--alpha", f"{out}/alpha",
               "--model", "model", "--inner", 2, "--outer", 2, *more) == status


def content(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*.png")}


def lines(record, name="manifest.jsonl"):
    return [json.loads(line) for line in (Path(record) / name).read_text().splitlines()]


def test_the_same_bytes_in_turn_overlapped_in_parts_alone_and_from_python(folder):
    cutout("turn", "--threads", 0)
    expected = content("turn")
    assert len(expected) == 2 * COUNT and "cut/s1/f.1002.png" in expected
    cutout("overlapped", "--threads", 2)
    for k in (3, 1, 2):
        cutout("parts", "--chunk", f"{k}/3", "--manifest", "record")
    for path in sorted(Path("photos").rglob("*.png")):
        name = path.relative_to("photos")
        assert run("cutout", path, "--mask", "masks" / name, "-o", "alone/cut" / name, "--alpha", "alone/alpha" / name,
                   "--model", "model", "--inner", 2, "--outer", 2) == 0
    heard = []
    task = Cutout(model="model", mask=MaskOptions(inner=2, outer=2))
    done = run_folder("photos", task, masks="masks", output="python/cut", alpha="python/alpha",
                      selection=Selection(recursive=True), manifest="record2", on_outcome=heard.append)
    assert (done.done, done.failed, done.there, len(heard)) == (COUNT, 0, 0, COUNT) and 0 < done.net_share < 1
    for way in ("overlapped", "parts", "alone", "python"):
        assert content(way) == expected, way
    files = [said["file"] for k in (1, 2, 3) for said in lines("record", f"manifest-{k}-of-3.jsonl") if "file" in said]
    assert sorted(files) == sorted({*files}) and len(files) == COUNT
    # Python and command line know each other's record.
    assert lines("record2")[0]["run"] == lines("record", "manifest-1-of-3.jsonl")[0]["run"]


def test_a_corrupt_picture_among_them(folder, capsys):
    path = folder / "photos/s0/f.1003.png"
    path.write_bytes(path.read_bytes()[:200])
    cutout("out", "--manifest", "record", status=1)
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2 * COUNT - 2 and "1 of 7 pictures failed" in output.err
    failed = (folder / "record/failed.csv").read_text().splitlines()
    assert len(failed) == 2 and failed[1].startswith("s0/f.1003.png,") and "cannot be read as a picture" in failed[1]
    last = lines("record")[-1]
    assert (last["done"], last["failed"]) == (COUNT - 1, 1)
    Image.new("RGB", (48, 40)).save(path)
    cutout("out", "--manifest", "record", "--skip-existing")
    output = capsys.readouterr()
    assert output.out.splitlines() == [str(Path("out/cut/s0/f.1003.png")), str(Path("out/alpha/s0/f.1003.png"))]
    assert (folder / "record/failed.csv").read_text().splitlines() == ["file,error"]


def test_a_full_disk_ends_the_run(folder, capsys, monkeypatch):
    real, calls = Path.write_bytes, []

    def write(self, content):
        calls.append(self)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    cutout("out", "--manifest", "record", status=1)
    told = capsys.readouterr().err
    assert "could not be written: No space left on device; expected room on the disk" in told
    assert "; the run ends here, since the others would fail alike" in told
    assert "stopped after 2 of 7 pictures; --skip-existing goes on with the rest" in told and "failed" not in told
    assert not list(folder.rglob(".writing-*"))
    assert "No space left on device" in lines("record")[-1]["ended"]
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    cutout("out", "--manifest", "record", "--skip-existing")
    assert len(content("out")) == 2 * COUNT and "2 of 7 pictures are done already" in capsys.readouterr().err


def test_other_options_are_made_again_and_said(folder, capsys):
    cutout("out", "--manifest", "record")
    before = content("out")
    for same in ([], ["--refine", 0], ["--strategy", "exact"], ["--compression", "fast"]):
        cutout("out", "--manifest", "record", "--skip-existing", *same)
        assert "7 of 7 pictures are done already" in capsys.readouterr().err
    cutout("out", "--manifest", "record", "--skip-existing", "--refine", 1)
    assert ("7 of 7 pictures were made with other options and are made again: refine was 0.0 and is 1.0"
            in capsys.readouterr().err)
    assert content("out") != before
    cutout("out", "--skip-existing", "--refine", 0)  # without a record nobody looks
    assert "7 of 7 pictures are done already" in capsys.readouterr().err


def test_empty_results_and_those_of_other_masks_are_made_again(folder, capsys):
    cutout("out", "--manifest", "record")
    before = content("out")
    Path("out", next(iter(before))).write_bytes(b"")  # not by this program, which writes whole files
    cutout("out", "--manifest", "record", "--skip-existing")
    assert content("out") == before and "6 of 7 pictures are done already" in capsys.readouterr().err
    shutil.copytree("masks", "others")
    assert run("cutout", "photos", "--mask", "others", "--recursive", "-o", "out/cut", "--alpha", "out/alpha",
               "--model", "model", "--inner", 2, "--outer", 2, "--manifest", "record", "--skip-existing") == 0
    assert (f"7 of 7 pictures were made with other options and are made again: guides was {folder / 'masks'} and is "
            f"{folder / 'others'}") in capsys.readouterr().err


def test_what_the_record_does_not_know_is_left_and_noted(folder, capsys):
    cutout("out")
    cutout("out", "--manifest", "record", "--skip-existing")
    assert "7 results are there and not in the manifest; they are left as they are" in capsys.readouterr().err
    assert {said["state"] for said in lines("record") if "file" in said} == {"skipped"}
    cutout("out", "--manifest", "record", "--skip-existing")
    assert "not in the manifest" not in capsys.readouterr().err
    # And the same lines from Python, where the run ends as well.
    task = Cutout(model="model", mask=MaskOptions(inner=2, outer=2))
    done = run_folder("photos", task, masks="masks", output="out/cut", alpha="out/alpha", skip_existing=True,
                      selection=Selection(recursive=True), manifest="record2")
    assert (done.done, done.there) == (0, 7)
    python, here = [[{k: v for k, v in said.items() if k != "at"} for said in lines(name)[:9]]
                    for name in ("record2", "record")]
    assert python == here


def test_frames_and_patterns(folder, capsys):
    cutout("out", "--frames", "1002-1005", "--pattern", "s1/*")
    assert sorted(content("out/cut")) == ["s1/f.1002.png", "s1/f.1004.png"]
    assert run("trimap", "masks", "-o", "t", "--recursive", "--chunk", "1/2") == 0
    assert len(content("t")) == COUNT // 2
    cutout("none", "--chunk", "1/40")
    assert "chunk 1/40 has none of the pictures" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [
    (["--chunk", "9/3"], "chunk is '9/3'; expected which part of how many"),
    (["--frames", "b"], "frames is 'b'; expected first and last"),
    (["--threads", "-1"], "--threads is -1; expected 0 or more"),
    (["--workers", "2"], "--workers is for --engine ray"),
    (["--gpus-per-worker", "2"], "--gpus-per-worker is for --engine ray"),
    (["--engine", "ray", "--workers", "0"], "workers is 0; expected 1 or more"),
    (["--manifest", "model/config.json"], "manifest is model/config.json, a file; expected a folder"),
])
def test_refused_before_work(folder, capsys, words, said):
    cutout("out", *words, status=1)
    assert said in capsys.readouterr().err and not (folder / "out").exists()


def test_from_python_what_does_not_fit_is_refused(folder):
    with pytest.raises(ValueError, match="give either masks or trimaps"):
        run_folder("photos", Cutout(), output="out")
    with pytest.raises(FileNotFoundError, match="no folder nothing"):
        run_folder("nothing", Cutout(), masks="masks", output="out")
    with pytest.raises(ValueError, match="workers is -1"):
        Pool(workers=-1)
    for values, said in (({"colours": "x"}, "colours is 'x'"), ({"despill": "red"}, "despill is 'red'"),
                         ({"refine": -3}, "refine is -3"), ({"precision": "fp8"}, "precision is 'fp8'"),
                         ({"memory_limit": -1}, "memory_limit is -1")):
        with pytest.raises(ValueError, match=said):
            run_folder("photos", Cutout(**values), masks="masks", output="out", selection=Selection(recursive=True))
    for how, said in (({"threads": -1}, "threads is -1"), ({"format": "gif"}, "format is '.gif'")):
        with pytest.raises(ValueError, match=said):
            run_folder("photos", Cutout(), masks="masks", output="out", **how)
    assert not Path("out").exists()
