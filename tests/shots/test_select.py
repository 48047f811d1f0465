"""Which pictures of a folder are taken: recursion, patterns, frames and chunks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from vitmatte.pictures.reading import pictures_in
from vitmatte.shots.folder import jobs_of
from vitmatte.shots.select import Selection, chunk_of, parsed_chunk

NAMES = ("a.1001.png", "a.1002.jpg", "s1/b.1001.png", "s1/deep/c.0999.png", "s2/b.1001.png")


@pytest.fixture
def folder(tmp_path):
    """photos and masks with folders in them."""
    for name in NAMES:
        for kind in ("photos", "masks"):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(path.with_suffix(".png") if kind == "masks" else path)
    (tmp_path / "photos/.hidden").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "photos/.hidden/x.png")
    (tmp_path / "photos/notes.txt").write_text("no picture")
    return tmp_path


def taken(folder, **how):
    jobs, left = jobs_of(folder / "photos", folder / "masks", folder / "out", folder / "alpha",
                         selection=Selection(**how))
    return [job.name for job in jobs], left


def test_names_are_kept_with_their_folders(folder):
    jobs, left = jobs_of(folder / "photos", folder / "masks", folder / "out", folder / "alpha",
                         selection=Selection(recursive=True))
    assert [job.name for job in jobs] == list(NAMES) and left == ["notes.txt"]
    last = jobs[3]
    assert last.photo == folder / "photos/s1/deep/c.0999.png" and last.guide == folder / "masks/s1/deep/c.0999.png"
    assert last.results == [folder / "out/s1/deep/c.0999.png", folder / "alpha/s1/deep/c.0999.png"]
    assert jobs[1].output == folder / "out/a.1002.png"
    assert taken(folder) == (["a.1001.png", "a.1002.jpg"], ["notes.txt", "s1/", "s2/"])


def test_results_inside_are_not_taken_for_pictures(folder):
    """Of the run before, when results lie in a folder of the photographs' folder."""
    for name in ("out", "alpha"):
        (folder / "photos" / name).mkdir()
        Image.new("L", (4, 4)).save(folder / "photos" / name / "a.1001.png")
    jobs, left = jobs_of(folder / "photos", folder / "masks", folder / "photos/out", folder / "photos/alpha",
                         selection=Selection(recursive=True))
    assert [job.name for job in jobs] == list(NAMES) and left == ["notes.txt"]


@pytest.mark.parametrize(("how", "found"), [
    ({"patterns": ("*.png",)}, ["a.1001.png", "s1/b.1001.png", "s1/deep/c.0999.png", "s2/b.1001.png"]),
    ({"patterns": ("s1/*",)}, ["s1/b.1001.png", "s1/deep/c.0999.png"]),
    ({"patterns": ("c*", "a*.jpg")}, ["a.1002.jpg", "s1/deep/c.0999.png"]),
    ({"frames": (1001, 1001)}, ["a.1001.png", "s1/b.1001.png", "s2/b.1001.png"]),
    ({"frames": (999, 1001), "patterns": ("s1/*",)}, ["s1/b.1001.png", "s1/deep/c.0999.png"]),
    ({"chunk": (2, 2)}, ["s1/b.1001.png", "s1/deep/c.0999.png", "s2/b.1001.png"]),
    ({"chunk": (1, 2), "patterns": ("b*",)}, ["s1/b.1001.png"]),
    ({"chunk": (2, 9)}, ["a.1001.png"]),
    ({"chunk": (1, 9)}, []),
])
def test_selections(folder, how, found):
    assert taken(folder, recursive=True, **how)[0] == found


@pytest.mark.parametrize(("how", "said"), [
    ({"patterns": ("*.exr",)}, r"no picture in .*photos matches \*\.exr; there is a\.1001\.png, a\.1002\.jpg"),
    ({"frames": (5, 6)}, "frames is 5-6, and .*photos has 1001-1002"),
])
def test_what_is_not_there_is_said(folder, how, said):
    with pytest.raises(ValueError, match=said):
        taken(folder, **how)


def test_frames_need_numbers_in_names(folder):
    Image.new("L", (4, 4)).save(folder / "photos/clean plate.png")
    with pytest.raises(ValueError, match=r"have no number in their names: clean plate\.png"):
        taken(folder, frames=(1001, 1002))
    assert taken(folder, frames=(1001, 1002), patterns=("a.*",))[0] == ["a.1001.png", "a.1002.jpg"]


def test_one_name_twice_is_refused_unless_a_pattern_takes_one(folder):
    Image.new("L", (4, 4)).save(folder / "photos/s1/b.1001.tif")
    with pytest.raises(ValueError, match=r"s1/b\.1001\.png, s1/b\.1001\.tif"):
        taken(folder, recursive=True, chunk=(1, 5))
    assert len(taken(folder, recursive=True, patterns=("*.png",))[0]) == 4


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@pytest.mark.parametrize("parts", [1, 3, 40])
def test_chunks_are_disjoint_and_complete(count, parts):
    found = [list(chunk_of(count, k, parts)) for k in range(1, parts + 1)]
    assert [i for part in found for i in part] == list(range(count))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", "1.5/4"])
def test_chunks_that_are_none(text):
    with pytest.raises(ValueError, match="expected which part of how many, such as 3/40"):
        parsed_chunk(text)


def test_for_folders_only(folder):
    with pytest.raises(ValueError, match="is no folder; --recursive, --pattern, --frames and --chunk are for folders"):
        jobs_of(folder / "photos/a.1001.png", folder / "masks/a.1001.png", Path("o.png"), None,
                selection=Selection(chunk=(1, 2)))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_linked_folders_are_entered_and_circles_are_not(folder):
    (folder / "photos/s3").symlink_to(folder / "photos/s2")
    (folder / "masks/s3").symlink_to(folder / "masks/s2")
    (folder / "photos/s2/up").symlink_to(folder / "photos")
    names, left = taken(folder, recursive=True)
    assert "s3/b.1001.png" in names and len(names) == len(NAMES) + 1
    assert sorted(left) == ["notes.txt", "s2/up/", "s3/up/"]
    assert len(pictures_in(folder / "photos", deep=True)) == len(NAMES)  # of training: as it always was


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_results_are_not_what_is_given_by_another_name(folder):
    os.symlink(folder / "photos", folder / "same")
    with pytest.raises(ValueError, match="a.1001.png is among the pictures given"):
        jobs_of(folder / "photos", folder / "masks", folder / "same", None)
    (folder / "photos/a.1001.png").unlink()
    (folder / "out").mkdir()
    Image.new("L", (4, 4)).save(folder / "out/a.1001.png")
    os.symlink(folder / "out/a.1001.png", folder / "photos/a.1001.png")
    with pytest.raises(ValueError, match=r"out.a\.1001\.png is among the pictures given"):
        jobs_of(folder / "photos", folder / "masks", folder / "out", None)


@pytest.mark.parametrize(("values", "said"), [
    ({"patterns": "*1001*"}, "patterns is '\\*1001\\*'; expected a tuple"),
    ({"chunk": (0, 3)}, "chunk is \\(0, 3\\)"), ({"chunk": (5, 3)}, "chunk is"), ({"chunk": "1/2"}, "chunk is '1/2'"),
    ({"chunk": (1.5, 3)}, "chunk is"), ({"frames": 5}, "frames is 5"), ({"frames": (5, 3)}, "frames is \\(5, 3\\)"),
])
def test_what_no_selection_is(values, said):
    with pytest.raises(ValueError, match=said):
        Selection(**values)
