"""Masks carried on by motion: on a disc that moves, and what is said where they cannot be."""

from __future__ import annotations

import pytest
import torch
from moving import disc, picture, shifted, texture
from paths import ROOT

from vitmatte import make_trimap
from vitmatte.video.carry import Carry, LostError

SIZE, STEP = (120, 200), 2.5


def frame(i, step=STEP, behind=-1.0, x=60.0):
    """A picture and the matte of a disc that has moved `step` pixels a frame."""
    alpha = disc(*SIZE, x + step * i, 60, 30)
    return picture(alpha, step * i, behind=behind * i), alpha


def band(i, step=STEP, around=6, x=60.0):
    """The trimap whose band reaches so far to both sides."""
    outer, inner = (disc(*SIZE, x + step * i, 60, 30 + by) for by in (around, -around))
    return torch.full(SIZE, 0.5).masked_fill(inner == 1, 1.0).masked_fill(outer == 0, 0.0)


def started(**options):
    carry = Carry(**options)
    image, alpha = frame(0)
    carry.start(image, alpha, band(0))
    return carry


def test_a_moving_disc_is_held():
    """The band's edge lies 6 pixels from the disc's, so known pixels are right while errors stay below; they are asked
    to stay below 1.5 pixels in the mean: bands then differ in less than a quarter of 12 pixels."""
    carry = started()
    for i in range(1, 17):
        image, alpha = frame(i)
        carried = carry.trimap(image)
        known = carried.trimap != 0.5
        assert not ((carried.trimap - alpha).abs() > 0.02)[known].any(), i
        assert carried.lost < 0.1 and set(carried.trimap.unique().tolist()) == {0.0, 0.5, 1.0}
        expected = band(i)
        assert ((carried.trimap == 0.5) != (expected == 0.5)).sum() < 0.5 * (expected == 0.5).sum()
        carry.go_on(alpha)


def test_a_still_clip_keeps_its_trimap():
    carry = started()
    image, alpha = frame(0)
    for _ in range(3):
        carried = carry.trimap(image)
        assert torch.equal(carried.trimap, band(0)) and carried.lost == 0
        carry.go_on(alpha)


def test_wrong_mattes_do_not_lead_away():
    """The mask's trimap is moved, not the mattes' errors."""
    carry = started()
    for i in range(1, 9):
        image, alpha = frame(i)
        carried = carry.trimap(image)
        known = carried.trimap != 0.5
        assert not ((carried.trimap - alpha).abs() > 0.02)[known].any()
        wrong = torch.where(known, carried.trimap, alpha * 0.6 + 0.3)
        carry.go_on(wrong)


def test_the_band_is_wider_where_motion_disagrees():
    """Half of the disc is another texture in the next frame: there is no motion there that leads back."""
    image, alpha = frame(1)
    changed = image.clone()
    changed[:60] = torch.where(alpha[:60, :, None] > 0, texture(*SIZE, seed=8)[:60], image[:60])
    plain, wider = started(most_lost=1).trimap(image), started(most_lost=1).trimap(changed)
    assert wider.lost > plain.lost + 0.1
    upper, lower = (wider.trimap == 0.5)[:60].sum() / (plain.trimap == 0.5)[:60].sum(), (
        wider.trimap == 0.5)[60:].sum() / (plain.trimap == 0.5)[60:].sum()
    assert upper > 1.1 and upper > lower


def test_a_subject_that_is_covered_is_lost():
    carry = started()
    image, alpha = frame(1)
    with pytest.raises(LostError, match="motion cannot be trusted in .* give a mask for this frame") as told:
        carry.trimap(torch.where(alpha[..., None] > 0, texture(*SIZE, seed=8), image))
    assert 0.35 < told.value.lost <= 1


def test_a_matte_that_runs_into_the_bands_border_is_told():
    """The subject grows beyond its band, as a raised arm does."""
    carry = started()
    image, _ = frame(1)
    carry.trimap(image)
    carry.go_on(torch.ones(SIZE))
    with pytest.raises(LostError, match="runs into .* border"):
        carry.trimap(frame(2)[0])


def test_a_cut_is_told_and_another_mask_goes_on():
    carry = started()
    with pytest.raises(LostError, match="scene cut") as told:
        carry.trimap(texture(*SIZE, seed=5, cell=40))
    assert told.value.lost == 1
    image, alpha = frame(4)
    carry.start(image, alpha, band(4))
    assert carry.trimap(frame(5)[0]).lost < 0.1


def test_the_order_of_calls():
    carry = Carry()
    image, alpha = frame(0)
    with pytest.raises(RuntimeError, match="call start with a frame that has a mask"):
        carry.trimap(image)
    with pytest.raises(RuntimeError, match="no frame waits for its matte"):
        carry.go_on(alpha)
    carry.start(image, alpha, band(0))
    with pytest.raises(RuntimeError, match="no frame waits"):
        carry.go_on(alpha)
    carry.trimap(image)
    with pytest.raises(RuntimeError, match="hand it over with go_on"):
        carry.trimap(image)
    carry.start(image, alpha, band(0))  # the next frame with a mask may come at any time
    carry.trimap(image)


@pytest.mark.parametrize("value", [-1, 1.5, float("nan")])
def test_bad_shares_are_named(value):
    with pytest.raises(ValueError, match="most_lost is"):
        Carry(most_lost=value)


def test_bad_frames_are_named():
    carry = started()
    with pytest.raises(ValueError, match="image is 50x40 and the frame before it 200x120"):
        carry.trimap(torch.zeros(40, 50, 3))
    with pytest.raises(ValueError, match="image has shape"):
        carry.trimap(torch.zeros(1, *SIZE, 3))
    with pytest.raises(ValueError, match="image has values that are not finite"):
        carry.trimap(torch.full((*SIZE, 3), float("nan")))
    carry.trimap(frame(1)[0])
    with pytest.raises(ValueError, match="alpha has shape"):
        carry.go_on(torch.zeros(1, *SIZE))
    with pytest.raises(ValueError, match="alpha has values that are not finite"):
        carry.go_on(torch.full(SIZE, float("nan")))
    with pytest.raises(ValueError, match="image is 200x120 and alpha 50x40"):
        carry.go_on(torch.zeros(40, 50))
    carry.go_on(frame(1)[1])  # what was refused has changed nothing
    assert carry.trimap(frame(2)[0]).lost < 0.1
    small = torch.zeros(40, 50)
    carry.start(torch.zeros(40, 50, 3), small, small)  # another clip may be of another size
    assert not carry.trimap(torch.zeros(40, 50, 3)).trimap.any()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_trimaps_of_one_value(value):
    """Nothing, everything, and nothing that is known: there is no band that could be lost."""
    carry, plane = Carry(), torch.full(SIZE, value)
    carry.start(frame(0)[0], plane, plane)
    for i in (1, 2):
        carried = carry.trimap(frame(i)[0])
        came_in = (carried.trimap == 0.5) & (value == 1.0)  # over the border
        assert torch.equal(carried.trimap[~came_in], plane[~came_in]) and came_in.float().mean() < 0.02
        carry.go_on(plane)


def test_nothing_unknown_is_carried_as_it_is():
    carry = Carry()
    image, _ = frame(0)
    carry.start(image, torch.zeros(SIZE), torch.zeros(SIZE))
    carried = carry.trimap(image)
    assert not carried.trimap.any() and carried.lost == 0


def wedge(i, around=0.0):
    """[H, W]: a subject cut off by the picture's lower edge, wider the further down, that rises by STEP a frame."""
    rows, columns = torch.arange(SIZE[0])[:, None].float(), torch.arange(SIZE[1]).float()
    return (0.8 * (rows + STEP * i - 50 + around) - (columns - 100).abs() + 0.5).clamp(0, 1)


def rising(first, count):
    """Frames of the wedge and their mattes, and the trimap of the first."""
    for i in range(count):
        alpha = wedge(first + i)
        front, back = (shifted(texture(160, 200, seed), 0, -STEP * i)[:SIZE[0]] for seed in (1, 2))
        band = torch.full(SIZE, 0.5).masked_fill(wedge(first, -6) == 1, 1.0).masked_fill(wedge(first, 6) == 0, 0.0)
        yield i, alpha[..., None] * front + (1 - alpha[..., None]) * back, alpha, band


def test_what_comes_in_over_the_border_is_unknown_and_not_lost():
    carry = Carry()
    for i, image, alpha, trimap in rising(0, 5):
        if not i:
            carry.start(image, alpha, trimap)
            continue
        carried = carry.trimap(image)
        wrong = (carried.trimap == 1) & (alpha < 0.98)
        assert not wrong.any() and (carried.trimap[-2:] != 1).all() and carried.lost < 0.3, i
        carry.go_on(alpha)


def test_a_subject_of_which_too_little_was_there_is_lost():
    carry = Carry()
    with pytest.raises(LostError, match=r"of the subject were not in the frame with the mask, more than the 35%"):
        for i, image, alpha, trimap in rising(-10, 17):
            if not i:
                carry.start(image, alpha, trimap)
                continue
            carry.trimap(image)
            carry.go_on(alpha)
    assert i > 2


def test_the_band_is_wider_where_the_matte_is_another_one():
    """A bump of the matte near the band's outer border, that the mask's matte does not have."""
    carry, plain = started(), started()
    image, alpha = frame(0)
    bump = torch.maximum(alpha, disc(*SIZE, 93, 60, 4))
    for job, one in ((carry, bump), (plain, alpha)):
        job.trimap(image)
        job.go_on(torch.where(band(0) == 0.5, one, band(0)))
    wider, same = carry.trimap(image), plain.trimap(image)
    more = (wider.trimap == 0.5) & (same.trimap != 0.5)
    assert torch.equal(same.trimap, band(0)) and more.sum() > 10 and same.lost == 0 < wider.lost < 0.1
    rows, columns = more.nonzero(as_tuple=True)
    assert (torch.hypot(rows - 60.0, columns - 93.0) <= 9).all()


def test_the_pack_s_own_clip_is_carried_to_its_end():
    """Its subject is cut off by the picture's edges, and comes in over them. The masks stand for mattes."""
    pytest.importorskip("av")
    from vitmatte.video.file import VideoFile

    carry, most = Carry(), 0.0
    frames, masks = (VideoFile(ROOT / "pictures" / name).frames() for name in ("clip.mp4", "clip-masks.mkv"))
    for i, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        alpha = mask.image[..., 0]
        if not i:
            carry.start(frame.image, alpha, make_trimap(alpha[None], inner=12, outer=14)[0])
            continue
        carried = carry.trimap(frame.image)
        wrong = (carried.trimap != 0.5) & ((carried.trimap >= 0.5) != (alpha >= 0.5))
        assert not wrong.any() and (carried.trimap == 0.5).float().mean() < 0.25, i
        most = max(most, carried.lost)
        carry.go_on(alpha)
    assert i == 47 and most < 0.2
