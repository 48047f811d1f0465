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

import pytest
import torch
from mematte import mematte_config
from nets import assert_close, random_input, random_net, small_config
from paths import ROOT
from PIL import Image
from rounding import ALPHA
from safetensors.torch import load_file

from vitmatte import VitMatteForImageMatting, load_model, load_net
from vitmatte.cli.main import main
from vitmatte.huggingface.processing import VitMatteImageProcessor
from vitmatte.inference.preprocessing import IMAGENET_MEAN
from vitmatte.model.block import VitDetAttention
from vitmatte.model.vitmatte import ViTMatte
from vitmatte.training import loop
from vitmatte.training.data import stream
from vitmatte.training.ema import Average
from vitmatte.training.loop import train
from vitmatte.training.optimizer import Muon, orthogonalised, split_parameters
from vitmatte.training.precision import choose_precision, measured
from vitmatte.training.publish import mean_net, publish, within_halves
from vitmatte.training.recipe import Crops, Phase, Schedule, read_recipe
from vitmatte.training.state import only_one
from vitmatte.training.vit_weights import load_plain_backbone
from vitmatte.weights.tensors import read_pickle


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
    assert load_model(run / "best").net.architecture == small_config().architecture()
    publish(run / "last", folder / "published")
    given, kept = (load_file(f / "model.safetensors") for f in (folder / "published", run / "last"))
    assert {value.dtype for value in given.values()} == {torch.float16, torch.float32, torch.int64}
    assert all(torch.allclose(given[n].float(), kept[n].float(), atol=1e-3, rtol=1e-3) for n in kept)
    assert VitMatteImageProcessor.from_pretrained(folder / "published").image_mean == list(IMAGENET_MEAN)
    assert load_model(folder / "published").net.architecture.hidden_size == small_config().hidden_size


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resuming_gives_the_same(recipe, tmp_path, optimizer):
    once = dataclasses.replace(recipe, run=str(tmp_path / "once"), optimizer=optimizer, validate_every=100)
    twice = dataclasses.replace(once, run=str(tmp_path / "twice"))
    whole = train(once)
    train(twice, stop_after=3)
    resumed = train(twice)
    assert resumed.step == whole.step == 4 and 6 <= resumed.composites == whole.composites <= 8
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


@pytest.mark.slow
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
    # The signal is heard also where the tests run under nohup, whose children ignore SIGHUP.
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
                           preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
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


def test_the_mean_of_two_nets(tmp_path):
    nets = [random_net(seed=seed) for seed in (0, 1)]
    for name, net in zip("ab", nets, strict=True):
        net.save_pretrained(tmp_path / name)
    mean = mean_net([tmp_path / "a", tmp_path / "b"]).state_dict()
    first, second = (load_net(tmp_path / name).state_dict() for name in "ab")
    for name, value in mean.items():
        if value.is_floating_point():
            assert_close(value, (first[name].double() + second[name].double()) / 2, 2.0**-24 * value.abs().max())
    with torch.no_grad():
        publish([tmp_path / "a", tmp_path / "b"], tmp_path / "given")
    assert load_model(tmp_path / "given").net.architecture.hidden_size == 48
    random_net(small_config(num_hidden_layers=3, residual_block_indices=[1], window_block_indices=[0])).save_pretrained(
        tmp_path / "c")
    with pytest.raises(ValueError, match="c has another architecture than .*a; expected nets of one run"):
        mean_net([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(ValueError, match="there is no source"):
        mean_net([])


@pytest.mark.parametrize("as_file", [False, True])
def test_a_run_begins_with_weights(recipe, tmp_path, as_file):
    """Published weights: half precision, and with the zero positions that `publish` adds."""
    net = random_net(small_config(use_absolute_position_embeddings=False))
    net.save_pretrained(tmp_path / "net")
    publish(tmp_path / "net", tmp_path / "given")
    start = tmp_path / "given" / ("model.safetensors" if as_file else "")
    ours = dataclasses.replace(recipe, run=str(tmp_path / "run"), start=str(start), model=net.architecture)
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
    auto, net = dataclasses.replace(recipe, precision="auto"), ViTMatte(small_config().architecture())
    with caplog.at_level("INFO"):
        assert choose_precision(auto, net, torch.device("cpu")) == expected
    assert f"precision {expected}: forward and backward on crops of 64 take {fp32:.2f} s in fp32" in caplog.text
    assert choose_precision(dataclasses.replace(recipe, precision="bf16"), net, torch.device("cpu")) == "bf16"
    with pytest.raises(ValueError, match="expected auto, bf16 or fp32"):
        choose_precision(dataclasses.replace(recipe, precision="fp16"), net, torch.device("cpu"))


COUNT = """
import sys, torch
from vitmatte.cli.main import main
from vitmatte.training import loop
def kept():
    return int((torch.full((2**20,), 2.0**-126) / 2 != 0).sum())
loop.train = lambda *args, **how: print(kept())
torch.set_flush_denormal("already" in sys.argv)
main(["train", sys.argv[1]])
print(float(torch.full((1,), 2.0**-126) / 2) == 0)
"""


@pytest.mark.parametrize("before", ["", "already"])
def test_denormal_numbers_are_zero_while_it_trains(folder, before):
    """On every thread that computes; the caller's own choice stays as it was."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot be told to")
    torch.set_flush_denormal(False)
    told = subprocess.run([sys.executable, "-c", COUNT, folder / "recipe.json", before], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout
    assert told.split() == ["0", str(bool(before))]


def test_measuring_leaves_the_net_as_it_is():
    net = ViTMatte(small_config().architecture())
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
        train(dataclasses.replace(ours, model=small_config(num_hidden_layers=5).architecture()))


def test_schedule():
    schedule = Schedule(rate=1.0, warmup=4, steps=20, decay=10)
    assert [schedule.at(step) for step in (0, 3, 9, 15, 19)] == pytest.approx([0.25, 1, 1, 0.5, 0.1])
    assert Schedule(rate=1.0, warmup=4).at(10**6) == 1.0


@pytest.mark.parametrize(("change", "message"), [
    ({"colour": 1}, "Recipe has no colour"),
    ({"run": None}, "Recipe needs run"),
    ({"mixture": {"jpeg": 2}}, "jpeg is 2; expected a probability"),
    ({"phases": [{"crops": [{"size": 100, "batch": 1}]}]}, "multiple of 32"),
    ({"optimizer": "sgd"}, "one of muon, adamw"),
    ({"foregrounds": "fg"}, "expected a list of objects"),
    ({"backgrounds": []}, "at least one entry"),
    ({"model": mematte_config().to_dict()}, "model has max_routed_tokens; expected a net without"),
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


def test_muon_steps_are_orthogonal():
    singular = torch.linalg.svdvals(orthogonalised(torch.randn(24, 60)))
    assert singular.min() > 0.6 and singular.max() < 1.3
    weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    weight.grad = torch.randn(8, 4, 3, 3)
    Muon([weight], lr=0.1).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.1 * 0.2 * 6 / 6 * 0.9, rel=0.3)


def test_every_parameter_is_trained_once():
    net = ViTMatte(small_config().architecture())
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
    net = ViTMatte(small_config().architecture())
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


def test_batches_attend_as_far_as_their_kind_says(folder, tmp_path, monkeypatch):
    """Crops with a reach are learned with it, others with the model's own, which the saved net keeps."""
    used = []
    forward = VitDetAttention.forward
    monkeypatch.setattr(VitDetAttention, "forward",
                        lambda self, x: used.append((self.window, x.shape[1], self.reach)) or forward(self, x))
    recipe = read_recipe(folder / "recipe.json")
    draw, drawn = stream.crops_of, []
    for module in (stream, loop):
        monkeypatch.setattr(module, "crops_of", lambda recipe, step: drawn.append(step) or draw(recipe, step),
                            raising=False)
    phases = [Phase([Crops(32, 2, reach=1)], 2), Phase([Crops(64, 1)])]
    train(dataclasses.replace(recipe, phases=phases, validation_count=0, run=str(tmp_path)), stop_after=4)
    assert {(size, reach) for window, size, reach in used if not window} == {(2, 1), (4, None)}
    assert {reach for window, _, reach in used if window} == {None}
    assert drawn == list(range(len(drawn))) and len(drawn) > 2  # each step's kind once
    assert load_model(tmp_path / "last").net.architecture.transformer.attention_reach is None


def test_a_reach_of_crops_is_a_whole_number():
    with pytest.raises(ValueError, match=r"Crops: reach is 0"):
        Crops(64, 1, reach=0)
