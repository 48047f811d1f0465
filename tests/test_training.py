"""Training end to end on a handful of generated pictures."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from nets import assert_close, random_input, random_net, small_config
from PIL import Image
from rounding import ALPHA
from safetensors.torch import load_file
from test_structure import ROOT

from vitmatte import load_model
from vitmatte.cli.main import main
from vitmatte.huggingface.processing import VitMatteImageProcessor
from vitmatte.inference.preprocessing import IMAGENET_MEAN
from vitmatte.model.vitmatte import VitMatteForImageMatting
from vitmatte.training.average import Average
from vitmatte.training.composites import Compositor, over
from vitmatte.training.loop import train
from vitmatte.training.optics import blurred, disc, streak
from vitmatte.training.optimizer import Muon, orthogonalised, split_parameters
from vitmatte.training.pictures import File, find_backgrounds, find_foregrounds, load_foreground
from vitmatte.training.placing import affine, resample
from vitmatte.training.pretrained import load_plain_backbone
from vitmatte.training.publish import publish, within_halves
from vitmatte.training.recipe import Crops, Mixture, Phase, Schedule, Source, read_recipe
from vitmatte.training.sheer import KINDS
from vitmatte.training.state import only_one
from vitmatte.training.strands import strands
from vitmatte.training.stream import Addresses, Composites


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


@pytest.mark.parametrize("name", ["running_var", "running_mean", "weight of the convolution"])
@pytest.mark.parametrize("norm", ["fusion_blocks.1.conv.batch_norm", "matting_head.matting_convs.1"])
def test_published_values_fit_float16(norm, name, tmp_path):
    """The convolution in front of a norm is scaled so that its statistics do; the function stays the same."""
    net = random_net()
    state, head = net.state_dict(), norm.endswith("1")
    conv = f"decoder.{norm[:-1]}0" if head else f"decoder.{norm.removesuffix('batch_norm')}conv"
    by = {"running_var": 1e3, "running_mean": 1e5, "weight of the convolution": 1e6}[name]
    linear = [f"{conv}.weight", *([f"{conv}.bias"] if head else []), f"decoder.{norm}.running_mean"]
    for each in linear:
        state[each][:5] *= by
    state[f"decoder.{norm}.running_var"][:5] *= by**2
    found = within_halves(state, net.config)
    assert all(float(value.abs().max()) < 65504 for value in found.values() if value.is_floating_point())
    for key in state:
        assert found[key].equal(state[key]) == (key not in [*linear, f"decoder.{norm}.running_var"])
        assert found[key].dtype == state[key].dtype and (found[key].ndim == 0 or found[key][5:].equal(state[key][5:]))
    scaled = random_net()
    scaled.load_state_dict(found)
    assert_close(scaled(random_input(64, 96)).alphas, net(random_input(64, 96)).alphas, ALPHA)

    net.save_pretrained(tmp_path / "net")
    publish(tmp_path / "net", tmp_path / "published")
    load_model(tmp_path / "published", dtype=torch.float16)
    VitMatteForImageMatting.from_pretrained(tmp_path / "published").half()


def test_what_no_norm_follows_cannot_be_published_beyond_float16(tmp_path):
    net = random_net()
    net.state_dict()["backbone.encoder.layer.1.mlp.fc2.weight"][0, 0] = 1e5
    net.save_pretrained(tmp_path / "net")
    with pytest.raises(ValueError, match=r"1 tensors .*layer\.1\.mlp\.fc2\.weight 100000\); no BatchNorm follows"):
        publish(tmp_path / "net", tmp_path / "published")
    assert not (tmp_path / "published" / "model.safetensors").exists()


@pytest.mark.parametrize("var", [0.0, 1e-3, 1.0, 1e6])
def test_epsilon_counts_where_statistics_are_scaled(var):
    """A channel that is nearly constant has a variance below epsilon and may have any mean."""
    net = random_net()
    net.config.batch_norm_eps, norm = 0.1, "decoder.fusion_blocks.1.conv.batch_norm"
    state = net.state_dict()
    state[f"{norm}.running_var"][:] = var
    state[f"{norm}.running_mean"][:] = 3e5
    found = within_halves(state, net.config)
    scale = 2.0 ** torch.tensor(2**14 / max(3e5, var**0.5 * 2**7)).log2().floor().double()
    assert found[f"{norm}.running_mean"].double().equal(state[f"{norm}.running_mean"].double() * scale)
    over = [each[f"{norm}.weight"].double() / (each[f"{norm}.running_var"].double() + 0.1).sqrt()
            for each in (found, state)]
    assert torch.allclose(over[0] * scale, over[1], rtol=2**-22, atol=0)


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
    nothing = Mixture(**{f.name: 0 for f in dataclasses.fields(Mixture)})
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


@pytest.mark.parametrize("make", [strands, *KINDS], ids=lambda make: make.__name__)
def test_procedural_alpha_is_worth_training_on(make):
    planes = [make(96, np.random.default_rng(i)).clip(0, 1) for i in range(8)]
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
