"""Progress and cancelling within a frame, and that working strip by strip changes no result."""

from __future__ import annotations

import math

import pytest
import torch
from cancel import Cancel
from torch.nn import functional

from vitmatte import cut_out, estimate_foreground, make_trimap, refine_matte, replace_background, steps
from vitmatte.compositing import blend
from vitmatte.compositing.blend import fit
from vitmatte.compositing.overlay import tint
from vitmatte.trimap import components, strands

HEIGHT, WIDTH = 700, 90  # pixels: a few strips high
RANDOM = torch.Generator().manual_seed(1)
IMAGE = torch.rand(1, HEIGHT, WIDTH, 3, generator=RANDOM)
MASK = torch.zeros(1, HEIGHT, WIDTH)
MASK[:, 50:650, 30:60] = 1
ALPHA = functional.avg_pool2d(MASK, 9, stride=1, padding=4)

CALLS = {
    "trimap": lambda **how: make_trimap(MASK, inner=9, outer=9, **how),
    "trimap of a smooth mask": lambda **how: make_trimap(ALPHA, inner=9, outer=9, low=0.5, high=0.5, **how),
    "trimap with strands": lambda **how: make_trimap(MASK, inner=3, outer=3, strands=20, image=IMAGE, **how),
    "trimap without holes": lambda **how: make_trimap(MASK, fill_holes=9, remove_specks=9, **how),
    "foreground": lambda **how: estimate_foreground(IMAGE, ALPHA, **how),
    "cut-out": lambda **how: cut_out(IMAGE, ALPHA, despill="green", **how),
    "background": lambda **how: replace_background(IMAGE, ALPHA, IMAGE[:, :90], linear=True, **how),
    "refinement": lambda **how: refine_matte(IMAGE, ALPHA, ALPHA, **how),
    "tint": lambda **how: tint(IMAGE, ALPHA, **how),
}


@pytest.mark.parametrize("name", CALLS)
def test_progress_moves_within_a_frame_and_cancel_is_heard(name):
    seen, asked = [], []
    CALLS[name](on_progress=lambda *now: seen.append(now), check_interrupt=lambda: asked.append(1))
    assert seen == sorted(seen) and len(set(seen)) == len(seen) and seen[-1] == (100, 100)
    assert len(seen) >= 3 and len(asked) >= len(seen)
    assert max(after[0] - before[0] for before, after in zip([(0,), *seen], seen, strict=False)) <= 50

    for last in (1, len(asked) // 2, len(asked)):
        cancel = Cancel(last)
        with pytest.raises(KeyboardInterrupt):
            CALLS[name](check_interrupt=cancel)
        assert cancel.left == 0  # nothing went on after it


def test_progress_of_a_batch_counts_its_frames():
    seen = []
    make_trimap(MASK.expand(3, -1, -1), on_progress=lambda *now: seen.append(now))
    assert seen == sorted(seen) and {(100, 300), (200, 300), (300, 300)} <= set(seen)


@pytest.mark.parametrize("rows", [1, 7, 699])
def test_strips_change_nothing(monkeypatch, rows):
    whole = {name: call() for name, call in CALLS.items()}
    monkeypatch.setattr(components, "ROWS", rows)
    monkeypatch.setattr(strands, "ROWS", rows)
    monkeypatch.setattr(steps.strips, "__defaults__", (steps.ignore, rows))
    for name, call in CALLS.items():
        assert (call() - whole[name]).abs().max() <= 1e-6, name


@pytest.mark.parametrize("reach", [1, 2, 5, 16])
def test_closing_is_that_of_the_square(reach):
    planes = torch.rand(2, 3, 40, 23, generator=RANDOM)

    def closed(values):
        size = 2 * reach + 1
        highest = functional.max_pool2d(values, size, stride=1, padding=min(reach, size // 2))
        return -functional.max_pool2d(-highest, size, stride=1, padding=reach)

    lines = torch.maximum(closed(planes) - planes, planes + closed(-planes)).amax(dim=1)
    assert strands._lines(planes, reach).equal(lines)
    marked = planes[:, 0] > 0.6
    around = functional.avg_pool2d(marked.float().unsqueeze(1), 2 * reach + 1, stride=1, padding=reach,
                                   count_include_pad=False)[:, 0]
    assert (strands._share_around(marked, reach) - around).abs().max() < 1e-6


def test_strands_of_a_large_picture_take_no_more_work_per_pixel(monkeypatch):
    """A window of k x k is passed along the rows and the columns, in spans that double: log k and not k x k."""
    passes = []
    real = torch.maximum
    monkeypatch.setattr(torch, "maximum", lambda *given, **how: (passes.append(1), real(*given, **how))[1])
    monkeypatch.setattr(functional, "max_pool2d", None)
    monkeypatch.setattr(functional, "avg_pool2d", None)
    for side, most in ((600, 3), (6000, 6)):  # windows of 3 and 21 pixels
        passes.clear()
        image = torch.rand(1, 60, side, 3, generator=RANDOM)
        strands.fine_texture(image)
        assert len(passes) <= 8 * most
    assert math.ceil(math.log2(21)) < 6


def test_8_bit_pictures_are_exact_at_the_threshold():
    """Lines of exactly NOISE_FACTOR times the noise are none, on any ground."""
    levels = torch.full((1, 80, 80), 100.0)
    levels += torch.arange(80) % 2 * 4  # the noise: a line of 4 steps in every place
    for ground in range(0, 140, 20):
        image = ((levels + ground) / 255).unsqueeze(-1).expand(-1, -1, -1, 3).clone()
        image[:, 40] += 8 / 255  # 12 steps in all where the noise is at its top
        assert not strands.fine_texture(image).any(), ground
        image[:, 40] += 1 / 255
        reach = strands._reach(image)
        assert (strands._lines((image * strands.LEVELS).round().permute(0, 3, 1, 2).short(), reach)
                > 3 * 4 * 32).any(), ground


def test_scaling_a_channel_at_a_time_is_scaling(monkeypatch):
    picture = torch.rand(2, 31, 47, 4, generator=RANDOM)
    for height, width in ((90, 60), (13, 20), (31, 80)):
        planes = functional.interpolate(picture.permute(0, 3, 1, 2), size=[height, width], mode="bicubic",
                                        antialias=True, align_corners=False).clamp(0, 1)
        assert (fit(picture, height, width, "stretch") - planes.permute(0, 2, 3, 1)).abs().max() < 1e-6


@pytest.mark.parametrize(("text", "expected"), [
    ("#00b140", [0, 0xb1, 0x40]), ("#fff", [255, 255, 255]), ("#0a3", [0, 0xaa, 0x33]), ("red", [255, 0, 0]),
    (" Teal ", [0, 128, 128]), ("#FFFFFF", [255, 255, 255]),
])
def test_colours(text, expected):
    assert blend.colour(text).mul(255).round().tolist() == expected


@pytest.mark.parametrize("text", ["", "#12", "#12345", "#12345678", "#ggg", "reddish", "rgb(1,2,3)", None, "#fff\n#"])
def test_refused_colours(text):
    with pytest.raises(ValueError, match="colour is .*expected #RRGGBB, #RGB or a name"):
        blend.colour(text)
