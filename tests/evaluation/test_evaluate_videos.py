"""`vitmatte evaluate` for video files: the figures of folders, the alpha of files that have some, what is refused."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import torch
from clips import write_video
from moving import disc, picture

from vitmatte.cli.main import main
from vitmatte.pictures import writing
from vitmatte.video.colours import Colours
from vitmatte.video.planes import Planes

av = pytest.importorskip("av")
FRAMES, STEP, SIZE = 4, 3, (96, 128)
GREY = Colours(bits=16)


def planes(count=FRAMES):
    """True mattes, mattes with an error that moves along, pictures and trimaps, of a disc that moves right."""
    found = []
    for i in range(count):
        true = disc(*SIZE, 45 + STEP * i, 48, 26)
        wrong = true * (1 - 0.5 * disc(*SIZE, 45 + STEP * i, 30, 9))
        trimap = torch.where((true > 0) | (disc(*SIZE, 45 + STEP * i, 48, 32) > 0), 0.5, 0.0)
        found.append((true, wrong, (picture(true, STEP * i) * 255).round() / 255, trimap))
    return [list(row) for row in zip(*found, strict=True)]


def grey(path, mattes):
    return write_video(path, mattes, layout="gray16le", colours=GREY, tags=False)


@pytest.fixture()
def files(tmp_path):
    """The same in video files without losses, and in folders."""
    true, wrong, pictures, trimaps = planes()
    write_video(tmp_path / "image.mkv", pictures, layout="gbrp16le", colours=GREY, tags=False)
    for name, some in (("alpha", true), ("pred", wrong), ("trimap", trimaps)):
        grey(tmp_path / f"{name}.mkv", some)
    for i in range(FRAMES):
        writing.write_matte(tmp_path / "alpha" / f"{i:04}.png", true[i])
        writing.write_matte(tmp_path / "pred" / f"{i:04}.png", wrong[i])
        writing.write_image(tmp_path / "image" / f"{i:04}.png", pictures[i])
        writing.write_trimap(tmp_path / "trimap" / f"{i:04}.png", trimaps[i])
    return tmp_path


def run(files, *extra, alpha="alpha.mkv", pred="pred.mkv"):
    report = files / "report.json"
    report.unlink(missing_ok=True)
    status = main(["evaluate", "--pred", str(files / pred), "--alpha", str(files / alpha), "--json", str(report),
                   *(str(files / one) if "." in one or one in ("image", "trimap") else one for one in extra)])
    return status, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize("extra", [("--whole",), ("--trimap", "trimap.mkv", "--image", "image.mkv")])
def test_videos_have_the_figures_of_folders(files, extra):
    """Mattes have 16 bits in both, pictures 8."""
    status, of_files = run(files, *extra)
    _, of_folders = run(files, "--clip", *(one.removesuffix(".mkv") for one in extra), alpha="alpha", pred="pred")
    assert status == 0 and list(of_files["pictures"]) == [f"{i:06}" for i in range(1, FRAMES + 1)]
    for part in ("mean", "clip"):
        assert of_files[part] == {name: None if value is None else pytest.approx(value, rel=1e-5)
                                  for name, value in of_folders[part].items()}
    assert of_files["clip"]["pairs"] == FRAMES - 1 and of_files["clip"]["dtssd"] > 0


def test_files_and_folders_belong_together_in_order(files):
    assert run(files, "--trimap", "trimap", "--image", "image")[1] == run(
        files, "--trimap", "trimap.mkv", "--image", "image.mkv")[1]
    by_pattern = run(files, "--whole", pred="pred/####.png")[1]
    assert by_pattern == run(files, "--whole")[1]


def cut_outs(path, mattes, **how):
    """A video of colours with these mattes as alpha."""
    colours = torch.tensor([0.8, 0.5, 0.2]).expand(*SIZE, 3)
    some = [torch.cat([colours, plane.unsqueeze(-1)], -1) for plane in mattes]
    return write_video(path, some, **how)


@pytest.mark.parametrize(("name", "how"), [
    ("cut.mkv", {"layout": "gbrap16le", "colours": GREY, "tags": False}),
    ("cut.mov", {"layout": "yuva444p10le", "encoder": "prores_ks", "colours": Colours(1, False, bits=10)}),
    ("cut.webm", {"layout": "yuva420p", "encoder": "libvpx-vp9"}),
])
def test_cut_outs_count_by_their_alpha(files, name, how):
    """Also where it is opaque throughout in the first frames. What VP9 loses at this size is below 0.001."""
    true, wrong, *_ = planes()
    full = [torch.ones(SIZE), torch.ones(SIZE)]
    cut_outs(files / name, full + wrong, **how)
    grey(files / "longer.mkv", full + true)
    grey(files / "found.mkv", full + wrong)
    status, report = run(files, "--whole", alpha="longer.mkv", pred=name)
    _, want = run(files, "--whole", alpha="longer.mkv", pred="found.mkv")
    assert status == 0 and report["pictures"]["000001"]["mse"] == pytest.approx(0, abs=1e-5)
    assert report["mean"]["mse"] == pytest.approx(want["mean"]["mse"], abs=1e-3)
    assert report["clip"]["dtssd"] == pytest.approx(want["clip"]["dtssd"], abs=5e-3)


def test_a_model_makes_the_mattes_of_a_video(files):
    found = []
    for end in (".mkv", ""):
        given = [f"--{name}={files / (name + end)}" for name in ("image", "trimap", "alpha")]
        assert main(["evaluate", "--model", "vitmatte-tiny", "--refine", "0", "--clip", *given,
                     "--json", str(files / "report.json")]) == 0
        found.append(json.loads((files / "report.json").read_text()))
    assert found[0]["clip"] == pytest.approx(found[1]["clip"], rel=1e-4) and found[0]["clip"]["messddt"] > 0
    assert found[0]["mean"] == pytest.approx(found[1]["mean"], rel=1e-4)


def refused(files, capsys, *extra, **given):
    status, report = run(files, *(extra or ("--whole",)), **given)
    assert (status, report) == (1, None)
    return capsys.readouterr().err


def test_counts_and_sizes_that_differ_are_refused_before_any_work(files, capsys, monkeypatch):
    monkeypatch.setattr("vitmatte.cli.evaluate.judge", lambda *_: pytest.fail("judged"))
    true = planes()[0]
    grey(files / "short.mkv", true[:3])
    said = refused(files, capsys, pred="short.mkv")
    assert "short.mkv has 3 frames and" in said and "alpha.mkv 4; expected as many" in said
    grey(files / "small.mkv", [plane[:50] for plane in true])
    said = refused(files, capsys, "--trimap", "small.mkv")
    assert "small.mkv is 128x50 and" in said and "alpha.mkv 128x96" in said
    (files / "pred" / "0003.png").unlink()
    assert "pred has 3 frames and" in refused(files, capsys, pred="pred")


def test_what_is_no_clip_of_mattes_is_refused(files, capsys):
    assert "no mattes" in refused(files, capsys, pred="nothing.mkv")
    assert "is one picture" in refused(files, capsys, pred="pred/0000.png")
    (files / "text.mkv").write_text("no video")
    assert "text.mkv cannot be read as a video" in refused(files, capsys, pred="text.mkv")
    with av.open(str(files / "sound.mka"), "w") as container:
        track = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=100)
        frame.sample_rate, frame.pts = 8000, 0
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    assert "sound.mka has no video in it" in refused(files, capsys, pred="sound.mka")
    said = refused(files, capsys, pred="image.mkv")
    assert "image.mkv has colours and no transparency; expected mattes in grey" in said
    cut_outs(files / "cut.mkv", planes()[0], layout="gbrap16le", colours=GREY, tags=False)
    assert "cut.mkv has transparency; expected trimaps" in refused(files, capsys, "--trimap", "cut.mkv")


@pytest.mark.parametrize(("name", "said"), [
    ("pred.avi", "pred.avi is damaged"), ("pred.mkv", "alpha.mkv 24; expected as many"),
    ("pred.mov", "pred.mov cannot be read as a video")])
def test_a_file_that_was_cut_short_is_refused(files, capsys, name, said):
    """An AVI's header says how many frames there are, Matroska's does not, and a MOV has its index at the end. What has
    fewer frames than it says though each is whole is refused too."""
    many = planes(24)
    grey(files / "alpha.mkv", many[0])
    if name == "pred.mov":
        ten = Colours(1, False, bits=10)
        write_video(files / name, many[1], layout="yuv444p10le", encoder="prores_ks", colours=ten)
    else:
        grey(files / name, many[1])
    data = (files / name).read_bytes()
    (files / name).write_bytes(data[:len(data) * 7 // 10])
    assert said in refused(files, capsys, pred=name)
    planes_of = Planes(files / "alpha.mkv", "mattes")
    planes_of.count = 25
    with pytest.raises(ValueError, match="alpha.mkv says that it has 25 frames, and has 24"):
        list(planes_of.frames())


def test_trimaps_with_losses_are_told(files, capsys):
    trimaps = [plane + 0.02 for plane in planes()[3]]
    grey(files / "lossy.mkv", trimaps)
    assert run(files, "--trimap", "lossy.mkv")[0] == 0
    assert "lossy.mkv: its black is no black" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_clip(tmp_path):
    """A frame is 48 KB in each of two planes; what 40 frames more take is less than two of them."""
    def peak(count):
        for name in ("alpha", "pred"):
            grey(tmp_path / f"{name}.mkv", [disc(*SIZE, 45, 48, 26)] * count)
        run(tmp_path, "--whole")
        tracemalloc.start()
        try:
            assert run(tmp_path, "--whole")[0] == 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(48) - peak(8) < 2 * SIZE[0] * SIZE[1] * 4
