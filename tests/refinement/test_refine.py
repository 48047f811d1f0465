"""The refinement: the equations' solution whatever the tiles, and what it leaves alone.

Tolerances: the error's root mean square is asked of the function, and the tests hold it to that (two results that are
compared: to twice that). In float32 the entries of the matrix, 25 in a row and of magnitude up to 9, are off by U of
themselves; a system whose smallest eigenvalue is at least d then moves by up to 25 * 9 U / d of the solution's size.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from cancel import Cancel
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paths import SUPPORT
from rounding import U

from vitmatte import refine_matte
from vitmatte.refinement import laplacian, refine, solve
from vitmatte.refinement.blocks import BLOCK, MARGIN, Rectangle, blocks_in, inside, occupied_blocks, read, rectangles

pytestmark = pytest.mark.numbers

CPU = torch.device("cpu")
KINDS = ("all", "corners", "edges", "specks", "box", "band")


def scene(height: int, width: int, seed: int, kind: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(image [1, H, W, 3], alpha [1, H, W], trimap [1, H, W]), float64: smooth colours and noise, of 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.linspace(0, 3, height, dtype=torch.float64)[:, None], torch.linspace(0, 5, width, dtype=torch.float64)
    base = torch.stack([(x + y).sin(), (x * y).cos(), (2 * y - x).sin()], dim=-1) / 3 + 0.5
    noise = torch.rand(height, width, 3, generator=generator, dtype=torch.float64)
    image = ((base + 0.1 * noise) * 255).round().clamp(0, 255) / 255
    alpha = torch.rand(height, width, generator=generator, dtype=torch.float64)
    trimap = (torch.rand(-(-height // 9), -(-width // 9), generator=generator) < 0.5).double()
    trimap = trimap.repeat_interleave(9, 0).repeat_interleave(9, 1)[:height, :width].contiguous()
    if kind == "all":
        trimap[:] = 0.5
    elif kind == "corners":
        trimap[0, 0] = trimap[-1, -1] = trimap[0, -1] = trimap[-1, 0] = 0.5
    elif kind == "edges":
        trimap[:, -3:] = 0.5
        trimap[:2, :] = 0.5
    elif kind == "specks":
        trimap[torch.rand(height, width, generator=generator) < 0.05] = 0.5
        trimap[height // 2, width // 2] = 0.5
    elif kind == "box":
        trimap[height // 4:height // 4 + 40, width // 3:width // 3 + 30] = 0.5
    else:
        trimap[(torch.arange(height)[:, None] - torch.arange(width)).abs() < 12] = 0.5
    return image[None], alpha[None], trimap[None]


def matting_laplacian(image: np.ndarray) -> np.ndarray:
    """L [H W, H W] of image [H, W, 3], window by window as the paper has it."""
    height, width = image.shape[:2]
    total = np.zeros((height * width, height * width))
    numbers = np.arange(height * width).reshape(height, width)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            pixels = numbers[y - 1:y + 2, x - 1:x + 2].ravel()
            colours = image.reshape(-1, 3)[pixels]
            centred = colours - colours.mean(axis=0)
            inverse = np.linalg.inv(centred.T @ centred / 9 + 1e-6 / 9 * np.eye(3))
            total[np.ix_(pixels, pixels)] += np.eye(9) - (1 + centred @ inverse @ centred.T) / 9
    return total


def solution(image: torch.Tensor, alpha: torch.Tensor, trimap: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """What `refine_matte` approximates, not brought to 0..1: [H, W], by dense algebra."""
    unknown = (trimap[0] == 0.5).flatten().numpy()
    given = alpha[0].flatten().numpy()[unknown]
    data = 0.01 / strength * (0.05 + (2 * given - 1) ** 2)
    matrix = matting_laplacian(image[0].numpy())
    known = trimap[0].flatten().numpy()[~unknown]
    right = data * given - matrix[np.ix_(unknown, ~unknown)] @ known
    found = trimap[0].flatten().numpy().copy()
    found[unknown] = np.linalg.solve(matrix[np.ix_(unknown, unknown)] + np.diag(data), right)
    return torch.from_numpy(found).view(trimap.shape[1:])


def apart(one: torch.Tensor, other: torch.Tensor, area: torch.Tensor) -> float:
    """Root mean square difference in an area."""
    return float((one.double() - other.double())[area].square().mean().sqrt())


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 45), seed=st.integers(0, 99), kind=st.sampled_from(KINDS),
       strength=st.sampled_from([0.1, 1.0, 10.0]))
@example(height=40, width=45, seed=0, kind="band", strength=1.0)
@example(height=2, width=40, seed=0, kind="all", strength=1.0)
@example(height=34, width=33, seed=1, kind="edges", strength=1.0)
@example(height=24, width=23, seed=4, kind="all", strength=10.0)  # converges slowly
@example(height=9, width=11, seed=89, kind="specks", strength=10.0)  # solved in a few steps of many
def test_it_is_the_equations_solution(height, width, seed, kind, strength):
    image, alpha, trimap = scene(height, width, seed, kind)
    unknown = trimap[0] == 0.5
    expected = solution(image, alpha, trimap, strength).clamp(0, 1)
    found = refine_matte(image, alpha, trimap, strength=strength, tolerance=1e-5)[0]
    assert found[~unknown].equal(trimap[0][~unknown].float())
    assert apart(found, expected, unknown) <= 1e-5 + U
    single = refine_matte(image.float(), alpha.float(), trimap.float(), strength=strength, tolerance=1e-4)[0]
    rounding = 25 * 9 * U / (0.01 / strength * 0.05)
    assert apart(single, expected, unknown) <= 1e-4 + rounding


@pytest.mark.parametrize("kind", ["box", "band"])
def test_parity_with_pymatting(kind):
    """Its sparse Laplacian and a direct solution."""
    pymatting = pytest.importorskip("pymatting")
    from scipy.sparse import diags
    from scipy.sparse.linalg import spsolve

    image, alpha, trimap = scene(90, 110, 3, kind)
    unknown = (trimap[0] == 0.5).numpy().ravel()
    matrix = pymatting.cf_laplacian(image[0].numpy(), epsilon=1e-6, radius=1).tocsr()
    given = alpha[0].numpy().ravel()[unknown]
    data = 0.01 * (0.05 + (2 * given - 1) ** 2)
    right = data * given - matrix[unknown][:, ~unknown] @ trimap[0].numpy().ravel()[~unknown]
    expected = spsolve((matrix[unknown][:, unknown] + diags(data)).tocsc(), right).clip(0, 1)
    for tolerance in (1e-3, 1e-6):
        found = refine_matte(image, alpha, trimap, tolerance=tolerance)[0].numpy().ravel()[unknown]
        assert np.sqrt(np.square(found - expected).mean()) <= tolerance + U


def test_the_laplacian_of_the_paper():
    """Products with the stencil are those with the dense matrix, in float64 to the rounding of its inverses."""
    image, _, _ = scene(2 * BLOCK + 3, BLOCK - 1, 0, "all")
    unknown = torch.ones(image.shape[1:3], dtype=torch.bool)
    occupied = occupied_blocks(unknown)
    blocks = blocks_in(occupied, Rectangle(0, *occupied.shape[:1], 0, occupied.shape[1]), CPU)
    every = slice(0, len(blocks))
    entries, diagonal = laplacian.stencil(read(image[0], blocks, every, MARGIN),
                                          inside(unknown, blocks, every, margin=1, edge=1), torch.float64)
    plane = torch.rand(unknown.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    found = laplacian.apply(entries, diagonal, read(plane, blocks, every, MARGIN))
    expected = torch.from_numpy(matting_laplacian(image[0].numpy()) @ plane.numpy().ravel()).view_as(plane)
    expected = torch.where(inside(plane, blocks, every), read(expected, blocks, every), 0)
    found = torch.where(inside(plane, blocks, every), found, 0)
    assert (found - expected).abs().max() <= 1e-8  # covariances of 1e-7 and more, inverted by digits of 1e-16


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 999), most=st.integers(1, 40),
       overlap=st.integers(0, 2))
def test_rectangles_cover_what_is_occupied_once(height, width, seed, most, overlap):
    occupied = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < 0.4
    counts = torch.zeros(height, width, dtype=torch.int64)
    for rectangle in rectangles(occupied, most, overlap):
        counts[rectangle.top:rectangle.bottom, rectangle.left:rectangle.right] += 1
        one = rectangle.bottom - rectangle.top == rectangle.right - rectangle.left == 1
        assert one or int(rectangle.grown(overlap, height, width).of(occupied).sum()) <= most
    assert counts.max() <= 1 and bool((counts[occupied] == 1).all())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("all", 16), ("band", 1), ("band", 9), ("edges", 9)])
def test_any_tiles_give_the_same(monkeypatch, kind, most):
    image, alpha, trimap = (plane.float() for plane in scene(150, 130, 1, kind))
    unknown = trimap[0] == 0.5
    exact = refine_matte(image, alpha, trimap, tolerance=1e-5)[0]
    tolerance = 1e-3
    monkeypatch.setattr(solve.Sizes, "within", lambda *_: solve.Sizes(tile=most, run=3, made=2))
    sweeps = []
    monkeypatch.setattr(refine, "rectangles", lambda *how: sweeps.append(rectangles(*how)) or sweeps[-1])
    found = refine_matte(image, alpha, trimap, tolerance=tolerance)[0]
    assert len(sweeps[0]) > 1
    assert apart(found, exact, unknown) <= 2 * tolerance


@pytest.mark.parametrize("kind", ["all", "box", "band"])
def test_it_ends_soon_after_the_tolerance_is_kept(kind):
    """The estimate is of the error that is asked for, not of a norm that is many times as large."""
    image, alpha, trimap = scene(150, 130, 3, kind)
    unknown = trimap[0] == 0.5
    exact = refine_matte(image, alpha, trimap, tolerance=1e-6)[0]
    error = apart(refine_matte(image, alpha, trimap, tolerance=2e-3)[0], exact, unknown)
    assert 2e-3 / 20 <= error <= 2e-3


@pytest.mark.parametrize("case", [(27, 30, 622, "all", 30.0), (31, 40, 21, "all", 100.0), (17, 36, 664, "all", 30.0),
                                  (18, 20, 112, "box", 1.0), (16, 14, 963, "band", 0.002)], ids=str)
def test_a_loose_tolerance_is_kept_however_fast_it_converges(case):
    """Slowly: the first steps lower the error by little, which must not be taken for its end. Fast: a few steps tell
    little of those to come."""
    height, width, seed, kind, strength = case
    image, alpha, trimap = scene(height, width, seed, kind)
    expected = solution(image, alpha, trimap, strength).clamp(0, 1)
    found = refine_matte(image, alpha, trimap, strength=strength, tolerance=4e-3)[0]
    assert apart(found, expected, trimap[0] == 0.5) <= 4e-3


def test_any_runs_give_the_same(monkeypatch):
    """But for sums in another order, which conjugate gradients make larger before they converge."""
    image, alpha, trimap = scene(150, 130, 2, "band")
    expected = refine_matte(image, alpha, trimap, tolerance=1e-6)
    monkeypatch.setattr(solve.Sizes, "within", lambda *_: solve.Sizes(tile=1000, run=2, made=1))
    assert apart(refine_matte(image, alpha, trimap, tolerance=1e-6), expected, trimap == 0.5) <= 2e-6


def test_a_strength_of_0_is_the_matte_itself():
    image, alpha, trimap = (plane.float() for plane in scene(70, 50, 4, "band"))
    given = torch.where(trimap == 0.5, alpha, trimap)
    assert refine_matte(image, given, trimap, strength=0).equal(given)
    weak = refine_matte(image, given, trimap, strength=1e-9)
    assert (weak - given).abs().max() <= 1e-4  # data weights of 5e5 and more against a matrix of 9


def test_without_anything_unknown_the_trimap():
    image, alpha, _ = scene(40, 50, 0, "all")
    trimap = (alpha > 0.5).double()
    assert refine_matte(image, alpha, trimap).equal(trimap.float())


@pytest.mark.parametrize("kind", ["all", "band"])
def test_a_picture_of_one_colour(kind):
    """There the matte becomes smooth, and one that is constant stays."""
    _, alpha, trimap = (plane.float() for plane in scene(60, 70, 0, kind))
    image = torch.full((1, 60, 70, 3), 0.3)
    found = refine_matte(image, alpha, trimap, tolerance=1e-4)
    assert apart(found[0], solution(image.double(), alpha.double(), trimap.double()).clamp(0, 1), trimap[0] == 0.5) \
        <= 1e-4 + 25 * 9 * U / 5e-4
    if kind == "all":
        constant = refine_matte(image, torch.full_like(alpha, 0.25), trimap)
        assert (constant - 0.25).abs().max() <= 1e-6


def test_tiles_keep_the_tolerance_where_rounds_converge_slowly():
    """A fine checkerboard at full strength: a round changes little there though the solution is far."""
    height, width = 330, 340
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    image = ((rows // 3 + columns // 3) % 2).float()[None, ..., None].repeat(1, 1, 1, 3)
    distance = ((rows / height - 0.5) ** 2 + (columns / width - 0.5) ** 2).sqrt()
    noise = torch.randn(height, width, generator=torch.Generator().manual_seed(1))
    alpha = ((0.35 - distance) * 6 + 0.5 + 0.2 * noise).clamp(0, 1)[None]
    trimap = torch.full((1, height, width), 0.5)
    exact = refine_matte(image, alpha.double(), trimap, strength=100, tolerance=1e-6)
    found = refine_matte(image, alpha, trimap, strength=100, memory_limit=refine.MIN_MEMORY)
    assert (found - exact).square().mean().sqrt() <= refine.TOLERANCE


@pytest.mark.parametrize("tolerance", [0, 1e-200, 2, 1e200])
def test_tolerances_out_of_range_are_refused(tolerance):
    image, alpha, trimap = scene(9, 9, 0, "all")
    with pytest.raises(ValueError, match="tolerance is .*expected a number from 1e-12 to 1"):
        refine_matte(image, alpha, trimap, tolerance=tolerance)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (3, 3), (1, 50)], ids=str)
def test_pictures_without_a_window_stay(size):
    image, alpha = torch.rand(1, *size, 3), torch.rand(1, *size)
    trimap = torch.full((1, *size), 0.5)
    found = refine_matte(image, alpha, trimap)
    assert found.shape == alpha.shape
    if min(size) < 3:
        assert (found - alpha).abs().max() <= U


def test_what_lies_outside_is_brought_to_0_and_1():
    image, alpha, trimap = scene(40, 45, 0, "band")
    expected = solution(image, alpha, trimap, 30.0)
    assert expected.min() < -0.01 and expected.max() > 1.01  # or the test shows nothing
    found = refine_matte(image, alpha, trimap, strength=30.0, tolerance=1e-5)[0]
    assert found.min() == 0 and found.max() == 1
    assert (found - expected.clamp(0, 1)).abs().max() <= 1e-3


def test_batches_and_one_for_all():
    one = [scene(40, 50, seed, "band") for seed in (0, 1)]
    image, alpha, trimap = (torch.cat(planes).float() for planes in zip(*one, strict=True))
    both = refine_matte(image, alpha, trimap)
    for i in range(2):
        assert refine_matte(image[i:i + 1], alpha[i], trimap[i:i + 1])[0].equal(both[i])
    assert refine_matte(image[:1], alpha, trimap[0])[0].equal(both[0])
    assert len(refine_matte(image, alpha[0], trimap[0])) == 2
    again = refine_matte(image, alpha, trimap)
    assert again.equal(both)  # the same bits


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    image, alpha, trimap = (plane.to(dtype) for plane in scene(40, 50, 0, "band"))
    found = refine_matte(image, alpha, trimap)
    assert found.dtype == torch.float32 and found.equal(refine_matte(image.float(), alpha.float(), trimap.float()))


def test_a_callers_settings_change_nothing():
    image, alpha, trimap = (plane.float() for plane in scene(40, 50, 0, "band"))
    given = image.clone(), alpha.clone(), trimap.clone()
    expected = refine_matte(image, alpha, trimap)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = refine_matte(image.requires_grad_(), alpha, trimap)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.equal(expected) and not found.requires_grad
    channels_first = image.detach().permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    four = torch.cat([channels_first, torch.rand(1, 40, 50, 1)], dim=-1)
    assert refine_matte(four, alpha, trimap).equal(expected)
    assert all(before.equal(after) for before, after in zip(given, (image, alpha, trimap), strict=True))


def test_cancelling_is_heard_at_once_and_progress_ends():
    image, alpha, trimap = (plane.float() for plane in scene(100, 90, 0, "band"))
    seen, asked = [], []
    refine_matte(image, alpha, trimap, on_progress=lambda *now: seen.append(now),
                 check_interrupt=lambda: asked.append(1))
    assert seen == sorted(set(seen)) and seen[-1] == (100, 100) and len(seen) > 10 and len(asked) > 30
    for last in (1, len(asked) // 3, len(asked)):
        cancel = Cancel(last)
        with pytest.raises(KeyboardInterrupt):
            refine_matte(image, alpha, trimap, check_interrupt=cancel)
        assert cancel.left == 0


def test_a_solution_that_is_not_reached_is_said(monkeypatch, caplog):
    image, alpha, trimap = scene(40, 50, 0, "all")
    monkeypatch.setattr(solve, "MAX_STEPS", 30)
    with caplog.at_level(logging.WARNING):
        found = refine_matte(image, alpha, trimap)
    assert "stopped after 30 steps" in caplog.text and bool(found.isfinite().all())


@pytest.mark.parametrize(("change", "error", "said"), [
    ({"strength": -1}, ValueError, r"strength is -1; expected a number from 0 \(off\) to 100; 1 is usual"),
    ({"strength": 101.0}, ValueError, "strength is 101.0; expected a number from 0"),
    ({"strength": float("nan")}, ValueError, "strength is nan"),
    ({"strength": "much"}, ValueError, "strength is 'much'"),
    ({"tolerance": 0}, ValueError, "tolerance is 0; expected a number from 1e-12 to 1"),
    ({"device": "meta"}, ValueError, "device 'meta' cannot be used"),
    ({"memory_limit": 1000}, ValueError, "memory_limit is 1000 bytes; a refinement takes at least 16777216"),
    ({"alpha": torch.rand(1, 5, 6)}, ValueError, "image is 9x8 and alpha 6x5"),
    ({"trimap": torch.rand(1, 5, 6)}, ValueError, "image is 9x8 and trimap 6x5"),
    ({"alpha": torch.rand(3, 8, 9)}, ValueError, "2 of image and 3 of alpha"),
    ({"image": torch.rand(1, 8, 9, 3), "alpha": torch.rand(3, 8, 9)}, ValueError,
     "1 of image, 3 of alpha and 2 of trimap: expected as many, or one of any"),
    ({"image": torch.rand(2, 8, 9, 3) * 255}, ValueError, "divide 8-bit values by 255"),
    ({"alpha": torch.full((2, 8, 9), float("nan"))}, ValueError, "alpha has values that are not finite"),
    ({"image": np.zeros((2, 8, 9, 3))}, TypeError, "torch.from_numpy"),
])
def test_what_is_refused(change, error, said):
    given = {"image": torch.rand(2, 8, 9, 3), "alpha": torch.rand(2, 8, 9), "trimap": torch.rand(2, 8, 9)}
    with pytest.raises(error, match=said):
        refine_matte(**{**given, **change})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
@pytest.mark.parametrize("case", [{"height": 400, "width": 600, "share": 0.7, "limit": 16 * 2**20},
                                  {"height": 600, "width": 800, "share": 1.0, "limit": 64 * 2**20}],
                         ids=lambda case: f"{case['limit'] // 2**20} MiB")
def test_the_peak_keeps_the_limit(case):
    """Besides the result and what is unknown; the first is cut into tiles."""
    command = [sys.executable, str(SUPPORT / "peak_refine.py"), json.dumps(case)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["measured"]
    assert found <= 1.1 * case["limit"] + (4 + 1) * case["height"] * case["width"] + 2**20
