"""Training end to end on a handful of generated pictures."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from nets import assert_close, random_input, random_net, small_config
from PIL import Image
from safetensors.torch import load_file
from test_structure import ROOT

from vitmatte import load_model
from vitmatte.cli import main
from vitmatte.model import VitMatteForImageMatting
from vitmatte.processing import IMAGENET_MEAN, VitMatteImageProcessor
from vitmatte.training.data.blur import blurred, disc, streak
from vitmatte.training.data.composites import Compositor, _happens, in_linear_light, over
from vitmatte.training.data.geometry import affine, place_foreground, resample
from vitmatte.training.data.hair import Drawing, strands
from vitmatte.training.data.mesh import Cloth, mesh
from vitmatte.training.data.pattern import patterned
from vitmatte.training.data.pictures import File, find_backgrounds, find_foregrounds, load_foreground
from vitmatte.training.data.stream import Addresses, Composites
from vitmatte.training.data.translucent import KINDS
from vitmatte.training.data.trimaps import SURE, trimap_by_share, wanted_share
from vitmatte.training.ema import Average
from vitmatte.training.loop import train
from vitmatte.training.optimizer import Muon, orthogonalised, split_parameters
from vitmatte.training.precision import choose_precision, measured
from vitmatte.training.publish import publish
from vitmatte.training.recipe import Crops, Mixture, Phase, Schedule, Source, read_recipe
from vitmatte.training.state import only_one
from vitmatte.training.vit_weights import load_plain_backbone
from vitmatte.weights_file import read_pickle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """fg: four cut-outs, bg: four photographs, index.csv, and recipe.json beside them."""
    base = tmp_path_factory.mktemp("training")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:90, 0:120]
    rows = []
    for i in range(4):
        cut = rng.integers(0, 256, (90, 120, 4), dtype=np.uint8)
        cut[..., 3] = np.clip((40 - np.hypot(x - 60, y - 45)) * (20 + 10 * i), 0, 255)
        for name, picture in ((f"fg/cut{i}.png", cut), (f"bg/photo{i}.png", cut[..., :3])):
            (base / name).parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(base / name)
            rows.append({"file": name, "split": "val" if i == 3 else "train"})
    with (base / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "split"])
        writer.writeheader()
        writer.writerows(rows)

    def source(name, split):
        return [{"folder": name, "index": "index.csv", "where": {"split": [split]}}]

    recipe = {
        "comment": "for tests", "foregrounds": source("fg", "train"), "backgrounds": source("bg", "train"),
        "validation_foregrounds": source("fg", "val"), "validation_backgrounds": source("bg", "val"),
        "model": small_config().to_dict(), "run": "run", "precision": "fp32", "workers": 0, "log_every": 1,
        "validation_count": 3, "validation_size": 64, "validate_every": 2,
        "phases": [{"until": 2, "crops": [{"size": 64, "batch": 2}]},
                   {"crops": [{"size": 64, "batch": 2}, {"size": 96, "batch": 1}]}],
        "schedule": {"rate": 1e-3, "warmup": 2, "steps": 4, "decay": 2},
    }
    (base / "recipe.json").write_text(json.dumps(recipe))
    return base


@pytest.fixture(scope="module")
def recipe(folder):
    return read_recipe(folder / "recipe.json")


@pytest.fixture(scope="module")
def compositor(recipe):
    return Compositor(find_foregrounds(recipe.foregrounds), find_backgrounds(recipe.backgrounds), recipe.mixture)


def test_the_command_trains(folder, capsys):
    """Two steps, then the rest: what a run leaves, and that its model loads."""
    assert main(["train", str(folder / "recipe.json"), "--steps", "2"]) == 0
    assert main(["train", str(folder / "recipe.json")]) == 0
    run = folder / "run"
    with (run / "log.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [row["step"] for row in log] == ["1", "2", "3", "4"] and all(float(row["loss"]) > 0 for row in log)
    with (run / "validation.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    assert Image.open(run / "sheets" / "0000004.png").size == (3 * 4 * 64, 64)
    assert load_model(run / "best").net.config.vitdet == small_config().vitdet
    publish(run / "last", folder / "published")
    given, kept = (load_file(f / "model.safetensors") for f in (folder / "published", run / "last"))
    assert {value.dtype for value in given.values()} == {torch.float16, torch.float32, torch.int64}
    assert all(torch.allclose(given[n].float(), kept[n].float(), atol=1e-3, rtol=1e-3) for n in kept)
    assert VitMatteImageProcessor.from_pretrained(folder / "published").image_mean == list(IMAGENET_MEAN)
    assert load_model(folder / "published").net.config.hidden_size == small_config().hidden_size


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resuming_gives_the_same(recipe, tmp_path, optimizer):
    once = dataclasses.replace(recipe, run=str(tmp_path / "once"), optimizer=optimizer, validate_every=100)
    twice = dataclasses.replace(once, run=str(tmp_path / "twice"))
    whole = train(once)
    train(twice, stop_after=3)
    resumed = train(twice)
    assert resumed.step == whole.step == 4
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name]), name
        assert torch.equal(whole.average.state[name], resumed.average.state[name]), name


def test_published_without_positions(tmp_path):
    """transformers needs absolute positions: a net without gets zeros, and gives the same alpha."""
    net = random_net(small_config(use_absolute_position_embeddings=False))
    net.save_pretrained(tmp_path / "net")
    publish(tmp_path / "net", tmp_path / "published")
    published = VitMatteForImageMatting.from_pretrained(tmp_path / "published")
    assert published.config.vitdet.use_absolute_position_embeddings
    with torch.no_grad():
        assert_close(published(random_input(64, 96)).alphas, net(random_input(64, 96)).alphas, 5e-3)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_is_a_normal_stop(folder, tmp_path, number):
    """As a terminal or a service manager sends it: the workers get it too, and leave it to their parent."""
    values = json.loads((folder / "recipe.json").read_text())
    values |= {"run": str(tmp_path / "run"), "workers": 2, "validation_foregrounds": [], "validate_every": 10**6,
               "schedule": {"rate": 1e-3}}
    recipe = folder / f"signal-{number}.json"
    recipe.write_text(json.dumps(values))
    command = [sys.executable, "-m", "vitmatte", "train", str(recipe)]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        log = tmp_path / "run" / "log.csv"
        until = time.monotonic() + 120
        while not (log.is_file() and len(log.read_text().splitlines()) > 3) and time.monotonic() < until:
            time.sleep(0.1)
        os.killpg(run.pid, number)
        said = run.communicate(timeout=60)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, said
    last = int(list(csv.DictReader(log.open()))[-1]["step"])
    assert last >= 3 and read_pickle(tmp_path / "run" / "state.pt")["step"] == last
    assert f"stopped after step {last}" in said and "Traceback" not in said


def test_a_signal_while_the_end_is_written(recipe, tmp_path, monkeypatch):
    """A second signal, during the last validation, ends nothing half-way."""
    ours = dataclasses.replace(recipe, run=str(tmp_path), validate_every=100)

    def validate(training, *_):
        assert (tmp_path / "state.pt").is_file()
        os.kill(os.getpid(), signal.SIGTERM)
        training.best = 0.5

    monkeypatch.setattr("vitmatte.training.loop.validate", validate)
    train(ours, stop_after=1)
    assert read_pickle(tmp_path / "state.pt")["best"] == 0.5


@pytest.mark.parametrize("as_file", [False, True])
def test_a_run_begins_with_weights(recipe, tmp_path, as_file):
    """Published weights: half precision, and with the zero positions that `publish` adds."""
    net = random_net(small_config(use_absolute_position_embeddings=False))
    net.save_pretrained(tmp_path / "net")
    publish(tmp_path / "net", tmp_path / "given")
    start = tmp_path / "given" / ("model.safetensors" if as_file else "")
    ours = dataclasses.replace(recipe, run=str(tmp_path / "run"), start=str(start), model=net.config)
    training = train(ours, stop_after=0)
    assert training.step == 0
    for name, value in net.state_dict().items():
        assert torch.allclose(training.net.state_dict()[name].float(), value.float(), atol=1e-3, rtol=1e-3), name
        assert torch.equal(training.average.state[name], training.net.state_dict()[name]), name
    trained = train(ours, stop_after=2)
    assert train(ours, stop_after=0).step == 2, "the state in the run folder comes first"
    assert not torch.equal(trained.net.state_dict()["decoder.convstream.convs.0.conv.weight"],
                           net.state_dict()["decoder.convstream.convs.0.conv.weight"])


def test_a_start_that_does_not_fit(recipe, tmp_path):
    random_net(small_config(num_hidden_layers=5)).save_pretrained(tmp_path / "net")
    ours = dataclasses.replace(recipe, run=str(tmp_path / "run"), start=str(tmp_path / "net"))
    with pytest.raises(ValueError, match="of another net than the recipe's model"):
        train(ours, stop_after=0)
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        train(dataclasses.replace(ours, start=str(tmp_path / "none")), stop_after=0)
    with pytest.raises(ValueError, match="at most one of the two"):
        dataclasses.replace(ours, backbone="mae.pth")


@pytest.mark.parametrize(("fp32", "bf16", "expected"), [(1.0, 2.2, "fp32"), (1.0, 0.95, "fp32"), (1.0, 0.5, "bf16")])
def test_auto_precision_takes_the_faster(recipe, monkeypatch, caplog, fp32, bf16, expected):
    monkeypatch.setattr("vitmatte.training.precision.measured", lambda *args: {"fp32": fp32, "bf16": bf16}[args[-1]])
    auto, net = dataclasses.replace(recipe, precision="auto"), VitMatteForImageMatting(small_config())
    with caplog.at_level("INFO"):
        assert choose_precision(auto, net, torch.device("cpu")) == expected
    assert f"precision {expected}: a step on crops of 64 takes {fp32:.2f} s in fp32" in caplog.text
    assert choose_precision(dataclasses.replace(recipe, precision="bf16"), net, torch.device("cpu")) == "bf16"
    with pytest.raises(ValueError, match="expected auto, bf16 or fp32"):
        choose_precision(dataclasses.replace(recipe, precision="fp16"), net, torch.device("cpu"))


def test_measuring_leaves_the_net_as_it_is():
    net = VitMatteForImageMatting(small_config())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert measured(net, Crops(64, 2), torch.device("cpu"), "bf16") > 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_one_process_per_run(recipe, tmp_path):
    ours = dataclasses.replace(recipe, run=str(tmp_path))
    with only_one(tmp_path), pytest.raises(RuntimeError, match="another process trains"):
        train(ours, stop_after=1)


def test_a_state_of_another_net(recipe, tmp_path):
    ours = dataclasses.replace(recipe, run=str(tmp_path))
    train(ours, stop_after=1)
    with pytest.raises(ValueError, match="state of another net"):
        train(dataclasses.replace(ours, model=small_config(num_hidden_layers=5)))


def test_samples_come_from_their_seed(compositor):
    data = Composites(compositor, 5)
    first, again, other = data[(3, 1, 64)], data[(3, 1, 64)], data[(3, 2, 64)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_samples_are_composites(compositor):
    """What is certain in the trimap agrees with the alpha, and something is unknown."""
    for i in range(40):
        sample = compositor.sample(64, np.random.default_rng([1, i]))
        assert sample.image.shape == (64, 64, 3) and sample.alpha.shape == sample.trimap.shape == (64, 64)
        assert set(np.unique(sample.trimap)) <= {0, 128, 255} and (sample.trimap == 128).any()
        known = sample.trimap != 128
        wrong = np.abs(sample.alpha.astype(int) - sample.trimap)[known] > 0.11 * 255
        assert wrong.sum() <= 0.02 * known.size


def test_a_plain_composite_is_the_formula(folder):
    """Without any change the picture is alpha F + (1 - alpha) B to rounding."""
    nothing = Mixture(**{f.name: 0 for f in dataclasses.fields(Mixture) if f.name != "enlargement"})
    made = Compositor([File(folder / "fg/cut0.png")], [File(folder / "bg/photo1.png")], nothing)
    layer = np.random.default_rng(0).random((8, 8, 4)).astype(np.float32)
    layer[..., :3] *= layer[..., 3:]
    picture = made._picture(layer, 8, np.random.default_rng(3))
    rest = picture - layer[..., :3]
    assert (rest >= -1e-6).all() and (rest <= 1 - layer[..., 3:] + 1e-6).all()


def test_over():
    front, back = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    front[...], back[...] = (0.3, 0, 0, 0.5), (0, 0.8, 0, 0.8)
    assert over(front, back)[0, 0] == pytest.approx([0.3, 0.4, 0, 0.9])


def test_batches_follow_the_recipe(recipe):
    phases = [Phase([Crops(32, 2)], 3), Phase([Crops(32, 2, 1.0), Crops(64, 1, 1.0)])]
    addresses = list(Addresses(dataclasses.replace(recipe, phases=phases), 0, 40))
    assert all(batch == [(i, 0, 32), (i, 1, 32)] for i, batch in enumerate(addresses[:3]))
    assert {batch[0][2] for batch in addresses[3:]} == {32, 64}
    assert list(Addresses(dataclasses.replace(recipe, phases=phases), 20, 40)) == addresses[20:]


def test_schedule():
    schedule = Schedule(rate=1.0, warmup=4, steps=20, decay=10)
    assert [schedule.at(step) for step in (0, 3, 9, 15, 19)] == pytest.approx([0.25, 1, 1, 0.5, 0.1])
    assert Schedule(rate=1.0, warmup=4).at(10**6) == 1.0


def test_layouts(tmp_path):
    """Composition-1k's and Distinctions-646's pairs of folders, and plain cut-outs."""
    for at, colour, alpha in (("adobe/Training_set/Other", "fg", "alpha"), ("d646/Train", "FG", "GT")):
        for name in (colour, alpha):
            (tmp_path / at / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (9, 8, 7)).save(tmp_path / at / colour / "a.png")
        Image.new("L", (40, 40), 128).save(tmp_path / at / alpha / "a.jpg")
    for at in ("adobe", "d646"):
        (file,) = find_foregrounds([Source(str(tmp_path / at))])
        picture = load_foreground(file)
        assert picture.levels[0].mode == "RGBa" and picture.levels[0].getpixel((3, 3)) == (5, 4, 4, 128)
    Image.new("L", (30, 30)).save(tmp_path / "d646/Train/GT/a.png")
    with pytest.raises(ValueError, match="expected equal sizes"):
        load_foreground(find_foregrounds([Source(str(tmp_path / "d646"))])[0])
    (tmp_path / "adobe/Training_set/Other/alpha/a.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="has no matte"):
        find_foregrounds([Source(str(tmp_path / "adobe"))])


@pytest.mark.parametrize(("change", "message"), [
    ({"colour": 1}, "Recipe has no colour"),
    ({"run": None}, "Recipe needs run"),
    ({"mixture": {"jpeg": 2}}, "jpeg is 2; expected a probability"),
    ({"phases": [{"crops": [{"size": 100, "batch": 1}]}]}, "multiple of 32"),
    ({"optimizer": "sgd"}, "one of muon, adamw"),
    ({"foregrounds": "fg"}, "expected a list of objects"),
    ({"backgrounds": []}, "at least one entry"),
])
def test_a_wrong_recipe_is_named(folder, tmp_path, change, message):
    values = {**json.loads((folder / "recipe.json").read_text()), **change}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    with pytest.raises(ValueError, match=message):
        read_recipe(path)


def test_recipes_in_the_repository_read():
    for path in sorted((ROOT / "vitmatte" / "training" / "recipes").glob("*.json")):
        assert read_recipe(path).foregrounds


def test_resample_keeps_places(folder):
    """At scale 1 without rotation a crop is the picture's pixels."""
    picture = load_foreground(File(folder / "fg/cut0.png"))
    crop = resample(picture, affine((60, 45), 32, 1.0, 0.0, False), 32)
    whole = np.asarray(picture.levels[0], np.float32) / 255
    assert crop == pytest.approx(whole[29:61, 44:76], abs=1 / 255)
    flipped = resample(picture, affine((60, 45), 32, 1.0, 0.0, True), 32)
    assert flipped == pytest.approx(crop[:, ::-1], abs=1 / 255)


@pytest.mark.parametrize("kernel", [disc(0.6), disc(3.7), streak(2, 0.3), streak(13.5, 2.0)])
def test_blur_keeps_the_sum(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() >= 0
    assert kernel == pytest.approx(kernel[::-1, ::-1], abs=1e-6)
    assert blurred(np.full((9, 9, 4), 0.3, np.float32), kernel) == pytest.approx(0.3, abs=1e-6)


NEW = {"mesh": 0.2, "natural": 0.5, "patterned": 0.4, "linear": 0.5, "enlargement": 1.2, "unknown": 0.14, "parts": 0.5,
       "strands": 0.3}


@pytest.fixture(scope="module")
def rich(recipe):
    """A compositor that makes everything there is."""
    mixture = dataclasses.replace(recipe.mixture, **NEW)
    return Compositor(find_foregrounds(recipe.foregrounds), find_backgrounds(recipe.backgrounds), mixture)


def test_rich_samples_are_composites(rich):
    for i in range(40):
        sample = rich.sample(96, np.random.default_rng([1, i]))
        assert sample.image.shape == (96, 96, 3) and (sample.trimap == 128).any()
        known = sample.trimap != 128
        wrong = np.abs(sample.alpha.astype(int) - sample.trimap)[known] > 0.11 * 255
        assert wrong.sum() <= 0.02 * known.size


def test_a_mixture_without_the_new_choices_makes_what_it_made(folder, recipe):
    """A choice that is 0 draws no random number, so the validation set stays what it was."""
    files = find_foregrounds(recipe.foregrounds), find_backgrounds(recipe.backgrounds)
    old = Compositor(*files, recipe.mixture)
    made = [old.sample(64, np.random.default_rng(i)) for i in range(12)]
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    assert not _happens(0.0, rng) and rng.bit_generator.state == state
    kept = Compositor(*files, dataclasses.replace(recipe.mixture, parts=1.0))  # counts only with `unknown`
    for i, sample in enumerate(made):
        again = kept.sample(64, np.random.default_rng(i))
        assert all(np.array_equal(getattr(sample, n), getattr(again, n)) for n in ("image", "alpha", "trimap"))


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_wanted_share_is_unknown(size):
    """A disc's trimaps have the wanted share on average, more in smaller crops, and no wrong known pixel."""
    y, x = np.mgrid[0:size, 0:size] - size / 2
    alpha = np.clip(size / 4 - np.hypot(x, y), 0, 1).astype(np.float32)
    mixture = Mixture(unknown=0.14, rough=0.0, wide=0.3)
    trimaps = [trimap_by_share(alpha, [], mixture, np.random.default_rng(i)) for i in range(60)]
    wanted = wanted_share(size, mixture)
    assert wanted == pytest.approx(0.14 * (512 / size) ** 0.5)
    assert np.mean([(t == 128).mean() for t in trimaps]) == pytest.approx(wanted, rel=0.35)
    assert all((np.abs(t / 255 - alpha)[t != 128] <= SURE).all() for t in trimaps)
    assert len({(t == 128).sum() for t in trimaps}) > 30


def test_whole_parts_are_unknown():
    """A part of an object that its trimap does not know has no known pixel."""
    alpha = np.zeros((128, 128), np.float32)
    alpha[40:90, 30:100] = 1
    part = np.zeros((128, 128), bool)
    part[40:90, 30:60] = True
    for i in range(10):
        trimap = trimap_by_share(alpha, [part], Mixture(unknown=0.14, rough=0.0, parts=1.0), np.random.default_rng(i))
        assert (trimap[part] == 128).all() and (trimap == 0).any()


def test_nothing_unknown_where_nothing_is_soft():
    trimap = trimap_by_share(np.ones((64, 64), np.float32), [], Mixture(unknown=0.1, rough=0.0, wide=0.0),
                             np.random.default_rng(0))
    assert (trimap == 255).all()


def test_light_adds_linearly():
    """Half of white over black is 0.5 ** (1 / 2.2) as stored; what is hard stays as it is."""
    layer = np.zeros((1, 3, 4), np.float32)
    layer[0, 0], layer[0, 1] = (0.5, 0.5, 0.5, 0.5), (0.3, 0.3, 0.3, 1)
    background = np.zeros((1, 3, 3), np.float32)
    background[0, 2] = 0.7
    picture = layer[..., :3] + (1 - layer[..., 3:]) * background
    mixed = in_linear_light(picture, layer, background)
    assert mixed[0, :, 0] == pytest.approx([0.5 ** (1 / 2.2), 0.3, 0.7])
    assert picture[0, 0, 0] == 0.5, "its input is left alone"


def test_enlargement_is_capped(folder):
    """No pixel of a cut-out grows beyond the recipe's factor: a disc's area tells."""
    cut = np.zeros((40, 40, 4), np.uint8)
    y, x = np.mgrid[0:40, 0:40] - 19.5
    cut[np.hypot(x, y) < 12] = 255
    Image.fromarray(cut).save(folder / "disc.png")
    picture, area = load_foreground(File(folder / "disc.png")), np.pi * 12**2
    areas = [place_foreground(picture, 128, np.random.default_rng(i), 1.2)[..., 3].sum() for i in range(80)]
    assert max(areas) <= 1.05 * area * 1.2**2 and max(areas) > area


def test_patterns_have_parts_of_their_own():
    """Each part has one label, several parts, colours in range; a flat part's colour occurs nowhere else."""
    grey = np.full((64, 64, 3), 0.5, np.float32)
    for i in range(20):
        colours, labels = patterned(64, np.random.default_rng(i), lambda: grey)
        assert colours.shape == (64, 64, 3) and labels.shape == (64, 64)
        assert colours.min() >= 0 and colours.max() <= 1 and labels.min() >= 0 and labels.max() < 6
        assert len(np.unique(labels)) > 1


def test_a_thread_covers_its_share_of_a_pixel():
    """Threads thinner than a pixel, straight and far apart: together they cover width / pitch of the picture."""
    y, x = np.mgrid[0:120, 0:120].astype(np.float32)
    for half in (0.01, 0.05, 0.2):
        cloth = Cloth(x / 12, y / 12, np.full((120, 120), 1 / 12, np.float32), half, np.random.default_rng(0))
        cover, bright = cloth.thread(cloth.v - np.round(cloth.v))
        assert cover.mean() == pytest.approx(2 * half, rel=0.02)
        assert bright.min() >= 0.6 - 1e-6 and bright.max() <= 1 + 1e-6


def test_a_thin_strand_is_faint():
    """A strand a tenth of a pixel wide covers about a tenth of a pixel along its way."""
    drawing = Drawing(64, np.random.default_rng(0))
    curve = np.stack([np.linspace(4, 60, drawing.points), np.full(drawing.points, 32.0)], -1)[None]
    covered = {}
    for width in (0.1, 1.0):
        one = Drawing(64, np.random.default_rng(1))
        one.rng = Sure()
        one.strands(curve, np.array([width]))
        covered[width] = one.planes()[0].sum() / 56
    assert covered[0.1] == pytest.approx(0.1 * covered[1.0], rel=0.35) and covered[1.0] == pytest.approx(0.65, rel=0.4)


class Sure:
    """A generator without chance: strands are opaque and as wide as asked."""

    def random(self):
        return 0.99

    def normal(self, mean, deviation, size):
        return np.full(size, mean)


@pytest.mark.parametrize("make", [strands, mesh, *KINDS], ids=lambda make: make.__name__)
def test_procedural_alpha_is_worth_training_on(make):
    made = [make(96, np.random.default_rng(i)) for i in range(8)]
    planes = [(x[0] if isinstance(x, tuple) else x).clip(0, 1) for x in made]
    assert all(plane.shape == (96, 96) and np.isfinite(plane).all() for plane in planes)
    assert np.mean([((plane > 0.02) & (plane < 0.98)).mean() for plane in planes]) > 0.03


def test_muon_steps_are_orthogonal():
    singular = torch.linalg.svdvals(orthogonalised(torch.randn(24, 60)))
    assert singular.min() > 0.6 and singular.max() < 1.3
    weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    weight.grad = torch.randn(8, 4, 3, 3)
    Muon([weight], lr=0.1).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.1 * 0.2 * 6 / 6 * 0.9, rel=0.3)


def test_every_parameter_is_trained_once():
    net = VitMatteForImageMatting(small_config())
    groups = split_parameters(net)
    assert sorted(id(p) for group in groups for p in group) == sorted(id(p) for p in net.parameters())
    assert all(groups)


def test_average():
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0)
        average = Average(net, 0.5)
        net.weight.fill_(1)
    average.update(net)
    assert float(average.state["weight"]) == pytest.approx(1 - 2 / 11)


def test_a_plain_vit_as_beginning(tmp_path):
    """MAE's and DINO's names; the fourth channel is zero, the rest of the patch embedding is the file's."""
    net = VitMatteForImageMatting(small_config())
    plain = {"cls_token": torch.zeros(1, 1, 48), "pos_embed": torch.randn(1, 26, 48),
             "patch_embed.proj.weight": torch.randn(48, 3, 16, 16), "patch_embed.proj.bias": torch.randn(48)}
    for i in range(5):
        for name, shape in (("norm1", 48), ("norm2", 48), ("attn.qkv", (144, 48)), ("attn.proj", (48, 48)),
                            ("mlp.fc1", (192, 48)), ("mlp.fc2", (48, 192))):
            rows = shape if isinstance(shape, int) else shape[0]
            plain[f"blocks.{i}.{name}.weight"] = torch.randn(shape)
            plain[f"blocks.{i}.{name}.bias"] = torch.randn(rows)
    torch.save({"model": plain}, tmp_path / "mae.pth")
    load_plain_backbone(net, str(tmp_path / "mae.pth"))
    projection = net.backbone.embeddings.projection.weight
    assert torch.equal(projection[:, :3], plain["patch_embed.proj.weight"]) and not projection[:, 3].any()
    assert torch.equal(net.backbone.encoder.layer[2].attention.qkv.weight, plain["blocks.2.attn.qkv.weight"])
    torch.save({k: v for k, v in plain.items() if "blocks.3" not in k}, tmp_path / "short.pth")
    with pytest.raises(ValueError, match="lacks 12 tensors"):
        load_plain_backbone(net, str(tmp_path / "short.pth"))
    with pytest.raises(ValueError, match=r"needs \[1, 26, 48\]"):
        torch.save({**plain, "pos_embed": torch.zeros(1, 197, 48)}, tmp_path / "other.pth")
        load_plain_backbone(net, str(tmp_path / "other.pth"))
