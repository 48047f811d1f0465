"""What public functions give is the caller's: plain tensors that may be changed and trained with, whatever mode of
torch the caller is in, and in which one the inputs and what came before were made."""

from __future__ import annotations

import inspect
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from moving import disc, picture
from nets import random_net, small_config
from PIL import Image

import vitmatte
from vitmatte import Carry, Steady, VitMatteConfig, VitMatteForImageMatting, VitMatteImageProcessor
from vitmatte.compositing import blend
from vitmatte.compositing.overlay import tint
from vitmatte.pictures import reading
from vitmatte.trimap.known import known_areas
from vitmatte.video.field import Flow
from vitmatte.video.flow import flow_between, levels_of
from vitmatte.weights.save import save_net

SIZE = (96, 128)
MODES = {"plain": nullcontext, "no_grad": torch.no_grad, "inference": torch.inference_mode}


def made(i=0):
    """A frame's picture, mask, matte and trimap; the subject moves by two pixels a frame."""
    mask = disc(*SIZE, 50 + 2 * i, 48, 24)
    trimap = torch.full(SIZE, 0.5).masked_fill(disc(*SIZE, 50 + 2 * i, 48, 18) == 1, 1.0)
    trimap = trimap.masked_fill(disc(*SIZE, 50 + 2 * i, 48, 30) == 0, 0.0)
    noise = torch.rand(SIZE, generator=torch.Generator().manual_seed(i))
    return picture(mask, 2.0 * i), mask, torch.where(trimap == 0.5, (mask + 0.2 * noise).clamp(0, 1), trimap), trimap


FRAMES = [made(i) for i in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a picture and a mask."""
    path = tmp_path_factory.mktemp("plain")
    save_net(random_net(small_config()), path / "model")
    image = Image.fromarray((FRAMES[0][0].numpy() * 255).astype(np.uint8))
    image.save(path / "picture.png"), image.convert("L").save(path / "mask.png"), image.save(path / "cutout.png")
    return path


def steadied(strength, frames, **options):
    steady = Steady(strength, **options)
    found = [one for image, _, alpha, trimap in frames for one in steady.push(image, alpha, trimap)]
    return [one.alpha for one in found + steady.finish()]


def carried(frames):
    carry = Carry()
    carry.start(frames[0][0], *frames[0][2:])
    found = []
    for image, _, alpha, _ in frames[1:]:
        found.append(carry.trimap(image).trimap)
        carry.go_on(alpha)
    return found


def told(folder, frames):
    found = []
    image, _, _, trimap = frames[0]
    vitmatte.matte(vitmatte.load_model(folder / "model"), image[None], trimap,
                   on_frame=lambda _, alpha: found.append(alpha))
    return found


def motion(first, second):
    return torch.tensor([2.0, 0.0], dtype=torch.float32).expand(*first.shape[:2], 2)


# What it gives of (the folder of `folder`, frames), tensors in the end; names of `vitmatte` as they are there.
CALLS = {
    "matte": lambda at, f: [vitmatte.matte(vitmatte.load_model(at / "model"), f[0][0][None], f[0][3]), *told(at, f)],
    "refine_matte": lambda at, f: [vitmatte.refine_matte(f[0][0][None], f[0][2], f[0][3])],
    "make_trimap": lambda at, f: [vitmatte.make_trimap(f[0][1], inner=2, outer=2)],
    "cut_out": lambda at, f: [vitmatte.cut_out(f[0][0][None], f[0][2])],
    "replace_background": lambda at, f: [vitmatte.replace_background(f[0][0][None], f[0][2], f[1][0][None])],
    "estimate_foreground": lambda at, f: [vitmatte.estimate_foreground(f[0][0][None], f[0][2])],
    "Steady": lambda at, f: [*steadied(0, f), *steadied(0.8, f), *steadied(0.8, f, ahead=0),
                             *steadied(0.8, f, motion=motion)],
    "Carry": lambda at, f: carried(f),
    "load_model": lambda at, f: vitmatte.load_model(at / "model").net.state_dict().values(),
    "load_net": lambda at, f: vitmatte.load_net(at / "model").state_dict().values(),
    "VitMatteForImageMatting": lambda at, f: [
        *VitMatteForImageMatting.from_pretrained(at / "model").state_dict().values(),
        *VitMatteForImageMatting(VitMatteConfig.from_pretrained(at / "model")).state_dict().values()],
    "VitDetBackbone": lambda at, f: vitmatte.VitDetBackbone(small_config().backbone_config).state_dict().values(),
    "VitDetModel": lambda at, f: vitmatte.VitDetModel(small_config().backbone_config).state_dict().values(),
    **dict.fromkeys(
        ("VitMatteImageProcessor", "VitMatteImageProcessorFast", "VitMatteImageProcessorPil"),
        lambda at, f: [*VitMatteImageProcessor()(f[0][0], f[0][3], do_rescale=False, return_tensors="pt").values(),
                       VitMatteImageProcessor().pad_image(f[0][1][:50])]),
    "tint": lambda at, f: [tint(f[0][0][None], f[0][3])],
    "composite": lambda at, f: [blend.composite(f[0][0][None], f[0][2][None], f[1][0][None], linear=linear)
                                for linear in (False, True)],
    "without_spill": lambda at, f: [blend.without_spill(f[0][0], "green")],
    "fit": lambda at, f: [blend.fit(f[0][0][None], 40, 50, how) for how in blend.FITS],
    "colour": lambda at, f: [blend.colour("red")],
    "known_areas": lambda at, f: known_areas(f[0][3]),
    "levels_of": lambda at, f: levels_of(f[0][0]).pictures,
    "flow_between": lambda at, f: [flow_between(levels_of(f[0][0]), levels_of(f[1][0])).grid],
    "Flow": lambda at, f: [*(flow := Flow.of(motion(f[0][0], None))).at(f[0][1], f[0][1]), flow.after(flow).grid,
                           flow.dense()],
    "reading": lambda at, f: [reading.read_image(at / "picture.png"), reading.read_photograph(at / "picture.png").image,
                              reading.read_mask(at / "mask.png"), reading.read_cutout(at / "cutout.png"),
                              reading.read_trimap(at / "mask.png")],
}
NO_TENSORS = {  # a net's forward is torch's affair, and so are a program's tensors, which are those of its net
    "RELEASED", "BackboneOutput", "DownloadError", "ImageMattingOutput", "LostError", "MattingModel", "VitDetConfig",
    "VitMatteConfig", "download", "export_onnx", "export_program"}


def test_every_public_name_is_among_them():
    assert set(vitmatte.__all__) - NO_TENSORS <= set(CALLS) and set(vitmatte.__all__) >= NO_TENSORS


@pytest.mark.parametrize("inputs", ["plain", "inference"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
def test_results_are_plain_and_the_callers_own(folder, name, mode, inputs):
    with MODES[inputs]():
        frames = [[plane.clone() for plane in frame] for frame in FRAMES]
    torch.manual_seed(0)
    with MODES[mode]():
        found = list(CALLS[name](folder, frames))
        assert torch.is_inference_mode_enabled() == (mode == "inference")
        assert torch.is_grad_enabled() == (mode == "plain")
    assert found and not any(one.is_inference() for one in found)
    assert not {one.untyped_storage().data_ptr() for one in found} & {
        plane.untyped_storage().data_ptr() for frame in frames for plane in frame}
    for one in found:
        if one.is_floating_point():
            with torch.no_grad():
                one.mul_(0.5)
            (one * torch.ones(1, requires_grad=True)).sum().backward()
    for frame, before in zip(frames, FRAMES, strict=True):
        assert all(torch.equal(*pair) for pair in zip(frame, before, strict=True))


@pytest.mark.parametrize("made_in", MODES)
@pytest.mark.parametrize("name", ["composite", "fit", "without_spill"])
def test_autograd_passes_where_the_caller_lets_it(folder, name, made_in):
    frames = [[plane.clone() for plane in frame] for frame in FRAMES]
    frames[0][0].requires_grad_()
    with MODES[made_in]():
        found = CALLS[name](folder, frames)
    assert all(one.requires_grad == (made_in == "plain") for one in found)


@pytest.mark.parametrize("order", [("inference", "plain"), ("plain", "inference"), ("inference", "no_grad")])
@pytest.mark.parametrize("name", ["Steady", "Carry"])
def test_frames_of_one_mode_serve_those_of_another(name, order):
    """And what the caller does with its tensors, and with the results, afterwards changes nothing."""
    def run(spoil, *modes):
        job, found = Steady(0.8) if name == "Steady" else Carry(), []
        buffers = [torch.empty_like(plane) for plane in FRAMES[0]]
        for i, frame in enumerate(FRAMES):
            with MODES[modes[i % len(modes)]]():
                planes = [plane.clone() for plane in frame]
                if not any(plane.is_inference() for plane in planes) and spoil:
                    planes = [buffer.copy_(plane) for buffer, plane in zip(buffers, frame, strict=True)]
                image, _, alpha, trimap = planes
                if name == "Steady":
                    given = [one.alpha for one in job.push(image, alpha, trimap)]
                elif i == 0:
                    given = [job.start(image, alpha, trimap)][:0]
                else:
                    given = [job.trimap(image).trimap]
                    job.go_on(alpha)
                found += [one.clone() for one in given]
            if spoil:
                for plane in (*buffers, *given):
                    plane.fill_(0.3)
        return found + ([one.alpha for one in job.finish()] if name == "Steady" else [])

    expected = run(False, "plain")
    assert len(expected) >= 3
    for modes in (order, ("plain",)):
        assert all(torch.equal(*pair) for pair in zip(run(True, *modes), expected, strict=True))


def test_nets_that_ran_in_one_mode_are_trained_in_another(folder):
    pixels = torch.rand(1, 4, 96, 96)
    with torch.inference_mode():
        net = VitMatteForImageMatting.from_pretrained(folder / "model")
        expected = net(pixels).alphas
    found = net(pixels).alphas
    found.mean().backward()
    assert torch.allclose(found, expected, atol=1e-5)
    assert all(value.grad is not None for name, value in net.named_parameters() if "matting" in name)
    with torch.inference_mode():
        net(pixels)
    model = vitmatte.load_model(folder / "model")
    image = FRAMES[0][0][None].clone().requires_grad_()
    assert not vitmatte.matte(model, image, FRAMES[0][3]).requires_grad


@pytest.mark.parametrize("surroundings", ["float64", "float16", "autocast"])
@pytest.mark.parametrize("name", ["Steady", "Carry", "flow_between", "levels_of", "refine_matte", "tint"])
def test_types_of_the_surroundings_change_nothing(folder, name, surroundings):
    expected = list(CALLS[name](folder, FRAMES))
    try:
        if surroundings != "autocast":
            torch.set_default_dtype(getattr(torch, surroundings))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=surroundings == "autocast"):
            found = list(CALLS[name](folder, FRAMES))
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_wrapped_functions_keep_their_signatures():
    for call in (vitmatte.load_model, vitmatte.load_net, VitMatteForImageMatting.from_pretrained, blend.fit):
        assert len(inspect.signature(call).parameters) > 1 and inspect.getdoc(call)
