"""Masks carried on over subjects that turn: in the picture, and so that another side of them is seen."""

from __future__ import annotations

import math

import torch
from moving import shifted, texture

from vitmatte import make_trimap
from vitmatte.video.carry import Carry, LostError
from vitmatte.video.field import sample

SIZE = (120, 200)


def reached(made, most):
    """Carries the first mask of (image, alpha) on with mattes that are right in the unknown area alone, and asserts
    that fewer known pixels than `most` of the subject's area are wrong. The count of frames held, and what was said."""
    carry = Carry()
    for i, (image, alpha) in enumerate(made):
        if not i:
            carry.start(image, alpha, make_trimap((alpha[None] > 0.5).float(), inner=5, outer=6)[0])
            continue
        try:
            trimap = carry.trimap(image).trimap
        except LostError as error:
            return i - 1, str(error)
        known = trimap != 0.5
        wrong = int((known & ((trimap - alpha).abs() > 0.5)).sum())
        assert wrong <= most * float(alpha.sum()), i
        carry.go_on(torch.where(known, trimap, alpha))
    return i, ""


def turned(i, angle=0.07):
    """A textured ellipse that turns in the picture, over a background that moves."""
    y, x = torch.arange(SIZE[0])[:, None] - 59.5, torch.arange(SIZE[1]) - 99.5
    cos, sin = math.cos(angle * i), math.sin(angle * i)
    u, v = cos * x + sin * y, cos * y - sin * x
    alpha = (28 * (1 - torch.hypot(u / 50, v / 28)) + 0.5).clamp(0, 1)
    front = sample(texture(*SIZE, 1).permute(2, 0, 1)[None], u + 99.5, v + 59.5).permute(1, 2, 0)
    return alpha[..., None] * front + (1 - alpha[..., None]) * shifted(texture(*SIZE, 2), -i), alpha


def rolled(i, angle=0.035):
    """A cylinder that turns about its upright axis: its edge stays, what is seen of it moves."""
    y, x = torch.arange(SIZE[0])[:, None] - 59.5, torch.arange(SIZE[1]) - 99.5
    alpha = (35.5 - x.abs()).clamp(0, 1) * (y.abs() < 40)
    around = 35 * (torch.asin((x / 35).clamp(-1, 1)) + angle * i)
    layer, share = texture(SIZE[0], 300, 1).permute(2, 0, 1)[None], alpha[..., None]
    front = sample(layer, (around + 150).expand(SIZE), (y + 59.5).expand(SIZE))
    return share * front.permute(1, 2, 0) + (1 - share) * shifted(texture(*SIZE, 2), -i), alpha


def test_a_subject_that_turns_in_the_picture_is_held():
    """By 112 degrees."""
    held, said = reached((turned(i) for i in range(29)), 0.01)
    assert held == 28 and not said


def test_what_looks_another_way_is_lost_before_known_pixels_are_wrong():
    held, said = reached((rolled(i) for i in range(40)), 0.01)
    assert held >= 5 and "is not the moved one of the mask in" in said and "give a mask for this frame" in said
