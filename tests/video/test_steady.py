"""Steady mattes: what never changes, what gets better, what is held in memory, and what is refused."""

from __future__ import annotations

import gc
import math

import pytest
import torch
from moving import picture, texture

from vitmatte.video.flow import flow_between
from vitmatte.video.steady import UNSURE, Steady

SIZE, FRAMES, STEP = (120, 160), 7, 2.0


def clip(seed=0, noise=0.1, step=STEP, behind=-1.5, frames=FRAMES):
    """Images, true mattes, noisy mattes and trimaps: a soft-edged disc that moves right, over what moves left."""
    made = torch.Generator().manual_seed(seed)
    found = []
    for i in range(frames):
        y, x = torch.arange(SIZE[0])[:, None].float(), torch.arange(SIZE[1]).float()
        distance = torch.hypot(y - 60, x - 65 - step * i)
        true = ((42 - distance) / 12).clamp(0, 1)
        image = picture(true, step * i, behind=behind * i)
        trimap = torch.full(SIZE, 0.5).masked_fill(distance < 26, 1.0).masked_fill(distance > 46, 0.0)
        wrong = (true + noise * torch.randn(SIZE, generator=made)).clamp(0, 1)
        found.append((image, true, torch.where(trimap == 0.5, wrong, trimap), trimap))
    return found


def steady(frames, strength=0.8, **options):
    """The results of all frames (image, any, matte, trimap)."""
    job = Steady(strength, **options)
    results = [done for image, _, alpha, trimap in frames for done in job.push(image, alpha, trimap)]
    return results + job.finish()


def error(results, frames, key=1):
    """Mean square error in the unknown areas."""
    return float(torch.cat([(result.alpha - frame[key])[frame[3] == 0.5] for result, frame
                            in zip(results, frames, strict=True)]).square().mean())


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_strength_0_is_the_identity(ahead):
    frames = clip()
    job = Steady(0.0, ahead=ahead)
    results = [done for image, _, alpha, trimap in frames for done in job.push(image, alpha, trimap)]
    assert not job.finish() and len(results) == FRAMES
    for result, (_, _, alpha, _) in zip(results, frames, strict=True):
        assert torch.equal(result.alpha, alpha) and result.blended == 0 and not result.cut


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_noise_goes_down_and_known_pixels_stay(ahead):
    """Of independent noise, averaging n frames leaves 1/sqrt(n). At strength 0.8 the past weighs 1 / (1 - 0.8) = 5 in
    the end; a third of the noise's variance is a bound that also holds for the first frames of the clip together."""
    frames = clip()
    results = steady(frames, ahead=ahead)
    before = float(torch.cat([(f[2] - f[1])[f[3] == 0.5] for f in frames]).square().mean())
    assert error(results, frames) < 0.5 * before
    for result, (_, _, alpha, trimap) in zip(results, frames, strict=True):
        known = trimap != 0.5
        assert torch.equal(result.alpha[known], alpha[known]) and 0 <= result.alpha.min() <= result.alpha.max() <= 1
        assert result.blended > 0.5 or ahead == 0 and result is results[0]
        assert not result.cut


def test_true_mattes_are_not_harmed():
    """The matte's edge has a slope of 1/12 a pixel, and motion in the band is within 0.3 pixels (see test_flow): so a
    moved matte is within 0.3 / 12 = 0.025, and the blend of several within the sum of a geometric series of that, of
    ratio 0.8: 0.1 at most, and a quarter of it in the mean."""
    frames = [(image, true, true, trimap) for image, true, _, trimap in clip()]
    results = steady(frames)
    off = torch.cat([(r.alpha - f[1])[f[3] == 0.5].abs() for r, f in zip(results, frames, strict=True)])
    assert off.mean() < 0.025 and off.quantile(0.999) < 0.1


def test_motion_of_the_host_is_taken():
    """With the true motion, moved mattes are off by their interpolation alone: at the edge's kinks, 1/12 / 4 pixels."""
    def motion(first, second):
        asked.append(torch.equal(first, frames[len(asked) // 2 + 1 - len(asked) % 2][0]))
        way = STEP if len(asked) % 2 == 0 else -STEP
        return torch.tensor([way, 0.0]).expand(*first.shape[:2], 2)

    asked: list[bool] = []
    frames = [(image, true, true, trimap) for image, true, _, trimap in clip()]
    results = steady(frames, motion=motion)
    assert len(asked) == 2 * (FRAMES - 1) and all(asked)
    assert error(results, frames) < 0.005**2
    with pytest.raises(ValueError, match="motion gives values that are not finite"):
        steady(frames, motion=lambda first, second: torch.full((*SIZE, 2), math.nan))
    with pytest.raises(TypeError, match="what motion gives is a builtins.NoneType; expected a torch.Tensor"):
        steady(frames, motion=lambda first, second: None)
    with pytest.raises(ValueError, match=r"motion gives shape \[2, 120, 160\]; expected \[120, 160, 2\]"):
        steady(frames, motion=lambda first, second: torch.zeros(2, *SIZE))


def test_a_cut_ends_it_to_the_bit():
    first, second = clip(seed=1), clip(seed=2)
    turned = [(image.flip(0, -1), *rest) for image, *rest in second]  # other colours in other places
    together = steady(first + turned)
    alone = steady(first) + steady(turned)
    assert [r.cut for r in together] == [False] * FRAMES + [True] + [False] * (FRAMES - 1)
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.alpha, other.alpha) and one.blended == other.blended


def test_a_still_cut_of_one_frame():
    here, elsewhere = clip(noise=0.3)[0], texture(*SIZE, seed=5, cell=40)
    results = steady([here, (elsewhere, *here[1:]), here])
    assert [r.cut for r in results] == [False, True, True]
    for result in results:
        assert torch.equal(result.alpha, here[2]) and result.blended == 0


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_mattes_are_contiguous_whatever_went_in(strength):
    frames = clip(frames=3)
    turned = [(image, true, alpha.t().contiguous().t(), trimap.t().contiguous().t())
              for image, true, alpha, trimap in frames]
    for found, expected in zip(steady(turned, strength), steady(frames, strength), strict=True):
        assert found.alpha.is_contiguous() and torch.equal(found.alpha, expected.alpha)


def test_what_is_not_trusted_stays():
    """A subject whose colours change: its own mattes are kept where it has a share."""
    frames = clip(noise=0.2)
    frames = [(image if i % 2 else (image + 0.35) % 1.0, *rest) for i, (image, *rest) in enumerate(frames)]
    for result, (_, _, alpha, trimap) in zip(steady(frames), frames, strict=True):
        kept = (alpha > 0.9) & (trimap == 0.5)
        assert (result.alpha == alpha)[kept].float().mean() > 0.9


def test_background_taken_for_subject_in_one_frame_does_not_stay():
    """There colours change, since it is the background's that move on; the frames around know it for background. The
    own matte of 0.9 is one of 1 + 0.8 + 0.64 + 0.51 before and 0.8 + 0.64 after, 0.2 at most."""
    frames = clip(noise=0.0, step=0.0, behind=0.0)
    image, true, alpha, trimap = (plane.clone() for plane in frames[3])
    spot = (slice(58, 62), slice(108, 111))
    assert (trimap[spot] == 0.5).all() and (true[spot] < 0.1).all()
    image[spot], alpha[spot] = (image[spot] + 0.5) % 1.0, 0.9
    frames[3] = image, true, alpha, trimap
    assert steady(frames)[3].alpha[spot].mean() < 0.3


def test_what_is_unknown_has_less_say_in_the_motion(monkeypatch):
    def recorded(*levels, weight, **how):
        weights.append(weight)
        return flow_between(*levels, weight=weight, **how)

    weights: list[torch.Tensor] = []
    monkeypatch.setattr("vitmatte.video.steady.flow_between", recorded)
    frames = clip(noise=0.0, frames=2)
    steady(frames)
    assert len(weights) == 2
    for weight, (_, _, alpha, trimap) in zip(weights, reversed(frames), strict=True):
        known = trimap != 0.5
        assert torch.equal(weight[known], alpha[known]) and torch.equal(weight[~known], UNSURE * alpha[~known])


def test_nothing_unknown():
    frames = [(image, true, (true > 0.5).float(), (true > 0.5).float()) for image, true, *_ in clip()]
    for result, frame in zip(steady(frames), frames, strict=True):
        assert torch.equal(result.alpha, frame[2]) and result.blended == 0


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_frames_come_late_by_the_look_ahead_and_memory_is_bounded(ahead):
    job, frames = Steady(0.5, ahead=ahead), clip(frames=9)
    held = []
    for i, (image, _, alpha, trimap) in enumerate(frames):
        assert len(job.push(image, alpha, trimap)) == (1 if i >= ahead else 0)
        gc.collect()
        held.append(sum(type(t) is torch.Tensor and tuple(t.shape) == (1, 3, *SIZE) for t in gc.get_objects()))
    assert len(set(held[ahead + 1:])) == 1
    assert len(job.finish()) == ahead and not job.finish()


def test_after_finish_another_clip_begins():
    frames, job = clip(), Steady(0.7)
    runs = []
    for _ in range(2):
        runs.append([r for image, _, alpha, trimap in frames for r in job.push(image, alpha, trimap)] + job.finish())
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one.alpha, other.alpha) and not other.cut


def test_what_is_given_stays_as_it_is():
    frames = clip()
    copies = [[plane.clone() for plane in frame] for frame in frames]
    results = steady(frames)
    results[0].alpha.zero_()
    for frame, copy in zip(frames, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(frame, copy, strict=True))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"strength": -0.1}, "strength is -0.1; expected a number from 0"),
    ({"strength": 1.5}, "strength is 1.5; expected a number from 0"),
    ({"strength": math.nan}, "strength is nan"),
    ({"strength": 0.5, "ahead": -1}, "ahead is -1; expected a whole number"),
    ({"strength": 0.5, "ahead": 1.5}, "ahead is 1.5"),
    ({"strength": 0.5, "motion": 3}, "motion is 3; expected a function of two pictures"),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Steady(**arguments)


@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize(("change", "message"), [
    ({"image": torch.zeros(1, *SIZE, 3)}, "image has shape .* the frames of a batch one by one"),
    ({"image": torch.full((*SIZE, 3), 255.0)}, "image has values from 255"),
    ({"image": torch.zeros(60, 80, 3)}, "alpha"),
    ({"alpha": torch.zeros(1, *SIZE)}, "alpha has shape"),
    ({"alpha": torch.zeros(60, 80)}, "alpha"),
    ({"trimap": torch.full(SIZE, math.nan)}, "trimap has values that are not finite"),
])
def test_bad_frames_are_named(strength, change, message):
    given = {"image": torch.zeros(*SIZE, 3), "alpha": torch.zeros(SIZE), "trimap": torch.zeros(SIZE)}
    with pytest.raises(ValueError, match=message):
        Steady(strength).push(**(given | change))


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_frame_of_another_size_is_refused(strength):
    """And what came before it is there, and goes on; after the end another size begins."""
    job = Steady(strength)
    results = job.push(torch.zeros(*SIZE, 3), torch.zeros(SIZE), torch.zeros(SIZE))
    with pytest.raises(ValueError, match="image is 50x40 and the frame before it 160x120"):
        job.push(torch.zeros(40, 50, 3), torch.zeros(40, 50), torch.zeros(40, 50))
    results += job.push(torch.zeros(*SIZE, 3), torch.zeros(SIZE), torch.zeros(SIZE))
    assert len(results + job.finish()) == 2
    job.push(torch.zeros(40, 50, 3), torch.zeros(40, 50), torch.zeros(40, 50))
    job.finish()
    job.push(torch.zeros(*SIZE, 3), torch.zeros(SIZE), torch.zeros(SIZE))
    with pytest.raises(TypeError, match="alpha is a numpy.ndarray"):
        job.push(torch.zeros(*SIZE, 3), torch.zeros(SIZE).numpy(), torch.zeros(SIZE))


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_clips_of_no_frame_and_of_one(strength):
    assert Steady(strength).finish() == []
    image, _, alpha, trimap = clip(frames=1)[0]
    (result,) = steady([(image, None, alpha, trimap)], strength)
    assert torch.equal(result.alpha, alpha) and result.blended == 0 and not result.cut


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_trimaps_of_one_value(value):
    """Nothing, everything, and nothing that is known."""
    plane = torch.full(SIZE, value)
    results = steady([(image, None, plane, plane) for image, *_ in clip(frames=3)])
    assert len(results) == 3 and all(torch.allclose(result.alpha, plane) for result in results)
