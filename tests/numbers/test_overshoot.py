"""Values that rounding and resampling leave a little outside 0..1: the same rule everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import random_net
from PIL import Image
from torch.nn import functional as F

from vitmatte import MattingModel, cut_out, estimate_foreground, make_trimap, matte, replace_background
from vitmatte.checks import OVERSHOOT
from vitmatte.compositing.overlay import tint
from vitmatte.evaluation.metrics import errors
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.pictures.reading import read_mask
from vitmatte.pictures.writing import write_matte, write_trimap

pytestmark = pytest.mark.numbers

MODEL = MattingModel(random_net(), Preprocessing())
SIDE = 24


def enlarged(x: torch.Tensor, mode: str) -> torch.Tensor:
    """[1, C, h, w] to [1, C, 24, 24] by torch's bicubic filter or Pillow's Lanczos one, without clipping."""
    if mode == "bicubic":
        return F.interpolate(x, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
    planes = [Image.fromarray(plane.numpy()).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for plane in x[0]]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))[None]


def blurred(x: torch.Tensor) -> torch.Tensor:
    """By weights whose sum is 1 up to rounding."""
    weights = torch.softmax(torch.linspace(-1, 1, 7), 0)
    return F.conv2d(F.conv2d(x, weights.view(1, 1, 1, 7), padding=(0, 3)), weights.view(1, 1, 7, 1), padding=(3, 0))


def coarse(channels: int) -> torch.Tensor:
    return torch.rand(1, channels, 6, 6, generator=torch.Generator().manual_seed(channels)).round()


PLANES = {
    "rounding": torch.ones(1, 8, 8) * 1.0000001,
    "below 0": torch.zeros(1, 8, 8) - 1e-7,
    "bicubic": enlarged(coarse(1), "bicubic")[0],
    "lanczos": enlarged(coarse(1), "lanczos")[0],
    "blurred": blurred(torch.ones(1, 1, SIDE, SIDE) * (1 + 2**-20))[0],
    "half": enlarged(coarse(1), "bicubic")[0].half(),
}
PICTURES = {mode: enlarged(coarse(3), mode).permute(0, 2, 3, 1).contiguous() for mode in ("bicubic", "lanczos")}


def beside(plane: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    return picture[:, :plane.shape[-2], :plane.shape[-1]]


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("mode", PICTURES)
def test_planes_count_as_clamped_and_pictures_as_they_are(name, mode):
    plane = PLANES[name]
    picture, within = beside(plane, PICTURES[mode]), plane.clamp(0, 1)
    assert not plane.equal(within) and (picture.min() < -0.01 or picture.max() > 1.01)
    calls = {
        "make_trimap": lambda x: make_trimap(x, inner=2, outer=2, image=picture, strands=2),
        "make_trimap of a hard shape": lambda x: make_trimap(x, inner=2, outer=2, low=0.5, high=0.5),
        "inverted": lambda x: make_trimap(x, inner=2, outer=2, invert=True, low=0.5, high=0.5),
        "marks": lambda x: make_trimap(within, inner=2, outer=2, unknown=x),
        "matte": lambda x: matte(MODEL, picture, x),
        "estimate_foreground": lambda x: estimate_foreground(picture, x),
        "cut_out": lambda x: cut_out(picture, x),
        "replace_background": lambda x: replace_background(picture, x, picture.flip(1), linear=True),
        "tint": lambda x: tint(picture, x),
    }
    for call, function in calls.items():
        found = function(plane)
        assert found.equal(function(within)), call
        assert bool(found.isfinite().all()), call
    plain = cut_out(picture, plane, estimate=False)
    assert plain[..., :3].equal(picture.float()) and plain[..., 3].equal(within.float())
    opaque = plane >= 1
    assert cut_out(picture, plane)[..., :3][opaque].equal(picture[opaque])


def test_backgrounds_and_fills():
    picture, plane = PICTURES["bicubic"], PLANES["bicubic"]
    behind = torch.cat([picture.flip(1), plane[..., None].float()], dim=-1)
    clamped = torch.cat([behind[..., :3], behind[..., 3:].clamp(0, 1)], dim=-1)
    assert replace_background(picture, plane, behind).equal(replace_background(picture, plane, clamped))
    fill = torch.tensor([1.0000001, -1e-7, 0.5, 1.2])
    found = replace_background(picture, plane, behind[:, :9], fit="contain", fill=fill)
    expected = replace_background(picture, plane, clamped[:, :9], fit="contain", fill=fill.clamp(max=1.0000001))
    assert found[..., 3].equal(expected[..., 3]) and found[..., 3].max() <= 1 + 1e-6


@pytest.mark.parametrize("scale", [2.0, -1.0, 255.0, -7.0])
def test_another_scale_is_refused_everywhere(scale):
    picture, plane = PICTURES["bicubic"], PLANES["bicubic"]
    wrong_plane, wrong_picture = plane.clone(), picture.clone()
    wrong_plane.view(-1)[5] = wrong_picture.view(-1)[5] = scale
    calls = [lambda p, a: matte(MODEL, p, a), lambda p, a: make_trimap(a, image=p, strands=1), cut_out,
             estimate_foreground, lambda p, a: replace_background(p, a, picture), tint]
    for call in calls:
        for given in ((wrong_picture, plane), (picture, wrong_plane)):
            with pytest.raises(ValueError, match=rf"(image|alpha|trimap|mask) has values .*{scale:g}.*expected 0..1"):
                call(*given)
    with pytest.raises(ValueError, match="background has values"):
        replace_background(picture, plane, wrong_picture)


def test_filters_stay_within_the_rule():
    """The most that two passes of a filter make of a picture of 0 and 1; the worst picture, for every place between."""
    def most(weights: torch.Tensor) -> float:
        above, below = weights.clamp(min=0).sum(0), weights.clamp(max=0).sum(0).neg()
        return float((2 * above * below).max())

    at = torch.linspace(0, 1, 101)[:-1]
    taps = at + torch.arange(-2, 4)[:, None]
    lanczos = torch.sinc(taps) * torch.sinc(taps / 3) * (taps.abs() < 3)
    assert 0.7 < most(lanczos / lanczos.sum(0)) < 0.72 < OVERSHOOT
    a, x = -0.75, taps.abs()
    far = torch.where(x < 2, a * (((x - 5) * x + 8) * x - 4), 0)
    keys = torch.where(x <= 1, ((a + 2) * x - (a + 3)) * x**2 + 1, far)
    assert 0.4 < most(keys) < 0.46 < OVERSHOOT


def test_metrics():
    true = PLANES["bicubic"][0].numpy()
    found = np.clip(true, 0, 1)
    assert errors(true, found) == errors(found, true) == errors(found, found)
    with pytest.raises(ValueError, match="found has values from .* to 2; expected 0..1"):
        errors(np.full((4, 4), 2.0), np.ones((4, 4)))


def test_written_files_do_not_wrap(tmp_path):
    """As whole numbers -0.01 would be nearly white."""
    plane = PLANES["bicubic"][0]
    write_matte(tmp_path / "matte.png", plane)
    assert torch.allclose(read_mask(tmp_path / "matte.png")[0], plane.clamp(0, 1), atol=1 / 65535)
    write_trimap(tmp_path / "trimap.png", torch.tensor([[-1e-3, 0.5, 1.0000001]]))
    assert np.asarray(Image.open(tmp_path / "trimap.png")).tolist() == [[0, 128, 255]]
    with pytest.raises(ValueError, match="the matte has values from 255 to 255"):
        write_matte(tmp_path / "other.png", torch.full((2, 2), 255.0))
    assert not (tmp_path / "other.png").exists()
