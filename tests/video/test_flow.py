"""The flow against motions that are known."""

from __future__ import annotations

import math

import pytest
import torch
from moving import disc, picture, shifted, texture

from vitmatte.video.field import Flow, sample
from vitmatte.video.flow import flow_between, levels_of
from vitmatte.video.tiles import TILE, Tiles
from vitmatte.video.trust import is_cut, move

pytestmark = pytest.mark.numbers

# Linear interpolation of a wave of P pixels a period is off by at most (2 pi / P)^2 / 8 of its amplitude, which shows
# as that share of 1 / (2 pi / P) pixels of motion: (2 pi / P) / 8 = 0.07 pixels of a level for the 11 pixels a period
# that dominate these textures (bumps of 6 pixels). The finest level's pixels are two of the picture's from 320 on.
BOUND = 0.07
EVEN = levels_of(torch.zeros(40, 50, 3))


def errors(first, second, expected, **given):
    """[H, W]: how far the flow is from what is expected, [H, W, 2]."""
    return (flow_between(levels_of(first), levels_of(second), **given).dense() - expected).norm(dim=-1)


def inside(motion, margin=8):
    """[H, W], bool: pixels that stay in the picture, and lie in it by a margin, where windows are whole."""
    height, width = motion.shape[:2]
    y, x = torch.arange(height)[:, None] + motion[..., 1], torch.arange(width) + motion[..., 0]
    return (x >= margin) & (y >= margin) & (x < width - margin) & (y < height - margin)


@pytest.mark.parametrize("size", [(120, 160), (321, 400)])
@pytest.mark.parametrize("way", [(0.0, 0.0), (1.0, 0.0), (-2.5, 3.25), (11.4, -6.0)])
def test_translations(size, way):
    layer = texture(*size, seed=0, cell=6 if size[0] < 320 else 12)
    expected = torch.tensor(way).expand(*size, 2)
    found = errors(layer, shifted(layer, *way), expected)[inside(expected, 16)]
    scale = 1 if size[0] < 320 else 2
    assert found.mean() < BOUND * scale and found.quantile(0.99) < 3 * BOUND * scale


@pytest.mark.parametrize(("angle", "scale"), [(0.03, 1.0), (-0.05, 1.0), (0.0, 1.04), (0.02, 0.97)])
def test_affine_motions(angle, scale):
    """Within a cell of 4 pixels and a window of 3 cells, motion differs by up to 8.5 pixels times the map's deviation
    from a translation; it is averaged where it is symmetric, so a tenth of that is allowed on top."""
    size, second = (160, 200), texture(160, 200, seed=3)
    y, x = torch.arange(160.0)[:, None] - 79.5, torch.arange(200.0) - 99.5
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    u, v = cos * x - sin * y + 99.5, sin * x + cos * y + 79.5  # where the first picture's points are in the second
    first = sample(second.permute(2, 0, 1)[None], u, v).permute(1, 2, 0)
    expected = torch.stack([u - (x + 99.5), v - (y + 79.5)], -1)
    slack = 0.85 * math.hypot(cos - 1, sin)
    found = errors(first, second, expected)[inside(expected, 16)]
    assert found.mean() < BOUND + slack and size == tuple(expected.shape[:2])


@pytest.mark.parametrize(("angle", "scale"), [(0.9, 1.0), (-2.5, 1.0), (0.0, 1.6)])
def test_motion_over_many_frames_turns_and_enlarges(angle, scale):
    """A disc over another background; what is known of its motion is off by up to 1.4 pixels, and nothing is known (0)
    from 8 pixels, two cells, beyond its edge on. Within 10 pixels of the edge, on both sides, it is the disc's."""
    size, alpha = (160, 200), disc(160, 200, 99.5, 79.5, 45)
    y, x = torch.arange(160.0)[:, None] - 79.5, torch.arange(200.0) - 99.5
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    u, v = cos * x - sin * y, sin * x + cos * y
    second = picture(disc(*size, 99.5, 79.5, 45 * scale), 0, behind=9)
    layer = texture(*size, seed=1).permute(2, 0, 1)[None]
    share = alpha[..., None]
    first = share * sample(layer, u + 99.5, v + 79.5).permute(1, 2, 0) + (1 - share) * texture(*size, seed=2)
    expected = torch.stack([u - x, v - y], -1)
    off = torch.stack([torch.sin(y / 20).expand(size), torch.cos(x / 20).expand(size)], -1)
    radius = torch.hypot(x, y)
    start = Flow.of((expected + off) * (radius < 53)[..., None])
    found = errors(first, second, expected, weight=alpha, start=start)
    assert found[(radius > 35) & (radius < 45)].mean() < 0.5 and found[(radius >= 45) & (radius < 55)].mean() < 1.0


def test_the_motion_is_the_subjects():
    """In the band, half of whose window is a background that moves the other way; without the matte it is a mixture."""
    alpha = [disc(160, 200, 90 + 3 * i, 80, 40) for i in range(2)]
    images = [picture(alpha[i], 3 * i, 0, behind=-4 * i) for i in range(2)]
    band = (disc(160, 200, 90, 80, 45) > 0) & (disc(160, 200, 90, 80, 36) < 1)
    expected = torch.tensor([3.0, 0.0]).expand(160, 200, 2)
    with_matte = errors(*images, expected, weight=alpha[0])[band]
    second = errors(*images, expected, second_weight=alpha[1])[band]
    without = errors(*images, expected)[band]
    assert with_matte.mean() < 0.3 and second.mean() < 0.5 and without.mean() > 1


def test_the_area_alone_is_computed_and_alike():
    alpha = [disc(360, 480, 200 + 5 * i, 180, 90) for i in range(2)]
    images = [picture(alpha[i], 5 * i) for i in range(2)]
    area = (disc(360, 480, 200, 180, 100) > 0) & (disc(360, 480, 200, 180, 80) < 1)
    levels = [levels_of(image) for image in images]
    some = flow_between(*levels, area=area, weight=alpha[0]).dense()
    everything = flow_between(*levels, weight=alpha[0]).dense()
    assert (some - everything).norm(dim=-1)[area].mean() < 0.1
    tiles = Tiles((180, 240), area, area.device)
    held = torch.zeros(tiles.padded, dtype=torch.bool)
    for row, column in zip(tiles.row.tolist(), tiles.column.tolist(), strict=True):
        held[row * TILE:(row + 1) * TILE, column * TILE:(column + 1) * TILE] = True
    assert held[:180, :240].repeat_interleave(2, 0).repeat_interleave(2, 1)[area].all()
    assert 0 < len(tiles) < tiles.down * tiles.across


def test_cells_and_tiles_return_what_they_are_given():
    tiles = Tiles((70, 50), None, torch.device("cpu"))
    ramp = torch.arange(70.0)[:, None] * 2 + torch.arange(50.0)
    cut = tiles.cut(ramp[None, None])
    assert cut.shape == (-(-70 // TILE) * -(-50 // TILE), 1, TILE, TILE) and torch.equal(cut[0, 0], ramp[:TILE, :TILE])
    pooled = tiles.pooled(cut)
    assert pooled.shape == (1, 1, *tiles.cells) and pooled[0, 0, 1, 2] == ramp[4:8, 8:12].mean()
    x, y = tiles.middles()
    assert torch.allclose(pooled[0, 0, :17, :12], (2 * y + x)[:17, :12])
    assert torch.allclose(tiles.dense(pooled)[0, 0, 8:16, 8:16], ramp[8:16, 8:16], atol=1e-4)


def test_one_after_the_other():
    first = Flow.of(torch.tensor([2.0, 1.0]).expand(20, 30, 2))
    ramp = torch.stack([torch.arange(30.0).expand(20, 30) / 10, torch.zeros(20, 30)], -1)
    total = first.after(Flow.of(ramp)).dense()
    assert torch.allclose(total[:18, :27, 0], 2 + (torch.arange(27.0) + 2) / 10, atol=1e-5)
    assert torch.allclose(total[..., 1], torch.ones(20, 30))


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 31), (64, 320)])
def test_any_size(size):
    image = torch.rand(*size, 3, generator=torch.Generator().manual_seed(0))
    motion = flow_between(levels_of(image), levels_of(image), weight=torch.ones(size)).dense()
    assert motion.shape == (*size, 2) and motion.abs().max() < 0.01


def test_an_even_picture_has_no_motion():
    image = torch.full((90, 90, 3), 0.5)
    assert torch.equal(flow_between(levels_of(image), levels_of(image)).dense(), torch.zeros(90, 90, 2))


def test_there_and_back():
    there, back = (Flow.of(torch.tensor([way, 0.0]).expand(20, 30, 2)) for way in (4.0, -3.0))
    x, y = torch.tensor([5.0, 27.0]), torch.tensor([5.0, 5.0])
    moved = move(x, y, there, back)
    assert torch.equal(moved.x, x + 4) and torch.allclose(moved.off, torch.ones(2))
    assert 0 < moved.trust[0] < 1 and moved.trust[1] == 0  # the second leaves the frame


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_cuts(noise):
    alpha, made = disc(120, 160, 80, 60, 30), torch.Generator().manual_seed(1)

    def levels(image):
        return levels_of((image + noise * torch.randn(image.shape, generator=made)).clamp(0, 1))

    here, next_one = picture(alpha, 0), picture(disc(120, 160, 86, 60, 30), 6, behind=-6)
    elsewhere = texture(120, 160, seed=9, cell=30)
    assert not is_cut(levels(here), levels(here)) and not is_cut(levels(here), levels(next_one))
    assert not is_cut(levels(here), levels(here * 0.9))
    assert is_cut(levels(here), levels(elsewhere)) and is_cut(levels(elsewhere), levels(here))
    assert is_cut(levels(here), levels(torch.zeros(120, 160, 3)))
    assert not is_cut(levels(torch.full((120, 160, 3), 0.5)), levels(torch.full((120, 160, 3), 0.5)))


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: levels_of(torch.zeros(40, 50)), ValueError, "image has shape"),
    (lambda: levels_of(torch.zeros(1, 40, 50, 3)), ValueError, "the frames of a batch one by one"),
    (lambda: levels_of(torch.full((40, 50, 3), math.nan)), ValueError, "image has values that are not finite"),
    (lambda: levels_of(torch.zeros(40, 50, 3).numpy()), TypeError, "image is a numpy.ndarray"),
    (lambda: levels_of(torch.zeros(0, 50, 3)), ValueError, "it is empty"),
    (lambda: flow_between(EVEN, levels_of(torch.zeros(60, 50, 3))), ValueError, r"second is of size \(60, 50\)"),
    (lambda: flow_between(EVEN, EVEN, area=torch.ones(3, 3) > 0), ValueError, r"area is of size \(3, 3\)"),
    (lambda: flow_between(EVEN, EVEN, weight=torch.ones(3, 3)), ValueError, r"weight is of size \(3, 3\)"),
    (lambda: flow_between(EVEN, EVEN, start=Flow.of(torch.zeros(3, 3, 2))), ValueError, "start is of size"),
    (lambda: flow_between(EVEN, EVEN, second_weight=torch.full((40, 50), math.nan)), ValueError,
     "second_weight has values that are not finite"),
    (lambda: Flow.of(torch.zeros(40, 50)), ValueError, r"dense has shape \[40, 50\]; expected \[height, width, 2\]"),
    (lambda: Flow.of(torch.zeros(40, 50, 3)), ValueError, r"expected \[height, width, 2\]"),
    (lambda: Flow.of(torch.full((40, 50, 2), math.inf)), ValueError, "dense has values that are not finite"),
])
def test_bad_frames_and_planes_are_named(call, error, said):
    with pytest.raises(error, match=said):
        call()
