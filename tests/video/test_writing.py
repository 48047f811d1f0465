"""Files of clips, read back: alpha, colours, times, sound; whole or absent."""

from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pytest
import torch
from clips import RATE, SIZE, DrawnClip, drawn_frame, heard, seen, write_video
from PIL import Image

from vitmatte.pictures.packages import check_encoder
from vitmatte.video import encode
from vitmatte.video.colours import Colours
from vitmatte.video.file import VideoFile
from vitmatte.video.tensors import TensorClip
from vitmatte.video.write import Target, is_done, writers

av = pytest.importorskip("av")
COUNT = 6


def written(path, clip, *, kind="cutout", channels=4, **how):
    """A target with drawn pictures of so many channels; gives them back."""
    target = Target(path, kind, channels, **how)
    target.check(clip)
    pictures = []
    with writers([target], clip) as (writer,):
        for frame in clip.frames():
            whole = drawn_frame(frame.position, clip.size)
            pictures.append(whole[..., 3] if channels == 1 else whole[..., :channels])
            writer.write(frame, pictures[-1])
    return torch.stack(pictures).numpy()


def test_ffv1_keeps_sixteen_bits(tmp_path):
    want = written(tmp_path / "c.mkv", DrawnClip())
    assert np.abs(np.stack(seen(tmp_path / "c.mkv", "gbrap16le")) / 65535 - want).max() < 0.51 / 65535
    want = written(tmp_path / "m.mkv", DrawnClip(), kind="matte", channels=1)
    assert np.abs(np.stack(seen(tmp_path / "m.mkv", "gray16le")) / 65535 - want).max() < 0.51 / 65535


def test_prores_has_alpha_exact_where_it_is_known(tmp_path):
    want = written(tmp_path / "c.mov", DrawnClip())
    video = VideoFile(tmp_path / "c.mov")
    assert video.has_alpha and video.colours.matrix == 1 and video.rate == RATE and video.count == COUNT
    alpha = np.stack([frame.image.numpy() for frame in video.greys()])
    assert np.abs(alpha - want[..., 3]).max() < 1.5 / 1023
    known = (want[..., 3] == 0) | (want[..., 3] == 1)
    assert (alpha[known] == want[..., 3][known]).all()
    colours = np.stack([frame.image.numpy() for frame in video.frames()])
    assert np.abs(colours - want[..., :3]).mean() < 0.002 and [f.time for f in video.frames()] == [
        i / RATE for i in range(COUNT)]


def test_vp9_has_alpha(tmp_path):
    want = written(tmp_path / "c.webm", DrawnClip())
    found = np.stack(seen(tmp_path / "c.webm", "rgba", "libvpx-vp9")) / 255
    assert np.abs(found[..., 3] - want[..., 3]).mean() < 0.01 and np.abs(found[..., 3] - want[..., 3]).max() < 0.15
    assert np.abs(found - want)[..., :3].mean() < 0.02
    with av.open(str(tmp_path / "c.webm")) as container:
        assert container.streams.video[0].metadata.get("alpha_mode", "").strip("0") == "1"
    read = np.stack([frame.image.numpy() for frame in VideoFile(tmp_path / "c.webm").greys()])
    assert np.abs(read - found[..., 3]).max() < 1e-6  # FFmpeg's own decoder leaves alpha out


def test_h264_has_none_and_says_so(tmp_path):
    want = written(tmp_path / "c.mp4", DrawnClip(), channels=3)
    assert np.abs(np.stack(seen(tmp_path / "c.mp4", "rgb24")) / 255 - want).mean() < 0.02
    with pytest.raises(ValueError, match=r"c.mp4: .mp4 has no transparency; write .mov"):
        Target(tmp_path / "c.mp4", "cutout", 4).check(DrawnClip())
    clip = DrawnClip()
    clip.size = 48, 63
    with pytest.raises(ValueError, match="63x48, and .mp4 .* even sides"):
        Target(tmp_path / "c.mp4", "cutout", 3).check(clip)
    written(tmp_path / "odd.mov", clip)


def test_matrix_primaries_and_times_are_the_clips(tmp_path):
    times = [0, 40, 140, 150, 400, 440]
    pictures = [drawn_frame(i)[..., :3] for i in range(COUNT)]
    source = write_video(tmp_path / "s.mkv", pictures, layout="yuv444p10le", colours=Colours(9, False, bits=10),
                         times=times)
    clip = VideoFile(source)
    for suffix in (".mov", ".mkv"):
        written(tmp_path / f"c{suffix}", clip)
        made = VideoFile(tmp_path / f"c{suffix}")
        assert [round(1000 * frame.time) for frame in made.frames()] == times
        assert made.colours.matrix == (9 if suffix == ".mov" else 0)


@pytest.mark.parametrize(("suffix", "encoder"), [(".mov", "aac"), (".mkv", "flac"), (".webm", "aac"), (".mov", "flac"),
                                                 (".mp4", "aac")])
def test_sound_stays(tmp_path, suffix, encoder):
    """As packets, or encoded anew where the file cannot hold them."""
    pictures = [drawn_frame(i)[..., :3] for i in range(15)]
    source = write_video(tmp_path / "s.mkv", pictures, layout="yuv444p", sound=encoder)
    written(tmp_path / f"c{suffix}", VideoFile(source), channels=3)
    before, after = heard(source), heard(tmp_path / f"c{suffix}")
    assert abs(len(before) - len(after)) < 2100  # frames of AAC and Opus are 1024 and 960 samples, the last ones padded
    inner = slice(4000, 18000)
    shift = min(range(-1100, 1100, 4), key=lambda k: np.abs(before[inner] - after[4000 + k:18000 + k]).mean())
    # The decoders of AAC in Matroska and MP4 differ in whether they give out what the encoder put in front (1024).
    assert abs(shift) <= 1024 and np.abs(before[inner] - after[4000 + shift:18000 + shift]).mean() < 0.02


def test_a_part_has_the_sound_of_its_time(tmp_path):
    pictures = [drawn_frame(i)[..., :3] for i in range(30)]
    source = write_video(tmp_path / "s.mkv", pictures, layout="yuv444p", sound="flac")
    written(tmp_path / "c.mkv", VideoFile(source, frames=(11, 20)), channels=3)
    assert abs(len(heard(tmp_path / "c.mkv")) / 48000 - 10 / RATE) < 0.2


def test_samples_become_sound(tmp_path):
    wave = 0.3 * torch.sin(torch.arange(24000) * 0.06)
    clip = TensorClip(torch.rand(12, 16, 16, 3), Fraction(24), (wave.repeat(2, 1), 48000))
    written(tmp_path / "c.mkv", clip)
    assert np.abs(heard(tmp_path / "c.mkv")[:24000] - wave.numpy()).max() < 2e-4  # FLAC of 16 bits


def test_png_and_exr_pictures(tmp_path):
    clip = DrawnClip(2)
    want = written(tmp_path / "png", clip)
    with av.open(str(tmp_path / "png/000002.png")) as container:
        found = next(container.decode(video=0)).to_ndarray(format="rgba64le") / 65535
    assert np.abs(found - want[1]).max() < 0.51 / 65535
    with Image.open(tmp_path / "png/000001.png") as picture:  # by another reader, 8 bits of them
        assert picture.mode == "RGBA" and np.abs(np.asarray(picture) / 255 - want[0]).max() < 1.01 / 255
    light = np.where(want <= 0.04045, want / 12.92, ((want + 0.055) / 1.055) ** 2.4)
    for half, premultiplied, name in ((True, True, "a"), (False, False, "b")):
        written(tmp_path / f"{name}.####.exr", clip, half=half, premultiplied=premultiplied)
        with av.open(str(tmp_path / f"{name}.0001.exr")) as container:
            frame = next(container.decode(video=0))
        kind = np.float16 if "f16" in frame.format.name else np.float32  # FFmpeg 8 decodes half as half
        planes = [np.frombuffer(plane, kind).reshape(SIZE[0], -1)[:, :SIZE[1]] for plane in frame.planes]
        found = np.stack([planes[i] for i in (2, 0, 1, 3)], -1)
        assert np.array_equal(found[..., 3], want[0, ..., 3].astype(np.float16 if half else np.float32))
        mixed = light[0, ..., :3] * (want[0, ..., 3:] if premultiplied else 1)
        assert np.abs(found[..., :3] - mixed).max() < (2**-11 if half else 1e-6)
    written(tmp_path / "m.####.tif", clip, kind="matte", channels=1)
    assert is_done([Target(tmp_path / "m.####.tif", "matte", 1)], (2, "x"))


@pytest.mark.parametrize(("name", "kind", "channels", "said"), [
    ("c.avi", "cutout", 4, "expected a video"), ("c.png", "cutout", 4, "c.####.png"),
    ("c.####.jpg", "cutout", 4, "expected a video"), ("c.####.tif", "cutout", 4, "expected a video"),
])
def test_other_names_are_refused(tmp_path, name, kind, channels, said):
    with pytest.raises(ValueError, match=said):
        Target(tmp_path / name, kind, channels).check(DrawnClip())


def test_a_missing_encoder_is_told_before_any_work(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="has no encoder nonsense"):
        check_encoder("nonsense", "c.mov")
    broken = encode.Codec("nonsense", {4: "yuva444p10le"}, 10, {})
    monkeypatch.setitem(encode.CODECS, ".mov", broken)
    with pytest.raises(RuntimeError, match=r"c.mov: the PyAV at hand has no encoder nonsense"):
        Target(tmp_path / "c.mov", "cutout", 4).check(DrawnClip())


def test_light_is_not_made_of_high_dynamic_range(tmp_path):
    clip = DrawnClip()
    clip.colours = Colours(9, False, 9, 16, 10)
    with pytest.raises(ValueError, match="high dynamic range"):
        Target(tmp_path / "c.####.exr", "cutout", 4).check(clip)


@pytest.mark.parametrize("suffix", [".mov", ".webm", ".mkv"])
def test_what_fails_leaves_nothing(tmp_path, suffix):
    clip = DrawnClip()
    targets = [Target(tmp_path / f"c{suffix}", "cutout", 4), Target(tmp_path / "m.mkv", "matte", 1)]
    (tmp_path / "m.mkv").write_text("what was there before")
    with pytest.raises(KeyboardInterrupt), writers(targets, clip) as found:
        for frame in clip.frames():
            found[0].write(frame, drawn_frame(frame.position))
            if frame.position == 3:
                raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["m.mkv"]
    assert (tmp_path / "m.mkv").read_text() == "what was there before"


def test_nothing_is_logged_by_encoders(tmp_path, capfd, caplog):
    with caplog.at_level(logging.INFO):
        written(tmp_path / "c.webm", DrawnClip())
        written(tmp_path / "c.mp4", DrawnClip(), channels=3)
    assert capfd.readouterr().err == ""
