"""Exports: the same matte at every size, whatever size was traced; files that are whole and say what they take."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from disks import disk_of
from mematte import random_mematte
from nets import SPREAD, assert_close, random_input, random_net, small_config
from paths import ROOT
from rounding import ALPHA, U
from torch.nn import functional as F

from vitmatte import MattingModel, VitMatteConfig, export_onnx, export_program, load_model, matte
from vitmatte.cli.main import main
from vitmatte.export import onnx
from vitmatte.export import program as export
from vitmatte.export.onnx import onnx_runner
from vitmatte.export.program import save_program
from vitmatte.export.subject import MOST_APART, Subject
from vitmatte.export.traceable import TraceableMatte, TraceableNet, _cubic, _triangle, resampling
from vitmatte.inference.preprocessing import HUB_MEAN, HUB_STD, Preprocessing

# Traced with windows of 3 at about 192x256. Here: one pixel, less than a window, sides in tokens that are multiples of
# the window and that are not, smaller and larger than the grid of pre-training (5), a batch.
SIZES = [(1, 1, 1), (1, 37, 101), (2, 96, 64), (1, 200, 130), (1, 70, 310)]

torch_can = pytest.mark.skipif(tuple(int(x) for x in torch.__version__.split(".")[:2]) < export.TORCH,
                               reason="export needs a newer torch")


def picture(batch: int, height: int, width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    image = torch.rand(batch, height, width, 3, generator=generator)
    return {"image": image, "trimap": torch.randint(0, 3, (batch, height, width), generator=generator) / 2}


def shallow(**changes) -> torch.nn.Module:
    """One global block, patches of 4 pixels, two fusions: quick to trace."""
    backbone = small_config(num_hidden_layers=1, window_block_indices=[], residual_block_indices=[0], patch_size=4,
                            pretrain_image_size=20, image_size=24, **changes).vitdet
    return random_net(VitMatteConfig(backbone_config=backbone, hidden_size=48, convstream_hidden_sizes=[8],
                                     fusion_hidden_sizes=[12, 8]))


def two_blocks() -> torch.nn.Module:
    return random_net(small_config(num_hidden_layers=2, window_block_indices=[0], residual_block_indices=[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A net on disk."""
    folder = tmp_path_factory.mktemp("net")
    two_blocks().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def onnx_file(folder, tmp_path_factory):
    """It, exported by the command line, which also compares it with `matte`."""
    for name in onnx.PACKAGES:
        pytest.importorskip(name)
    place = tmp_path_factory.mktemp("onnx") / "net.onnx"
    assert main(["export", "--model", str(folder), "--output", str(place)]) == 0
    assert [path.name for path in place.parent.iterdir()] == ["net.onnx"]
    return place


@pytest.mark.slow
@torch_can
def test_onnx_of_a_model_at_other_sizes(onnx_file, folder):
    run, model = onnx_runner(onnx_file), load_model(folder)
    for size in SIZES:
        inputs = picture(*size)
        found, unknown = run(inputs), inputs["trimap"] == 0.5
        assert_close(found, matte(model, **inputs), ALPHA)
        assert (found[~unknown] == inputs["trimap"][~unknown]).all()
        assert size == (1, 1, 1) or found[unknown].std() > SPREAD


@torch_can
def test_onnx_takes_trimaps_as_matte_does(onnx_file, folder):
    inputs = picture(1, 40, 50)
    inputs["trimap"] = torch.randint(0, 256, (1, 40, 50), generator=torch.Generator().manual_seed(0)) / 255
    inputs["trimap"][0, 0, :4] = torch.tensor([0, 1, 254, 255]) / 255
    found = onnx_runner(onnx_file)(inputs)
    assert_close(found, matte(load_model(folder), **inputs), ALPHA)
    assert found[0, 0, :4].tolist() == [0, 0, 1, 1]


@torch_can
def test_onnx_file_says_what_it_takes(onnx_file):
    onnx = pytest.importorskip("onnx")
    content = onnx_file.read_bytes()
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    axes = {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)}
    assert axes == {"image": ["batch", "height", "width", 3], "trimap": ["batch", "height", "width"],
                    "alpha": ["batch", "height", "width"]}
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert "0.485" in notes["normalization"] and "unknown" in notes["trimap"] and "name" in notes
    for private in (b"site-packages", b".py", str(ROOT).encode()):
        assert private not in content


@pytest.mark.slow
@torch_can
def test_onnx_of_a_net_alone(tmp_path):
    for name in onnx.PACKAGES:
        pytest.importorskip(name)
    net = shallow(use_absolute_position_embeddings=False, use_relative_position_embeddings=False)
    export_onnx(net, tmp_path / "net.onnx", metadata={"name": "a"})
    run = onnx_runner(tmp_path / "net.onnx")
    for batch, height, width in [(2, 8, 16), (1, 40, 24), (1, 16, 56)]:
        pixels = random_input(height, width, batch=batch)
        with torch.no_grad():
            assert_close(run({"pixel_values": pixels}), net(pixels).alphas, ALPHA)


@pytest.mark.slow
@torch_can
def test_program_to_a_file_and_back(tmp_path):
    model = MattingModel(shallow(), Preprocessing(HUB_MEAN, HUB_STD, unknown=None))
    save_program(model, tmp_path / "net.pt2", metadata={"name": "a"})
    extra = {"metadata.json": ""}
    module = torch.export.load(tmp_path / "net.pt2", extra_files=extra).module()
    assert json.loads(extra["metadata.json"]) == {"name": "a"}
    for size in SIZES:
        with torch.no_grad():
            assert_close(module(**picture(*size)), matte(model, **picture(*size)), ALPHA)


@pytest.fixture
def default_dtype_restored():
    yield
    torch.set_default_dtype(torch.float32)


@torch_can
def test_surroundings_change_no_program(default_dtype_restored):
    """Autocast and the default dtype of the caller, which tracing would write down."""
    model = MattingModel(shallow(), Preprocessing())
    expected, inputs = export_program(model), picture(1, 37, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = export_program(model)
        assert torch.is_autocast_enabled("cpu")
    torch.set_default_dtype(torch.float64)
    double = export_program(model)
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        inferred = export_program(model)
    for found in (cast, double, inferred):
        assert found.graph_module.code == expected.graph_module.code
        assert {name: value.dtype for name, value in found.state_dict.items()} == {
            name: value.dtype for name, value in expected.state_dict.items()}
        with torch.no_grad():
            assert torch.equal(found.module()(**inputs), expected.module()(**inputs))


@pytest.mark.parametrize("write", [export_onnx, save_program])
def test_files_are_written_in_the_usual_surroundings(write, monkeypatch, tmp_path, default_dtype_restored):
    def looked_at(*_):
        assert torch.get_default_dtype() == torch.float32 and not torch.is_autocast_enabled("cpu")
        raise RuntimeError("looked at")

    for module in (onnx, export):
        monkeypatch.setattr(module, "Subject", looked_at)
        monkeypatch.setattr(module, "check_torch", lambda: None)
    monkeypatch.setattr(onnx, "check_packages", lambda names: None)
    torch.set_default_dtype(torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(RuntimeError, match="looked at"):
        write(shallow(), tmp_path / "net")
    assert torch.get_default_dtype() == torch.float64


@torch_can
def test_a_program_on_a_full_disk(tmp_path):
    """torch's own writer would end the process."""
    place = tmp_path / "net.pt2"
    with disk_of(4000), pytest.raises(OSError, match=r"net\.pt2 could not be written: .*; expected") as caught:
        save_program(shallow(), place, check=False)
    assert caught.value.errno and "enforce" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.numbers
@pytest.mark.parametrize("changes", [
    {}, {"qkv_bias": False}, {"use_relative_position_embeddings": False}, {"use_absolute_position_embeddings": False},
    {"window_size": 0}, {"window_size": 5}, {"image_size": [64, 128]}, {"hidden_act": "quick_gelu"},
    {"out_features": ["stage3"]},
    {"attention_reach": 2},
    {"attention_reach": 2, "image_size": 48, "use_relative_position_embeddings": False},
    {"attention_reach": 7, "image_size": 48},
], ids=str)
def test_what_is_traced_is_the_net(changes):
    net = random_net(small_config(**changes))
    for height, width in [(16, 16), (32, 48), (80, 80), (96, 144)]:
        pixels = random_input(height, width, batch=2)
        with torch.no_grad():
            assert_close(TraceableNet(net)(pixels), net(pixels).alphas, ALPHA)


@pytest.mark.numbers
@pytest.mark.parametrize("preprocessing", [Preprocessing(), Preprocessing(HUB_MEAN, HUB_STD, unknown=None)])
def test_what_is_traced_is_matte(preprocessing):
    net = random_net()
    for size in SIZES:
        with torch.no_grad():
            found = TraceableMatte(net, preprocessing)(**picture(*size))
        assert_close(found, matte(MattingModel(net, preprocessing), **picture(*size)), ALPHA)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_traced_is_the_bundled_model(dtype):
    model, inputs = load_model(dtype=dtype), picture(1, 70, 600)  # tokens out of reach of each other
    with torch.no_grad():
        found = TraceableMatte(model.net, model.preprocessing)(**inputs)
    most = ALPHA if dtype == torch.float32 else MOST_APART[dtype]
    assert_close(found, matte(load_model(), **inputs, strategy="exact", refine=0), most)


@pytest.mark.numbers
@pytest.mark.parametrize(("mode", "kernel", "reach"), [("bicubic", _cubic, 2), ("linear", _triangle, 1)])
def test_resampling_is_torchs(mode, kernel, reach):
    values = torch.randn(1, 1, 14, generator=torch.Generator().manual_seed(0))
    for new in (1, 2, 13, 14, 15, 27, 64, 255):
        matrix = resampling(14, new, kernel, reach)
        if mode == "linear":
            expected = F.interpolate(values, size=new, mode=mode)
        else:
            expected = F.interpolate(values[:, :, None], size=(1, new), mode=mode)[:, :, 0]
        # Places up to 14 are off by a rounding of them or so, and weights, which rise by at most 2 a place, likewise.
        assert_close(values[0] @ matrix.t(), expected[0], 14 * 2 * 8 * U * float(values.abs().max()))


def test_packages_that_are_not_there(monkeypatch, tmp_path, capsys, folder):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name))
    monkeypatch.setattr(export, "TORCH", (2, 4))
    status = main(["export", "--model", str(folder), "--output", str(tmp_path / "net.onnx")])
    said = capsys.readouterr().err
    assert status == 1 and 'pip install onnxscript' in said and "onnxscript" in said
    assert not list(tmp_path.iterdir())


def test_a_torch_that_is_too_old(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__version__", "2.4.0+cpu")
    net, place = shallow(), tmp_path / "net"
    for call in (lambda: export_program(net), lambda: export_onnx(net, place), lambda: save_program(net, place)):
        with pytest.raises(RuntimeError, match=r"needs torch 2\.9 or later; this is 2\.4\.0\+cpu"):
            call()


@pytest.mark.parametrize(("model", "dtype", "said"), [
    (shallow().to(torch.bfloat16), None, "dtype is torch.bfloat16; expected torch.float32 or torch.float16"),
    (shallow(), torch.float64, "dtype is torch.float64"),
    (MattingModel(shallow(), Preprocessing(divisor=12)), None, "padded to 12 pixels"),
])
def test_what_cannot_be_exported(model, dtype, said):
    with pytest.raises(ValueError, match=said):
        Subject(model, dtype)


def test_other_backbones_are_refused():
    net = shallow()
    net.backbone = torch.nn.Identity()
    with pytest.raises(ValueError, match="backbone is a Identity; only nets with a ViTDet"):
        Subject(net, None)


def test_nets_that_route_tokens_are_refused(tmp_path):
    net = random_mematte()
    for refused in (lambda: Subject(net, None), lambda: export_onnx(net, tmp_path / "net.onnx")):
        with pytest.raises(ValueError, match="the net is a MEMatte, which chooses its tokens by the picture"):
            refused()
    assert not list(tmp_path.iterdir())


@torch_can
def test_a_failed_check_leaves_what_was_there(onnx_file, monkeypatch, tmp_path):
    theirs = pytest.importorskip("onnx")
    monkeypatch.setattr(onnx, "_as_onnx", lambda subject, opset: theirs.load(onnx_file))
    place = tmp_path / "net.onnx"
    place.write_bytes(b"before")
    other = MattingModel(random_net(two_blocks().config, seed=1), Preprocessing())
    with pytest.raises(RuntimeError, match="from this library's at .* at most 0.0001 is expected"):
        export_onnx(other, place)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
    export_onnx(other, place, check=False)
    assert place.stat().st_size > 10_000


def test_onnxruntimes_refusal_is_an_error_of_ours():
    pytest.importorskip("onnxruntime")
    with pytest.raises(RuntimeError, match="onnxruntime cannot run the net: .*"):
        onnx_runner(b"no net")


@pytest.mark.parametrize("opset", [17, 25, 99, 18.5, "18"])
def test_opsets_that_are_refused_before_any_work(opset, tmp_path):
    with pytest.raises(ValueError, match=rf"opset is {opset!r}; expected a whole number from 18 to 24"):
        export_onnx(shallow(), tmp_path / "new" / "net.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@torch_can
@pytest.mark.parametrize(("arguments", "said"), [
    (["-o", "net.tflite"], "net.tflite: expected a name that ends in .onnx or .pt2"),
    (["-o", "net.onnx", "--opset", "17"], "opset is 17; expected a whole number from 18 to 24"),
    (["-o", "net.onnx", "--opset", "25", "--model", "huge"], "opset is 25; expected a whole number from 18 to 24"),
    (["-o", "net.pt2", "--opset", "18"], "--opset is for .onnx; net.pt2 has none: leave --opset out"),
    (["-o", "net.pt2", "--model", "huge"], "no model 'huge'"),
])
def test_errors_of_the_command(arguments, said, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vitmatte.cli.export.check_packages", lambda names: None)
    assert main(["export", *arguments]) == 1
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
