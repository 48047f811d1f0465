"""Tensors of every kind: each call gives the right result, or one ValueError or TypeError that says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from drawn import Given, counts, drawn, frozen, images, planes, sides, unchanged
from hypothesis import event, given
from hypothesis import strategies as st
from nets import random_net, small_config
from rounding import ALPHA

from vitmatte import (
    Carry,
    MattingModel,
    Steady,
    VitMatteForImageMatting,
    VitMatteImageProcessor,
    cut_out,
    estimate_foreground,
    load_model,
    make_trimap,
    matte,
    refine_matte,
    replace_background,
)
from vitmatte.checks import TOLERANCE
from vitmatte.compositing.blend import FITS, SCREENS
from vitmatte.compositing.overlay import tint
from vitmatte.evaluation.metrics import errors
from vitmatte.inference.preprocessing import Preprocessing

NET = random_net(small_config(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, window_block_indices=[0],
                              residual_block_indices=[1]))
MODEL = MattingModel(NET, Preprocessing())


def outcome(call: Callable[[], Any], arguments: list[Any], wrong: list[str]) -> Any:
    """The call's result; None where it was refused, as it had to be, with one of the messages expected.

    The arguments must come out as they went in.
    """
    before = [frozen(argument) for argument in arguments]
    try:
        result = call()
    except (ValueError, TypeError) as error:
        assert wrong, f"refused for no reason that was foreseen: {error!r}"
        assert any(re.search(pattern, str(error)) for pattern in wrong), f"{error!r} says none of {wrong}"
        result = None
    else:
        assert not wrong, f"should have been refused: {wrong}"
    assert all(unchanged(argument, then) for argument, then in zip(arguments, before, strict=True))
    event("refused" if result is None else "result")
    return result


def misfit(image: Given, plane: Given, name: str) -> list[str]:
    """What two arguments that are right by themselves do wrong together."""
    if image.plain is None or plane.plain is None:
        return []
    frames = plane.plain if plane.plain.ndim == 3 else plane.plain[None]
    if image.plain.shape[1:3] != frames.shape[1:]:
        return [rf"image is \d+x\d+ and {name} \d+x\d+"]
    counts = {len(image.plain), len(frames)}
    return [rf"\d (images|of image) and \d (of )?{name}"] if len(counts - {1}) > 1 else []


def check_result(result: torch.Tensor, shape: tuple[int, ...], *pictures: torch.Tensor) -> None:
    """Promised of every tensor that comes out; colours may overshoot as the pictures do that they are made of."""
    assert result.shape == shape and result.dtype == torch.float32 and result.is_contiguous()
    assert not result.requires_grad and not result.is_inference()
    lowest, highest = (pick([end, *(float(pick(p.float().flatten())) for p in pictures)])
                       for pick, end in ((min, 0.0), (max, 1.0)))
    assert bool(((result >= lowest) & (result <= highest)).all())  # false for NaN


SOUND = st.sampled_from([True, True, False])


@st.composite
def pairs(draw: Any, name: str, *, levels: bool = False) -> Any:
    """(image, plane), two times in three with nothing wrong about them."""
    sound = draw(SOUND)
    height, width = draw(sides(sound)), draw(sides(sound))
    fitting, odd = [(1, 1), (2, 2), (3, 1), (1, 3)], [(0, 1), (2, 3), (1, 1), (2, 0)]
    count, other = draw(st.sampled_from(fitting if sound else odd))
    wide = width if sound else draw(st.sampled_from([width, width, width + 1]))
    return (draw(images(count, height, width, sound=sound)),
            draw(planes(name, other, height, wide, levels=levels, sound=sound)))


@drawn(40)
@given(pairs("trimap", levels=True), st.sampled_from(["exact", "grid"]),
       st.sampled_from([None, None, 10**9, np.int64(10**9), 1e9, 0, -1, "much", float("nan"), float("inf"), 10**400]))
def test_matte(pair, strategy, limit):
    image, trimap = pair
    wrong = [*image.wrong, *trimap.wrong, *misfit(image, trimap, "trimap")]
    if limit in (0, -1, "much") or limit is not None and limit not in (10**9, None):
        wrong.append(f"memory_limit is {re.escape(repr(limit))[:50]}")
    if limit == 0:
        wrong[-1] = "memory_limit is 0 bytes; a frame of"
        if len(wrong) == 1 and not bool(((trimap.plain > TOLERANCE) & (trimap.plain < 1 - TOLERANCE)).any()):
            wrong = []  # nothing to compute
    how = {"strategy": strategy, "memory_limit": limit}
    alpha = outcome(lambda: matte(MODEL, image.value, trimap.value, **how), [image.value, trimap.value], wrong)
    if alpha is None:
        return
    frames = trimap.plain if trimap.plain.ndim == 3 else trimap.plain[None]
    check_result(alpha, (max(len(image.plain), len(frames)), *frames.shape[1:]))
    sure = frames.float().expand_as(alpha)
    foreground, background = sure >= 1 - TOLERANCE, sure <= TOLERANCE
    assert bool((alpha[foreground] == 1).all()) and bool((alpha[background] == 0).all())
    assert alpha.equal(matte(MODEL, image.plain, trimap.plain, **how)), "differs from that of contiguous tensors"


NUMBERS = st.one_of(st.sampled_from([0, 1, 3, 2.5, np.float32(2.5), np.int64(3), 1e300]),
                    st.sampled_from([-1, float("nan"), float("inf"), "3", None, 10**400, 1 + 1j]))


GOOD = st.sampled_from([0, 1, 3, 2.5, np.float32(2.5), np.int64(3), 1e300])
BAD = st.sampled_from([-1, float("nan"), float("inf"), "3", None, 10**400, 1 + 1j])
MARKS = ("unknown", "foreground", "background")


@drawn(40)
@given(st.data(), SOUND)
def test_make_trimap(data, sound):
    height, width, count = (data.draw(strategy(sound)) for strategy in (sides, sides, counts))
    mask = data.draw(planes("mask", count, height, width, levels=data.draw(st.booleans()), sound=sound))
    arguments, wrong, options, plain = [mask.value], [*mask.wrong], {}, {}
    frames = 1 if mask.plain is not None and mask.plain.ndim == 2 else count
    for name in (*MARKS, "image"):
        if not data.draw(st.booleans()):
            continue
        number = data.draw(st.sampled_from([frames, 1] if sound else [count, 1, 2]))
        said = "the image" if name == "image" else f"the {name} mask"
        extra = data.draw(images(number, height, width, sound=sound) if name == "image"
                          else planes(said, number, height, width, sound=sound))
        if extra.value is None:  # that is to give none
            continue
        options[name], plain[name] = extra.value, extra.plain
        arguments.append(extra.value)
        wrong += extra.wrong
        if mask.plain is not None and extra.plain is not None:
            flat = extra.plain[..., 0] if name == "image" else extra.plain
            wrong += misfitting(flat, mask.plain, frames, said)
    for name in ("inner", "outer", "strands", "fill_holes", "remove_specks"):
        if data.draw(st.booleans()):
            bad = not sound and data.draw(st.booleans())
            options[name] = plain[name] = data.draw(BAD if bad else GOOD)
            wrong += [f"{name} is "] if bad else []
    if "image" not in options and options.get("strands", 0) in (1, 3, 2.5, 1e300):
        wrong.append("strands need the image")
    sure = [plain[name] >= 0.5 for name in MARKS[1:] if plain.get(name) is not None]
    if len(sure) == 2 and sure[0].shape[-2:] == sure[1].shape[-2:] and bool((sure[0] & sure[1]).any()):
        wrong.append("overlap: no pixel can be both")
    options["invert"] = plain["invert"] = data.draw(st.booleans())
    trimap = outcome(lambda: make_trimap(mask.value, **options), arguments, wrong)
    if trimap is None:
        return
    check_result(trimap, tuple(mask.plain.shape))
    assert set(trimap.unique().tolist()) <= {0.0, 0.5, 1.0}
    assert trimap.equal(make_trimap(mask.plain, **plain)), "differs from that of contiguous tensors"
    for name, value in (("foreground", 1), ("background", 0)):
        if name in plain:
            marked = (plain[name] >= 0.5).view(-1, height, width).expand(frames, -1, -1)
            assert bool((trimap.view(-1, height, width)[marked] == value).all())


def misfitting(plane: torch.Tensor, mask: torch.Tensor, frames: int, name: str) -> list[str]:
    """What a mark or an image that is right by itself does wrong beside the mask."""
    count = len(plane) if plane.ndim == 3 else 1
    if plane.shape[-2:] != mask.shape[-2:]:
        return [rf"{name} is \d+x\d+ and the mask \d+x\d+"]
    return [rf"\d frames of {name} and \d of the mask"] if count not in (1, frames) else []


@drawn(40)
@given(pairs("alpha"), st.booleans())
def test_estimate_foreground(pair, both):
    image, alpha = pair
    wrong = [*image.wrong, *alpha.wrong, *misfit(image, alpha, "alpha")]
    found = outcome(lambda: estimate_foreground(image.value, alpha.value, return_background=both),
                    [image.value, alpha.value], wrong)
    if found is None:
        return
    plain = estimate_foreground(image.plain, alpha.plain, return_background=both)
    frames = alpha.plain if alpha.plain.ndim == 3 else alpha.plain[None]
    count, picture = max(len(image.plain), len(frames)), image.plain[..., :3].float()
    for which, (part, expected) in enumerate(zip(*((x if both else (x,)) for x in (found, plain)), strict=True)):
        check_result(part, (count, *image.plain.shape[1:3], 3), picture)
        assert part.equal(expected), "differs from that of contiguous tensors"
        sure = (frames.float().clamp(0, 1) == 1 - which).expand(count, -1, -1)
        assert part[sure].equal(picture.expand(count, -1, -1, -1)[sure])


@drawn(25)
@given(pairs("trimap", levels=True), st.data(), SOUND, st.sampled_from([0, 0.05, 1, np.float32(1), -1, "1", None]))
def test_refine_matte(pair, data, sound, strength):
    image, trimap = pair
    height, width = data.draw(sides(sound)), data.draw(sides(sound))
    size = image.plain.shape[1:3] if image.plain is not None and sound else (height, width)
    alpha = data.draw(planes("alpha", data.draw(counts(sound)), *size, sound=sound))
    wrong = [*image.wrong, *alpha.wrong, *trimap.wrong, *misfit(image, alpha, "alpha"),
             *misfit(image, trimap, "trimap")]
    planes_of = [plane.plain if plane.plain is None or plane.plain.ndim == 3 else plane.plain[None]
                 for plane in (alpha, trimap)]
    numbers = {len(x) for x in (image.plain, *planes_of) if x is not None} - {1}
    if len(numbers) > 1:
        wrong.append(r"expected as many, or one of")
    if strength in (-1, "1", None):
        wrong.append("strength is ")
    how = {"strength": strength}
    found = outcome(lambda: refine_matte(image.value, alpha.value, trimap.value, **how),
                    [image.value, alpha.value, trimap.value], wrong)
    if found is None:
        return
    frames = planes_of[1]
    check_result(found, (max(numbers, default=1), *frames.shape[1:]))
    sure = frames.float().expand_as(found)
    assert bool((found[sure >= 1 - TOLERANCE] == 1).all()) and bool((found[sure <= TOLERANCE] == 0).all())
    assert found.equal(refine_matte(image.plain, alpha.plain, trimap.plain, **how)), "differs from contiguous tensors"


@drawn(40)
@given(pairs("alpha"), st.booleans(), st.sampled_from([*SCREENS, "red", 3, None]))
def test_cut_out(pair, estimate, despill):
    image, alpha = pair
    wrong = [*image.wrong, *alpha.wrong, *misfit(image, alpha, "alpha")]
    wrong += [] if despill in SCREENS else [f"despill is {despill!r}; expected one of none, green, blue"]
    found = outcome(lambda: cut_out(image.value, alpha.value, estimate=estimate, despill=despill),
                    [image.value, alpha.value], wrong)
    if found is None:
        return
    frames = alpha.plain if alpha.plain.ndim == 3 else alpha.plain[None]
    count = max(len(image.plain), len(frames))
    check_result(found, (count, *image.plain.shape[1:3], 4), image.plain[..., :3])
    assert found[..., 3].equal(frames.float().clamp(0, 1).expand(count, -1, -1))
    assert found.equal(cut_out(image.plain, alpha.plain, estimate=estimate, despill=despill))


FILLS = {"none": None, "three": torch.tensor([0.25, 0.5, 1.0]), "four": torch.ones(4), "half": torch.ones(3).half()}
WRONG_FILLS = {"two": torch.rand(2), "large": torch.full((3,), 300.0), "nan": torch.full((3,), float("nan")),
               "list": [1, 1, 1], "int": torch.ones(3).int(), "picture": torch.rand(1, 1, 1, 3),
               "scalar": torch.tensor(1.0)}


@drawn(40)
@given(st.data(), pairs("alpha"), SOUND, st.booleans(), st.booleans())
def test_replace_background(data, pair, sound, estimate, linear):
    image, alpha = pair
    wrong = [*image.wrong, *alpha.wrong, *misfit(image, alpha, "alpha")]
    frames = {len(x.plain) for x in pair if x.plain is not None and x.plain.ndim > 2}
    fitting = 1 if len(frames) > 1 or not frames else frames.pop()
    if data.draw(st.integers(0, 3)) == 0:
        colour = torch.tensor([0.3, 0.5, 0.2, 0.7, 0.1])[:data.draw(st.sampled_from([3, 4] if sound else [3, 1, 5, 0]))]
        behind = (Given(colour, [], colour) if len(colour) in (3, 4)
                  else Given(colour, [r"background has shape \[\d\]; expected a colour \[3 or 4\], or"]))
    else:
        number = data.draw(st.sampled_from([fitting, 1] if sound else [1, 2, 3, 0]))
        height, width = data.draw(sides(sound)), data.draw(sides(sound))
        behind = data.draw(images(number, height, width, name="background", counted=4, sound=sound))
    depth = behind.plain.shape[-1] if behind.plain is not None else 4
    fill = data.draw(st.sampled_from(list(FILLS if sound else {**FILLS, **WRONG_FILLS})))
    fit = data.draw(st.sampled_from(FITS if sound else [*FITS, "crop"]))
    wrong += [*behind.wrong, *(["fill (is|has) "] if fill in WRONG_FILLS or fill == "four" and depth == 3 else [])]
    if not wrong:
        planes_, behind_ = (x if x.ndim > 2 else x[None] for x in (alpha.plain, behind.plain))
        together = {len(image.plain), len(planes_), len(behind_) if behind_.ndim == 4 else 1} - {1}
        wrong += [r"\d images, \d of alpha and \d of background"] if len(together) > 1 else []
    if fit == "crop" and not wrong:
        if behind.plain.ndim == 1:
            fit = "cover"  # a colour has no size to fit
        else:
            wrong.append("fit is 'crop'; expected one of cover")
    how = {"estimate": estimate, "linear": linear, "fit": fit, "fill": {**FILLS, **WRONG_FILLS}[fill]}
    found = outcome(lambda: replace_background(image.value, alpha.value, behind.value, **how),
                    [image.value, alpha.value, behind.value], wrong)
    if found is None:
        return
    assert found.shape == (max(together, default=1), *image.plain.shape[1:3], depth) and found.dtype == torch.float32
    assert found.is_contiguous() and not found.requires_grad and bool(found.isfinite().all())
    reach = [x.plain[..., :3].float() for x in (image, behind)]
    low, high = (pick(end, *(float(pick(x.flatten())) for x in reach)) for pick, end in ((min, 0), (max, 1)))
    assert bool(((found > low - 1e-5) & (found < high + 1e-5)).all())
    assert found.equal(replace_background(image.plain, alpha.plain, behind.plain, **how))


@drawn(30)
@given(pairs("trimap", levels=True))
def test_tint(pair):
    image, trimap = pair
    wrong = [*image.wrong, *trimap.wrong, *misfit(image, trimap, "trimap")]
    found = outcome(lambda: tint(image.value, trimap.value), [image.value, trimap.value], wrong)
    if found is not None:
        check_result(found, (max(len(image.plain), len(trimap.plain) if trimap.plain.ndim == 3 else 1),
                             *image.plain.shape[1:3], 3), image.plain[..., :3])
        assert found.equal(tint(image.plain, trimap.plain))


ARRAY_LAYOUTS = {"plain": lambda x: x, "negative": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
                 "every second": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2], "Fortran": np.asfortranarray,
                 "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")), "read-only": np.require}


@drawn(40)
@given(st.data(), SOUND)
def test_metrics(data, sound):
    height, width = data.draw(sides(sound)), data.draw(sides(sound))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    true, wrong = random.random((height, width)), []
    found = np.clip(true + random.normal(0, 0.1, true.shape), 0, 1)
    area = random.random(true.shape) < 0.5
    kind = "right" if sound else data.draw(st.sampled_from(["nan", "range", "int", "bool", "complex", "shape", "three",
                                                            "graph", "meta", "text", "none", "area"]))
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.float16, np.longdouble]))
    given_, plain = found.astype(dtype), found.astype(dtype).astype(np.float64)
    given_ = ARRAY_LAYOUTS[data.draw(st.sampled_from(list(ARRAY_LAYOUTS)))](given_)
    mask = area
    odd = {"nan": lambda x: x * np.nan, "range": lambda x: x - 2, "int": lambda x: x.astype(int),
           "bool": lambda x: x > 0, "complex": lambda x: x + 1j, "shape": lambda x: np.pad(x, 1),
           "three": lambda x: x[None],
           "graph": lambda x: torch.rand(3, 3, requires_grad=True), "meta": lambda x: torch.rand(3, 3, device="meta"),
           "text": lambda x: "matte", "none": lambda x: None}
    if kind in odd:
        given_ = odd[kind](given_.astype(np.float64))
        wrong = ["found (is|has) "]
    if kind == "area":
        mask, wrong = area.astype(np.float32), [r"area is float32; expected bool", "found is"]
    if 0 in true.shape:
        wrong = [r"(found|true) (is|has) "]
    elif not area.any():
        wrong = [*wrong, "area is empty"]
    result = outcome(lambda: errors(given_, true, mask), [true, area], wrong)
    if result is not None:
        assert result == errors(plain, true, area)
        assert all(np.isfinite(x) and x >= 0 for x in (result.sad, result.mse, result.grad, result.conn))


@drawn(40)
@given(st.data(), SOUND)
def test_net(data, sound):
    height, width = (data.draw(st.sampled_from([16, 32, 48])) for _ in range(2))
    batch = data.draw(st.sampled_from([1, 2]))
    x = torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(height + width))
    kind = "right" if sound else data.draw(st.sampled_from(["array", "int", "double", "half", "complex", "bool", "meta",
                                                            "three", "channels", "size", "empty", "labels"]))
    odd = {"array": lambda: x.numpy(), "int": lambda: x.int(), "double": lambda: x.double(), "half": lambda: x.half(),
           "complex": lambda: x + 0j, "bool": lambda: x > 0, "meta": lambda: x.to("meta"), "three": lambda: x[0],
           "channels": lambda: x[:, :3], "size": lambda: x[..., :-1], "empty": lambda: x[..., :0]}
    labels = None
    if kind in odd:
        x = odd[kind]()
    elif kind == "labels":
        labels = data.draw(st.sampled_from([np.zeros((batch, 1, height, width)), torch.zeros(batch, height, width),
                                            torch.zeros(batch, 1, height, width + 1), torch.zeros(1)]))
    elif data.draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    wrong = ["labels is"] if kind == "labels" else ["pixel_values is"] if kind in odd else []
    result = outcome(lambda: NET(x, labels=labels), [x], wrong)
    if result is not None:
        alphas = result.alphas
        assert alphas.shape == (batch, 1, height, width) and alphas.dtype == torch.float32
        assert bool(((alphas >= 0) & (alphas <= 1)).all()) and alphas.requires_grad  # training is what it is for
        assert torch.allclose(alphas, NET(x.contiguous()).alphas, atol=ALPHA)


@drawn(40)
@given(st.data(), SOUND)
def test_processor(data, sound):
    """Every kind of array: rescaled, normalised, joined, padded; or one error."""
    height, width, count = (data.draw(strategy(True)) for strategy in (sides, sides, counts))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    pictures = random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    maps = random.choice(np.array([0, 128, 255], np.uint8), (count, height, width))
    dtype = data.draw(st.sampled_from([np.uint8, np.float32, np.float64, np.int32, np.float16]))
    layout = ARRAY_LAYOUTS[data.draw(st.sampled_from(list(ARRAY_LAYOUTS)))]
    images_, maps_ = ([layout(x.astype(dtype)) for x in some] for some in (pictures, maps))
    odd = {"two channels": ([x[..., :2] for x in images_], maps_, "image has shape"),
           "size": (images_, [np.pad(x, 1) for x in maps_], "expected equal sizes"),
           "count": (images_, maps_ * 2, r"\d+ images and \d+ trimaps"),
           "four dimensions": (images_, [x[None, None] for x in maps_], "trimap"),
           "none": ([None] * count, maps_, "image"),
           "text": (["picture.png"] * count, maps_, "image")}
    wrong = []
    if not sound:
        images_, maps_, said = odd[data.draw(st.sampled_from(list(odd)))]
        wrong = [said]
    elif data.draw(st.booleans()):
        images_, maps_ = ([torch.from_numpy(np.ascontiguousarray(x.astype(x.dtype.newbyteorder("=")))) for x in some]
                          for some in (images_, maps_))
    processor = VitMatteImageProcessor()
    found = outcome(lambda: processor(images_, maps_, return_tensors="pt", input_data_format="channels_last"),
                    images_ + maps_, wrong)
    if found is None:
        return
    pixels = found["pixel_values"]
    assert pixels.shape == (count, 4, -(-height // 32) * 32, -(-width // 32) * 32) and pixels.dtype == torch.float32
    for i in range(count):
        expected = np.dstack([pictures[i] / 127.5 - 1, maps[i] / 255])
        assert np.allclose(pixels[i, :, :height, :width].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    assert not pixels[:, :, height:].any() and not pixels[..., width:].any()


IMAGE = torch.rand(2, 40, 33, 3, generator=torch.Generator().manual_seed(1))
PLANE = (torch.rand(2, 40, 33, generator=torch.Generator().manual_seed(2)) * 3).floor() / 2
CALLS = {
    "matte": lambda: matte(MODEL, IMAGE, PLANE),
    "refined": lambda: matte(MODEL, IMAGE, PLANE, refine=0.1),
    "refine_matte": lambda: refine_matte(IMAGE, IMAGE[..., 0], PLANE, strength=0.1),
    "make_trimap": lambda: make_trimap(PLANE, inner=2, outer=3, image=IMAGE, strands=3),
    "estimate_foreground": lambda: estimate_foreground(IMAGE, PLANE),
    "cut_out": lambda: cut_out(IMAGE, PLANE),
    "replace_background": lambda: replace_background(IMAGE, PLANE, IMAGE[:, :9], linear=True),
    "tint": lambda: tint(IMAGE, PLANE),
    "Steady": lambda: steadied(IMAGE[0], PLANE[0]),
    "Carry": lambda: carried(IMAGE[0], PLANE[0]),
}


def steadied(image: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    job = Steady(0.7)
    found = [one for _ in range(3) for one in job.push(image, plane, plane)] + job.finish()
    return found[1].alpha


def carried(image: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    job = Carry(most_lost=1.0)
    job.start(image, plane, plane)
    return job.trimap(image).trimap


@pytest.fixture
def restored():
    yield
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("surroundings", ["float64", "float16", "autocast", "grad", "inference", "filled"])
@pytest.mark.parametrize("name", list(CALLS))
def test_surroundings_change_nothing(name, surroundings, restored):
    """Default types, autocast, modes of autograd, and what fresh memory holds (filled with NaN)."""
    expected = CALLS[name]()
    if surroundings.startswith("float"):
        torch.set_default_dtype(getattr(torch, surroundings))
        found = CALLS[name]()
    elif surroundings == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = CALLS[name]()
    elif surroundings == "filled":
        torch.use_deterministic_algorithms(True)  # torch.utils.deterministic.fill_uninitialized_memory is on
        found = CALLS[name]()
    else:
        with torch.inference_mode(surroundings == "inference"):
            found = CALLS[name]()
    assert found.dtype == torch.float32 and found.equal(expected) and not found.is_inference()


@pytest.mark.parametrize("name", list(CALLS))
def test_results_are_the_callers(name):
    """They may be changed in place and take part in training."""
    found = CALLS[name]()
    found *= torch.full((1,), 0.5)
    (found * torch.ones(1, requires_grad=True)).sum().backward()


@pytest.mark.parametrize(("model", "error", "said"), [
    (NET, TypeError, "model is a VitMatteForImageMatting; expected a MattingModel, which load_model gives"),
    ("vitmatte-tiny", TypeError, "model is a str; expected a MattingModel"),
])
def test_what_is_no_model(model, error, said):
    with pytest.raises(error, match=said):
        matte(model, IMAGE, PLANE)


def test_models_that_cannot_run():
    net = random_net()
    net.train()
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=r"the net is in training mode, .*: call model\.net\.eval"):
        matte(MattingModel(net, Preprocessing()), IMAGE, PLANE)
    assert all(value.equal(kept[name]) for name, value in net.state_dict().items())
    empty = VitMatteForImageMatting(net.config, device="meta").eval()
    with pytest.raises(ValueError, match="the net's weights are on the device meta"):
        matte(MattingModel(empty, Preprocessing()), IMAGE, PLANE)
    for divisor in (1, 8, 24, 40):
        with pytest.raises(ValueError, match=f"multiple of {divisor} pixels .* need a multiple of 16"):
            MattingModel(NET, Preprocessing(divisor=divisor))
    for device in ("abacus", 3.5, "cuda:x"):
        with pytest.raises(ValueError, match="device is "):
            matte(MODEL, IMAGE, PLANE, device=device)
        with pytest.raises(ValueError, match="device is "):
            load_model(device=device)


def test_a_panorama_behind_takes_no_more_than_is_seen(monkeypatch):
    """Only the middle of a background is scaled, so that its proportions cost no memory; and it is the same middle."""
    from vitmatte.compositing import blend as compositing

    sizes = []
    real = compositing._scaled
    monkeypatch.setattr(compositing, "_scaled", lambda x, *size: (sizes.append(size[:2]), real(x, *size))[1])
    x = torch.linspace(0, 1, 4001).view(1, 1, -1, 1).expand(1, 20, -1, 3)
    found = compositing.fit(x, 60, 45, "cover")
    assert found.shape == (1, 60, 45, 3) and max(sizes[0]) < 150
    assert abs(float(found.mean()) - 0.5) < 1e-3 and float(found[0, 0, -1, 0] - found[0, 0, 0, 0]) < 0.01
    assert compositing.fit(x, 60, 45, "tile").equal(x[:, :, :45].repeat(1, 3, 1, 1))
    small = torch.rand(1, 30, 50, 3)
    whole = real(small, 40, 67, lambda share: None)[:, :, 3:63]
    assert compositing.fit(small, 40, 60, "cover").equal(whole)  # where little is left out all is as it was
