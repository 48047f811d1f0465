"""The record of runs, and going on from it."""

from __future__ import annotations

import csv
import json

import pytest
from nets import random_net, small_config

from vitmatte.scale import Cutout
from vitmatte.shots.jobs import Files, Jobs
from vitmatte.shots.left import what_is_left
from vitmatte.shots.outcome import Outcome
from vitmatte.shots.record import Record, fingerprint, read_past
from vitmatte.shots.trimap import MaskOptions, Trimap
from vitmatte.weights.released import BUNDLED_FOLDER
from vitmatte.weights.save import save_net

OLD, NEW = {"refine": 0.0}, {"refine": 1.0}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_kept(tmp_path):
    with Record(tmp_path / "r", OLD, about={"pictures": 3}) as record:
        record.add(Outcome("a.png", "done", 1.5, 1.25, 0.125, ("a warning",), results=("out/a.png",)))
        record.add(Outcome("b.png", "failed", 0.5, error='b.png, "broken"\nverily'))
        record.add(Outcome("c.png", "skipped", results=("out/c.png",)))
    first, *said, last = lines(tmp_path / "r/manifest.jsonl")
    assert first["options"] == OLD and first["run"] == fingerprint(OLD) and first["about"] == {"pictures": 3}
    assert said[0] == {"file": "a.png", "state": "done", "seconds": 1.5, "net_seconds": 1.25, "unknown": 0.125,
                       "warnings": ["a warning"], "results": ["out/a.png"]}
    assert said[1]["error"] == 'b.png, "broken"\nverily'
    assert (last["ended"], last["done"], last["failed"], last["skipped"]) == ("done", 1, 1, 1)
    with (tmp_path / "r/failed.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "error"], ["b.png", 'b.png, "broken"\nverily']]
    assert read_past(tmp_path / "r").made == {"a.png": fingerprint(OLD), "c.png": None}


def test_parts_have_their_own_and_are_read_together(tmp_path):
    for k in (1, 2):
        with Record(tmp_path, OLD, chunk=(k, 2)) as record:
            record.add(Outcome(f"{k}.png", "done"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "failed-1-of-2.csv", "failed-2-of-2.csv", "manifest-1-of-2.jsonl", "manifest-2-of-2.jsonl"]
    assert set(read_past(tmp_path).made) == {"1.png", "2.png"}


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_a_line_that_was_cut_is_passed_over(tmp_path, cut):
    record = Record(tmp_path, OLD)
    record.add(Outcome("a.png", "done"))
    record.add(Outcome("b.png", "done"))
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    past = read_past(tmp_path)
    assert set(past.made) == ({"a.png", "b.png"} if cut == 1 else {"a.png"}) and past.torn == (cut > 1)
    with Record(tmp_path, OLD) as record:
        record.add(Outcome("c.png", "done"))
    assert {"a.png", "c.png"} <= set(read_past(tmp_path).made) and read_past(tmp_path).torn == (cut > 1)


def test_how_it_ended_is_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), Record(tmp_path, OLD) as record:
        record.add(Outcome("b.png", "failed", error="no"))
        raise KeyboardInterrupt
    assert lines(tmp_path / "manifest.jsonl")[-1]["ended"].startswith("KeyboardInterrupt")
    assert "b.png" in (tmp_path / "failed.csv").read_text()


def folder(tmp_path, count=4):
    names = [f"{i}.png" for i in range(count)]
    (tmp_path / "out").mkdir()
    photos, out = (Files(str(tmp_path / name), names) for name in ("photos", "out"))
    return Jobs(names, photos, photos, out, None)


def test_what_is_left(tmp_path):
    jobs = folder(tmp_path)
    for i in (0, 1, 2):
        (tmp_path / f"out/{i}.png").write_bytes(b"there")
    assert list(what_is_left(jobs, None, NEW).jobs.names) == ["3.png"]  # without a record only files count
    with Record(tmp_path / "r", OLD) as record:
        record.add(Outcome("0.png", "done"))
        record.add(Outcome("3.png", "done"))  # and removed since
    with Record(tmp_path / "r", NEW) as record:
        record.add(Outcome("1.png", "done"))
    left = what_is_left(jobs, read_past(tmp_path / "r"), NEW)
    assert left.jobs.names == ["0.png", "3.png"] and left.there == 2
    assert [outcome.file for outcome in left.unrecorded] == ["2.png"]
    assert left.said == ["1 of 4 pictures were made with other options and are made again: refine was 0.0 and is 1.0",
                         "1 results are there and not in the manifest; they are left as they are, however they were "
                         "made"]


@pytest.mark.parametrize(("given", "suffix", "alike"), [
    ({"refine": 1.0}, ".png", True),
    ({"refine": 1}, None, True),
    ({"refine": 0.0}, ".png", False),
    ({"strategy": "local"}, ".png", True),  # the bundled net is made for it
    ({"strategy": "grid"}, ".png", True),  # which is local for it
    ({"strategy": "exact"}, ".png", False),
    ({"reach": 16}, ".png", False),  # for all frames, and does not follow the unknown area
    ({"compression": "fast"}, ".png", True),
    ({"compression": "fast"}, None, True),
    ({"compression": "none"}, ".png", False),
    ({"compression": "none"}, ".tif", True),
    ({"compression": "zip"}, None, True),
    ({"premultiplied": True}, ".exr", True),
    ({"premultiplied": True}, None, True),
    ({"premultiplied": False}, ".exr", False),
    ({"premultiplied": False}, ".tif", True),
    ({"premultiplied": True}, ".tif", False),
    ({"bits": 8}, ".png", False),  # without a word as many as each photograph's
], ids=str)
def test_a_default_that_is_given_is_no_other_option(given, suffix, alike):
    now, before = Cutout(**given).options(suffix), Cutout().options(suffix)
    assert (fingerprint(now) == fingerprint(before)) == alike, (now, before)


def test_a_model_decides_what_its_defaults_are(tmp_path):
    """By its config.json, or where there is none by its tensors."""
    save_net(random_net(small_config()), tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    said = Cutout(model=str(tmp_path / "model")).options(".png")
    assert (said["refine"], said["strategy"], said["reach"]) == (0.0, "exact", None)
    alone = tmp_path / "alone.safetensors"
    path.rename(alone)
    for given in ({"refine": 0.0}, {"strategy": "exact"}):
        assert Cutout(model=str(alone), **given).options(".png") == Cutout(model=str(alone)).options(".png")
    half = Cutout(model=str(alone), strategy="local").options(".png")
    assert Cutout(model=str(alone), strategy="local", reach=half["reach"]).options(".png") == half
    assert Cutout(model="hustvl/vitmatte-small-composition-1k").options(".png")["refine"] == 0.0
    own = Cutout(model=str(BUNDLED_FOLDER)).options(".png")
    assert (own["refine"], own["strategy"], own["reach"]) == (1.0, "local", None)


def test_a_trimaps_compression_that_is_the_usual_one():
    said = [Trimap(MaskOptions(), one).options(".png") for one in (None, "fast", "none")]
    assert said[0] == said[1] != said[2]
