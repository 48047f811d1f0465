"""Clips as they are read: times, turns, ranges, pictures, and what is refused."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import RATE, SIZE, drawn_frame, write_frame_pictures, write_video
from PIL import Image

from vitmatte.pictures.exr import write_exr
from vitmatte.pictures.numbers import frame_range
from vitmatte.pictures.packages import openimageio, pyav
from vitmatte.video.colours import Colours
from vitmatte.video.source import open_clip

av = pytest.importorskip("av")
PICTURES = [drawn_frame(i)[..., :3] for i in range(6)]


@pytest.fixture
def clip_file(tmp_path):
    return write_video(tmp_path / "clip.mkv", PICTURES, layout="yuv444p", sound="flac")


def test_a_file_gives_its_frames_rate_and_sound(clip_file):
    clip = open_clip(clip_file)
    frames = list(clip.frames())
    assert (clip.size, clip.count, clip.total, list(clip.numbers)) == (SIZE, 6, 6, [1, 2, 3, 4, 5, 6])
    assert abs(clip.rate - RATE) < Fraction(1, 1000) and clip.sound is not None
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5, 6] and frames[0].time == 0
    for frame, picture in zip(frames, PICTURES, strict=True):
        assert (frame.image - picture).abs().max() < 1.75 / 255
        assert abs(frame.time - frame.position / RATE) < Fraction(1, 10_000)  # though Matroska counts milliseconds


def test_a_range_has_its_numbers_and_begins_at_zero(clip_file):
    clip = open_clip(clip_file, frames=(1003, 1004), first_number=1001)
    frames = list(clip.frames())
    assert [frame.number for frame in frames] == [1003, 1004] and clip.first == 2 and frames[0].time == 0
    assert (frames[0].image - PICTURES[2]).abs().max() < 1.75 / 255
    assert clip.sound.start == pytest.approx(2 / RATE, abs=1e-3) and clip.sound.end is not None
    assert [frame.number for frame in clip.frames(skip=1)] == [1004]
    with pytest.raises(ValueError, match=r"frames is 5-9, and .*clip.mkv has 1-6"):
        open_clip(clip_file, frames=(5, 9))


@pytest.mark.parametrize("colours", [Colours(1, False, bits=10), Colours(9, True, bits=10), Colours(6, False, bits=10)])
def test_ten_bits_matrix_and_range_are_the_files(tmp_path, colours):
    clip = open_clip(write_video(tmp_path / "c.mkv", PICTURES[:1], layout="yuv444p10le", colours=colours))
    assert (clip.colours.matrix, clip.colours.full, clip.colours.bits) == (colours.matrix, colours.full, 10)
    assert (next(clip.frames()).image - PICTURES[0]).abs().max() < 1.75 / 1023


def test_times_of_a_variable_rate_are_kept(tmp_path):
    times = [0, 40, 140, 150, 400, 440]
    clip = open_clip(write_video(tmp_path / "c.mkv", PICTURES, layout="yuv444p", times=times))
    assert [round(1000 * frame.time) for frame in clip.frames()] == times


O = 1 << 16  # noqa: E741  one, in a display matrix


@pytest.mark.parametrize(("matrix", "turned"), [
    ((O, 0, 0, O), lambda p: p), ((0, O, -O, 0), lambda p: torch.rot90(p, -1)),
    ((-O, 0, 0, -O), lambda p: torch.rot90(p, 2)), ((0, -O, O, 0), lambda p: torch.rot90(p, 1)),
    ((-O, 0, 0, O), lambda p: p.flip(1)), ((O, 0, 0, -O), lambda p: p.flip(0)),
    ((0, O, O, 0), lambda p: p.transpose(0, 1)),
])
def test_frames_stand_upright(tmp_path, matrix, turned):
    path = write_video(tmp_path / "c.mp4", PICTURES[:2], encoder="libx264")
    data = path.read_bytes()
    plain = next(open_clip(path).frames()).image
    at = data.index(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2: the matrix of the track's header
    a, b, c, d = matrix
    path.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36:])
    clip = open_clip(path)
    assert torch.equal(next(clip.frames()).image, turned(plain)) and clip.size == tuple(turned(plain).shape[:2])


def test_damage_and_other_things_are_refused(tmp_path, clip_file, caplog):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mkv").write_bytes(b"")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with av.open(str(tmp_path / "sound.mka"), "w") as container:
        track = container.add_stream("flac", rate=48000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16p", layout="mono")
        tone.sample_rate = 48000
        for packet in [*track.encode(tone), *track.encode(None)]:
            container.mux(packet)
    for name, said in (("text.mp4", "cannot be read as a video: Invalid data .*; expected a video file"),
                       ("empty.mkv", "cannot be read as a video: [^\\[]*; expected a video file"),
                       ("one.png", "is one picture; expected a video"),
                       ("none.mp4", "no clip"), ("sound.mka", "has no video in it")):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            open_clip(tmp_path / name)
    data = clip_file.read_bytes()
    clip_file.write_bytes(data[:len(data) * 2 // 3])
    with caplog.at_level(logging.WARNING):
        try:
            clip = open_clip(clip_file)
            found = list(clip.frames())
            assert len(found) < 6 and (clip.count == len(found) or "it says that it has" in caplog.text)
        except ValueError as error:
            assert str(clip_file) in str(error)


def test_a_matroska_file_that_is_cut_short_says_so(tmp_path, caplog):
    path = write_video(tmp_path / "long.mkv", [drawn_frame(i % 7)[..., :3] for i in range(60)])
    assert open_clip(path).count == 60 and not caplog.records
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 3])
    assert 5 < open_clip(path).count < 30
    assert "it says that it lasts 2." in caplog.text and "it may be cut short" in caplog.text


def test_without_pyav_the_error_says_how_to_get_it(clip_file, monkeypatch):
    pyav.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(RuntimeError, match=r"pip install \"vitmatte\[video\]\""):
        open_clip(clip_file)
    monkeypatch.undo()
    pyav.cache_clear()


def test_pictures_are_a_clip_by_their_numbers(tmp_path, caplog):
    folder = write_frame_pictures(tmp_path / "shot", 4)
    for path in (folder, folder / "shot.####.png", folder / "shot.%04d.png"):
        clip = open_clip(path, frames=(1002, 1003), rate=Fraction(25))
        frames = list(clip.frames())
        assert [(f.number, f.position, f.name) for f in frames] == [(1002, 1, "shot.1002"), (1003, 2, "shot.1003")]
        assert [f.time for f in frames] == [0, Fraction(1, 25)] and (clip.count, clip.total) == (2, 4)
        assert (frames[0].image - drawn_frame(1)[..., :3]).abs().max() < 0.51 / 255
    (folder / "shot.1002.png").unlink()
    open_clip(folder)
    assert "there is no frame 1002" in caplog.text
    Image.new("RGB", (9, 9)).save(folder / "shot.1009.png")
    with pytest.raises(ValueError, match=r"shot.1009.png is 9x9 and .*shot.1001.png 64x48"):
        open_clip(folder)
    with pytest.raises(FileNotFoundError, match="no pictures that match .*####"):
        open_clip(Path(tmp_path / "shot" / "other.####.png"))


def test_what_a_clip_has_of_its_own_is_not_given(tmp_path, clip_file):
    folder = write_frame_pictures(tmp_path / "shot", 2)
    with pytest.raises(ValueError, match="a video has its own rate"):
        open_clip(clip_file, rate=Fraction(25))
    with pytest.raises(ValueError, match="--first-number is for video files"):
        open_clip(folder, first_number=1)


@pytest.mark.parametrize(("text", "found"), [("1001-1100", (1001, 1100)), (" 7 ", (7, 7)), ("3 - 4", (3, 4))])
def test_ranges_are_read(text, found):
    assert frame_range(text) == found


@pytest.mark.parametrize("text", ["", "x", "5-4", "1-2-3", "-3", "1.5"])
def test_other_ranges_are_refused(text):
    with pytest.raises(ValueError, match="frames is"):
        frame_range(text)


def test_pictures_of_light(tmp_path, caplog):
    """OpenEXR frames come with sRGB's transfer; what is beyond white is clipped, and said of the clip."""
    if openimageio() is None:
        pytest.skip("no OpenImageIO")
    frame = torch.rand(12, 16, 3)
    for number in (1, 2):
        write_exr(tmp_path / f"p.{number:04}.exr", frame)
    clip = open_clip(tmp_path / "p.####.exr")
    assert clip.size == (12, 16) and clip.count == 2
    for found in clip.frames():
        assert (found.image - frame).abs().max() < 1e-3
    assert not caplog.text
    write_exr(tmp_path / "p.0002.exr", frame + 1)
    assert [found.image.max() for found in clip.frames()][1] == 1
    assert f"{tmp_path / 'p.####.exr'}: its light is darker than black or brighter than white" in caplog.text
