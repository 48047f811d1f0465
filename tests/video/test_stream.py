"""The stream: order, look-ahead, masks carried on, what is done already, progress, and what ends it."""

from __future__ import annotations

import pytest
import torch
from clips import DrawnClip, drawn_frame, drawn_mask

from vitmatte.steps import STEPS
from vitmatte.video.backdrop import Look, MovingBackground
from vitmatte.video.carry import Carried, LostError
from vitmatte.video.clip import matte_clip
from vitmatte.video.masks import TensorMasks
from vitmatte.video.steady import SteadyFrame
from vitmatte.video.write import Target


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.numbers, self.pictures = [], []

    def write(self, frame, picture):
        self.numbers.append(frame.number)
        self.pictures.append(picture.clone())


class Late:
    """Holds back some frames, and marks those it gives out."""

    def __init__(self, ahead):
        self.ahead, self.waiting = ahead, []

    def push(self, image, alpha, trimap):
        self.waiting.append(alpha)
        return [SteadyFrame(self.waiting.pop(0) / 2, 0.5, False)] if len(self.waiting) > self.ahead else []

    def finish(self):
        rest, self.waiting = self.waiting, []
        return [SteadyFrame(alpha / 2, 0.5, True) for alpha in rest]


class Onward:
    """Carries the last matte on as it is, so far."""

    def __init__(self, reach=99):
        self.reach, self.calls, self.last = reach, [], None

    def start(self, image, alpha, trimap):
        self.calls.append("start")
        self.last = alpha

    def trimap(self, image):
        if self.calls.count("trimap") >= self.reach:
            raise LostError(0.9, "motion cannot be trusted")
        self.calls.append("trimap")
        return Carried(self.last, 0.1 * self.calls.count("trimap"))

    def go_on(self, alpha):
        self.calls.append("go on")
        self.last = alpha


MASKS = torch.stack([drawn_mask(i) for i in range(6)])


def streamed(clip=None, *, count=6, masks=None, kind="matte", channels=1, carried=False, **how):
    clip, kept = clip or DrawnClip(count), Kept()
    report = matte_clip(clip, TensorMasks(MASKS if masks is None else masks, clip, carried=carried),
                        [(Target(None, kind, channels), kept)], trimap_of=lambda mask, *_: mask,
                        matte=lambda image, trimap, step: trimap * 0.75, **how)
    return kept, report


def test_every_frame_once_in_order():
    kept, report = streamed()
    assert kept.numbers == [1, 2, 3, 4, 5, 6] and report.frames == report.written == 6
    assert all(torch.equal(found, mask * 0.75) for found, mask in zip(kept.pictures, MASKS, strict=True))
    assert set(report.seconds) == {"read", "trimap", "net", "motion", "colours", "write"} and report.said() == []


@pytest.mark.parametrize("ahead", [0, 1, 3, 9])
def test_frames_that_are_held_back_come_in_order(ahead):
    kept, report = streamed(steady=Late(ahead))
    assert kept.numbers == [1, 2, 3, 4, 5, 6] and report.blended == 0.5
    assert all(torch.equal(found, mask * 0.375) for found, mask in zip(kept.pictures, MASKS, strict=True))
    assert report.cuts == [1, 2, 3, 4, 5, 6][6 - min(ahead, 6):]


def test_no_frame_is_read_before_it_is_needed():
    clip = DrawnClip()
    seen = []
    streamed(clip, on_frame=lambda index, *_: seen.append((index, list(clip.read))), steady=Late(1))
    assert all(read == list(range(min(6, index + 2))) for index, read in seen)


def test_masks_are_carried_on_until_that_cannot_be_trusted():
    carry = Onward()
    kept, report = streamed(masks=MASKS[:2], carried=True, carry=carry)
    assert carry.calls == ["start", "start", *["trimap", "go on"] * 4] and report.carried == 4
    assert report.most_lost == pytest.approx(0.4) and "4 frames had no mask" in report.said()[0]
    assert torch.allclose(kept.pictures[3], MASKS[1] * 0.75**3)
    with pytest.raises(LostError, match="frame 4: motion cannot be trusted"):
        streamed(masks=MASKS[:1], carried=True, carry=Onward(2))


def test_what_is_done_is_computed_but_not_written_again():
    kept, report = streamed(skip=2, is_done=[True, True, True, False, False, True].__getitem__)
    assert kept.numbers == [4, 5] and (report.frames, report.written) == (4, 2)


def test_progress_goes_on_within_frames_and_interruption_is_heard():
    seen = []
    streamed(on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (6 * STEPS, 6 * STEPS) and len(seen) >= 6

    def cancel():
        if len(kept_reads) > 2:
            raise KeyboardInterrupt
    clip = DrawnClip()
    kept_reads = clip.read
    with pytest.raises(KeyboardInterrupt):
        streamed(clip, check_interrupt=cancel)
    assert len(clip.read) == 3


def test_cut_outs_fills_and_backgrounds():
    cut, _ = streamed(kind="cutout", channels=4, count=6)
    assert cut.pictures[0].shape == (48, 64, 4) and torch.equal(cut.pictures[1][..., 3], MASKS[1] * 0.75)
    fill, _ = streamed(kind="fill", channels=3)
    assert torch.equal(fill.pictures[2], cut.pictures[2][..., :3])
    plain, _ = streamed(kind="cutout", channels=3, look=Look(background=torch.tensor([0.0, 1.0, 0.0])))
    assert torch.allclose(plain.pictures[0][0, -1], torch.tensor([0.0, 1.0, 0.0]))
    several = torch.stack([torch.full((48, 64, 3), i / 10) for i in range(3)])
    some, _ = streamed(kind="cutout", channels=3, look=Look(background=several))
    assert [round(float(p[0, -1, 0]), 3) for p in some.pictures] == [0, 0.1, 0.2, 0.2, 0.2, 0.2]


def test_a_moving_background_follows_the_time_and_begins_again(caplog):
    slow = DrawnClip(2, rate=DrawnClip().rate / 2)  # each of its frames is shown twice
    behind = MovingBackground(slow)
    shown, _ = streamed(kind="cutout", channels=3, look=Look(background=behind))
    for index, which in enumerate([0, 0, 1, 1, 0, 0]):
        assert torch.equal(shown.pictures[index][0, -1], drawn_frame(which)[0, -1, :3]), index
    assert "ends before the clip does; it begins again" in caplog.text


def test_a_frame_without_a_mask_is_an_error():
    clip = DrawnClip()
    masks = TensorMasks(MASKS[:2], clip, carried=True)
    with pytest.raises(ValueError, match="frame 3 has no mask"):
        matte_clip(clip, masks, [], trimap_of=lambda mask, *_: mask, matte=lambda image, trimap, step: trimap)
