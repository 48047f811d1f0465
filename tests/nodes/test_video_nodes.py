"""Matte Video and Steady Mattes, over stand-ins or, with COMFYUI_HOST set, inside a real ComfyUI."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pack
import pytest
import torch
from clips import RATE, drawn_frame, drawn_mask, heard, seen, write_video

from vitmatte.pictures.packages import pyav
from vitmatte.video.colours import Colours
from vitmatte.video.file import VideoFile
from vitmatte.video.steady import Steady

pytest.importorskip("av")
PACK, NODES = pack.load()
BY_ID = {node.GET_SCHEMA().node_id: node for node in NODES}

import comfy.model_management as management  # noqa: E402
import folder_paths  # noqa: E402
from comfy_api.latest import InputImpl, Types  # noqa: E402

COUNT = 4
FRAMES = torch.stack([drawn_frame(i)[..., :3] for i in range(COUNT)])
MASKS = torch.stack([drawn_mask(i) for i in range(COUNT)])
FORMATS = {"ProRes 4444 (.mov)": ".mov", "VP9 (.webm)": ".webm", "FFV1 16-bit (.mkv)": ".mkv", "H.264 (.mp4)": ".mp4"}


@pytest.fixture(scope="module")
def model():
    with torch.inference_mode():
        return BY_ID["ViTMatteModelLoader"].execute(model_name="vitmatte-tiny (bundled)", precision="auto",
                                                    normalization="as trained").result[0]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return InputImpl.VideoFromFile(str(write_video(folder / "v.mkv", list(FRAMES), layout="yuv444p", sound="flac")))


@pytest.fixture(scope="module")
def mask_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "m.mkv"
    return InputImpl.VideoFromFile(str(write_video(path, list(MASKS), layout="gray", colours=Colours(6, True))))


def made(model, video, **inputs):
    """What Matte Video gives, and the files that it wrote."""
    before = set(outputs())
    with torch.inference_mode():
        result = BY_ID["ViTMatteVideo"].execute(video=video, model=model, **{"inner": 3, "outer": 3, "steady": 0.0,
                                                                             **inputs})
    return result, sorted(set(outputs()) - before)


def outputs() -> list[Path]:
    return [path for path in Path(folder_paths.get_output_directory()).rglob("*") if path.is_file()]


@pytest.mark.parametrize(("name", "suffix"), FORMATS.items())
def test_a_clip_is_written_frame_by_frame(model, video, mask_video, name, suffix):
    result, files = made(model, video, mask_video=mask_video, format=name,
                         result="on background" if suffix == ".mp4" else "cut-out")
    (path,) = files
    assert path.suffix == suffix and path.parent.name == "video" and result.result[0].get_stream_source() == str(path)
    written = VideoFile(path)
    assert written.count == COUNT and abs(written.rate - RATE) < Fraction(1, 500) and written.sound is not None
    shown = result.ui["images"]
    if suffix in (".webm", ".mp4"):
        assert shown == [{"filename": path.name, "subfolder": "video", "type": "output"}]
        assert result.ui["animated"] == (True,)
    else:
        assert len(shown) == COUNT and shown[0]["type"] == "temp"


def test_one_mask_for_all_masks_for_each_and_a_batch_in_memory(model, video):
    batch = InputImpl.VideoFromComponents(Types.VideoComponents(
        images=FRAMES, frame_rate=RATE,
        audio={"waveform": 0.3 * torch.sin(torch.arange(12000) * 0.06).repeat(1, 2, 1), "sample_rate": 48000}))
    found = []
    for given, mask in ((batch, MASKS), (video, MASKS), (batch, MASKS[:1])):
        _, (path,) = made(model, given, mask=mask, format="FFV1 16-bit (.mkv)", result="matte")
        found.append(np.stack(seen(path, "gray16le")).astype(int))
    assert len(heard(path)) > 11000
    # The frames of the file were rounded to 8 bits.
    assert np.abs(found[0] - found[1]).mean() < 800 and (found[0][0] == found[2][0]).all()


def test_fill_and_matte_lie_beside_each_other(model, video):
    result, files = made(model, video, mask=MASKS, result="fill and matte", format="H.264 (.mp4)")
    assert [path.stem.endswith("matte") for path in files] == [False, True] and len(files) == 2
    assert result.result[0].get_stream_source() == str(files[0])


def test_steady_and_carry_say_what_they_did(model, video):
    result, _ = made(model, video, mask=MASKS, steady=0.5)
    assert any("neighbouring mattes had a part" in text for text in result.ui["vitmatte_warnings"])
    result, _ = made(model, video, mask=MASKS[:1], carry=True)
    assert "3 frames had no mask" in result.ui["vitmatte_warnings"][0]


@pytest.mark.parametrize(("inputs", "said"), [
    ({}, "connect either mask or mask_video: rough masks"),
    ({"mask": MASKS, "mask_video": 1}, "connect either mask or mask_video, not both"),
    ({"mask": MASKS[:3]}, "3 masks for 4 frames"),
    ({"mask": MASKS[:, :20]}, "64x48 and masks 64x20"),
    ({"mask": MASKS * 0}, "the mask is empty"),
    ({"mask": MASKS, "format": "H.264 (.mp4)"}, ".mp4 has no transparency"),
    ({"mask": MASKS, "format": "x"}, "format is 'x'"),
    ({"mask": MASKS, "steady": 3.0}, "strength is 3"),
    ({"mask": MASKS, "inner": -1.0}, "inner is -1"),
    ({"mask": MASKS, "background": FRAMES, "background_video": 1}, "connect one of them"),
])
def test_what_cannot_be_done_is_refused_before_any_work(model, video, monkeypatch, inputs, said):
    def work(*_, **__):
        raise AssertionError("there was work before the refusal")

    monkeypatch.setattr(type(model), "matte_frame", work)
    with pytest.raises(ValueError, match=said):
        made(model, video, **inputs)
    assert not [path for path in outputs() if path.name.startswith(".")]


def test_cancel_leaves_no_file(model, video, monkeypatch):
    before, calls = set(outputs()), []

    def cancel():
        calls.append(1)
        if len(calls) > 40:
            raise management.InterruptProcessingException

    monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", cancel)
    with pytest.raises(management.InterruptProcessingException):
        made(model, video, mask=MASKS)
    assert set(outputs()) == before


def test_without_pyav_only_the_node_fails(model, video, monkeypatch):
    pyav.cache_clear()
    sys.modules[f"{pack.NAME}.vitmatte.pictures.packages"].pyav.cache_clear()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RuntimeError, match="PyAV, which is not installed"):
        made(model, video, mask=MASKS)
    monkeypatch.undo()
    sys.modules[f"{pack.NAME}.vitmatte.pictures.packages"].pyav.cache_clear()


def test_steady_mattes_are_those_of_the_library():
    trimaps = torch.where((MASKS - MASKS.roll(3, 2)).abs() > 0, torch.tensor(0.5), MASKS)
    given = {"image": FRAMES, "alpha": MASKS, "trimap": trimaps}
    with torch.inference_mode():
        result = BY_ID["ViTMatteSteady"].execute(**given, steady=0.5)
        plain = BY_ID["ViTMatteSteady"].execute(**given, steady=0.0)
    steady = Steady(0.5)
    frames = [one for i in range(COUNT) for one in steady.push(FRAMES[i], MASKS[i], trimaps[i])] + steady.finish()
    assert torch.equal(result.result[0], torch.stack([one.alpha for one in frames]))
    assert torch.equal(plain.result[0], MASKS) and plain.ui["vitmatte_warnings"] == []
    with pytest.raises(ValueError, match="1 of alpha for 4 frames"):
        BY_ID["ViTMatteSteady"].execute(image=FRAMES, alpha=MASKS[:1], trimap=trimaps, steady=0.5)
    with pytest.raises(TypeError, match="expected a model from Load Optical Flow Model"):
        BY_ID["ViTMatteSteady"].execute(**given, steady=0.5, optical_flow=3)


def test_motion_of_a_model_is_in_pixels_of_the_frame(monkeypatch):
    """A model that sees every frame move by 8 of its own pixels in x and 4 in y."""
    motion = sys.modules[f"{pack.NAME}.nodes.motion"]

    class Raft:
        load_device = torch.device("cpu")

        @staticmethod
        def model(one, other):
            assert one.shape == other.shape and one.shape[2] % 8 == one.shape[3] % 8 == 0 and one.min() < 0
            return [torch.tensor([8.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, *one.shape[2:])]

    monkeypatch.setattr(motion, "loaded", lambda patcher: (patcher.model, patcher.load_device))
    flow = motion.motion_of(Raft)(FRAMES[0], FRAMES[1])
    assert flow.shape == (48, 64, 2)  # shown to it as 128x128
    assert torch.allclose(flow, torch.tensor([8.0 * 64 / 128, 4.0 * 48 / 128]).expand_as(flow))


def test_the_example_clip_is_small_and_whole():
    video, mask, masks = BY_ID["ViTMatteExampleVideo"].execute().result
    clip, others = VideoFile(video.get_stream_source()), VideoFile(masks.get_stream_source())
    assert clip.count == others.count == 48 and clip.size == others.size == tuple(mask.shape[1:]) == (320, 512)
    first = next(others.greys()).image
    assert torch.equal(first, mask[0]) and set(first.unique().tolist()) == {0.0, 1.0}
    sizes = [path.stat().st_size for path in (pack.ROOT / "pictures").glob("clip*")]
    assert sum(sizes) < 300_000
