"""Which mask belongs to which frame, and what is refused before any is decoded."""

from __future__ import annotations

import logging

import pytest
import torch
from clips import SIZE, DrawnClip, drawn_frame, drawn_mask, write_frame_pictures, write_mask_pictures, write_video
from PIL import Image

from vitmatte.video.colours import Colours
from vitmatte.video.file import VideoFile
from vitmatte.video.masks import TensorMasks, check_first, masks_of
from vitmatte.video.sequence import Sequence

pytest.importorskip("av")


def ranged(count: int, first: int, total: int) -> DrawnClip:
    """`count` frames from index `first` on of a clip of `total`, counted from 1."""
    clip = DrawnClip(count)
    clip.first, clip.total, clip.numbers = first, total, range(first + 1, first + 1 + count)
    return clip


def same(found, number: int) -> bool:
    return found is not None and torch.equal(found[0], drawn_mask(number))


def test_as_many_as_frames_go_in_order_whatever_their_numbers(tmp_path):
    masks = masks_of(write_mask_pictures(tmp_path / "m", 6, first=0), DrawnClip(6))
    assert all(same(masks.at(i), i) for i in range(6)) and masks.at(2)[1].endswith("mask.0002.png")


def test_numbers_that_contradict_the_frames_are_told(tmp_path, caplog):
    shot = Sequence(write_frame_pictures(tmp_path / "f", 4))
    film = VideoFile(write_video(tmp_path / "f.mkv", [drawn_frame(i)[..., :3] for i in range(4)]))
    for clip, first, told in ((shot, 1001, False), (shot, 1002, True), (film, 1, False), (film, 0, False)):
        caplog.clear()
        masks_of(write_mask_pictures(tmp_path / f"m{first}", 4, first=first), clip)
        assert ("mask 1002 is that of frame 1001" in caplog.text) == told == bool(caplog.records)


def test_those_of_the_whole_clip_serve_a_part_of_it(tmp_path):
    masks = masks_of(write_mask_pictures(tmp_path / "m", 9), ranged(4, 3, 9))
    assert all(same(masks.at(i), i + 3) for i in range(4))


def test_one_serves_all_frames_or_is_carried_from_the_first(tmp_path):
    path = write_mask_pictures(tmp_path / "m", 1) / "mask.0001.png"
    masks = masks_of(path, DrawnClip(3))
    assert list(masks.has) == [0, 1, 2] and same(masks.at(2), 0)
    masks = masks_of(path, DrawnClip(3), carried=True)
    assert same(masks.at(0), 0) and masks.at(1) is None and set(masks.has) == {0}


def test_some_belong_to_the_frames_of_their_numbers(tmp_path):
    folder = write_mask_pictures(tmp_path / "m", 6, only=[0, 4])
    with pytest.raises(FileNotFoundError, match=r"has no mask for 4 of 6 frames of drawn: 2, 3, 4, 6; .*--carry"):
        masks_of(folder, DrawnClip(6))
    masks = masks_of(folder, DrawnClip(6), carried=True)
    assert same(masks.at(0), 0) and masks.at(1) is None and same(masks.at(4), 4)
    with pytest.raises(ValueError, match="its first frame 2 has no mask"):
        check_first(masks_of(folder, ranged(5, 1, 6), carried=True), ranged(5, 1, 6))


def test_those_of_no_frame_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has 2 masks for 6 frames .* of no frame: mask.0000.png; its frames are 1-6"):
        masks_of(write_mask_pictures(tmp_path / "m", 6, first=0, only=[0, 4]), DrawnClip(6), carried=True)


def test_pictures_have_the_masks_of_their_numbers(tmp_path):
    clip = Sequence(write_frame_pictures(tmp_path / "f", 5), frames=(1002, 1004))
    masks = masks_of(write_mask_pictures(tmp_path / "m", 5, first=1001, only=[1, 2, 3, 4]), clip)
    assert all(same(masks.at(i), i + 1) for i in range(3))


def test_a_video_of_masks_is_read_along_and_from_anywhere(tmp_path):
    path = write_video(tmp_path / "m.mkv", [drawn_mask(i) for i in range(6)], layout="gray", colours=Colours(6, True))
    masks = masks_of(path, DrawnClip(6))
    assert all(same(masks.at(i), i) for i in (0, 1, 2, 5, 3))
    masks = masks_of(path, ranged(3, 2, 6))
    assert same(masks.at(0), 2)
    with pytest.raises(ValueError, match=r"m.mkv has 6 masks for 4 frames of drawn; expected as many"):
        masks_of(path, DrawnClip(4))


def test_alpha_of_a_video_is_its_mask(tmp_path):
    pictures = [torch.cat([torch.rand(*SIZE, 3), drawn_mask(i)[..., None]], -1) for i in range(2)]
    path = write_video(tmp_path / "m.mkv", pictures, layout="gbrap10le", colours=Colours(0, True, bits=10))
    assert same(masks_of(path, DrawnClip(2)).at(1), 1)


def test_a_lossy_videos_black_is_told(tmp_path, caplog):
    grey = [drawn_mask(0) * 0.95 + 0.03] * 2
    path = write_video(tmp_path / "m.mkv", grey, layout="gray", colours=Colours(6, True))
    with caplog.at_level(logging.WARNING):
        masks_of(path, DrawnClip(2), remedy="do this").at(0)
    assert "its black is no black" in caplog.text and "do this" in caplog.text


@pytest.mark.parametrize("kind", ["picture", "folder", "video"])
def test_other_sizes_are_refused(tmp_path, kind):
    Image.new("L", (32, 24)).save(tmp_path / "a.png")
    path = {"picture": tmp_path / "a.png", "folder": tmp_path}.get(kind)
    if path is None:
        path = write_video(tmp_path / "m.mkv", [torch.zeros(24, 32)] * 2, layout="gray", colours=Colours(6, True))
    with pytest.raises(ValueError, match=r"drawn is 64x48 and .*(a.png|m.mkv) 32x24"):
        masks_of(path, DrawnClip(1 if kind == "folder" else 2))


def test_tensors_one_for_all_for_each_or_for_the_first():
    planes = torch.stack([drawn_mask(i) for i in range(3)])
    assert same(TensorMasks(planes, DrawnClip(3)).at(2), 2) and same(TensorMasks(planes[0], DrawnClip(3)).at(2), 0)
    assert TensorMasks(planes, DrawnClip(5), carried=True).at(3) is None
    for count in (2, 5):
        with pytest.raises(ValueError, match=f"3 masks for {count} frames"):
            TensorMasks(planes, DrawnClip(count))
    with pytest.raises(ValueError, match="drawn is 64x48 and masks 8x8"):
        TensorMasks(torch.zeros(1, 8, 8), DrawnClip(3))
