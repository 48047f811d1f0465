"""Checkpoint files: every layout loads to the same net, everything else gets one clear error."""

from __future__ import annotations

import io
import json
import pickle
import struct
from copy import deepcopy

import pytest
import torch
from layouts import hustvl_name
from nets import assert_close, random_input, random_net, small_config
from rounding import ALPHA, U64, U
from safetensors.torch import load_file, save_file

from vitmatte import VitMatteConfig, VitMatteForImageMatting, load_net
from vitmatte.weights.infer_config import infer_config
from vitmatte.weights.layouts import canonical_state
from vitmatte.weights.load import find_weights
from vitmatte.weights.names import hub_name
from vitmatte.weights.tensors import read_tensors

pytestmark = pytest.mark.numbers

PIXELS = random_input(96, 80)


@pytest.fixture
def net():
    return random_net()


@pytest.fixture
def saved(net, tmp_path):
    net.save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def alpha(net) -> torch.Tensor:
    with torch.inference_mode():
        return net(PIXELS).alphas


def write_all_layouts(net, folder):
    state = net.state_dict()
    hustvl = {hustvl_name(name): value for name, value in state.items()}
    assert len(set(hustvl) - set(state)) > 50
    net.save_pretrained(folder / "hub")
    (folder / "bin").mkdir()
    (folder / "bin" / "config.json").write_text(net.config.to_json_string())
    torch.save(state, folder / "bin" / "pytorch_model.bin")
    torch.save(hustvl, folder / "ViTMatte_S_Com.pth")
    torch.save({"model": hustvl, "iteration": 7}, folder / "detectron2.pth")
    torch.save(hustvl, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "parallel.pt")
    save_file(state, folder / "bare.safetensors")
    save_file(hustvl, folder / "bare_hustvl.safetensors")


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", ["hub", "hub/model.safetensors", "bin", "ViTMatte_S_Com.pth", "detectron2.pth",
                                  "old.pth", "parallel.pt", "bare.safetensors", "bare_hustvl.safetensors"])
def test_layouts_load_to_the_same_alpha(net, tmp_path, name, folded):
    write_all_layouts(net, tmp_path)
    found = load_net(tmp_path / name, folded=folded)
    assert_close(alpha(found), alpha(net), ALPHA)
    assert not found.training and found.folded == folded


@pytest.mark.parametrize("changes", [{}, {"window_size": 5}, {"qkv_bias": False}, {"image_size": [64, 128]},
                                     {"mlp_ratio": 2}, {"residual_block_indices": []},
                                     {"use_absolute_position_embeddings": False}], ids=str)
def test_configuration_is_inferred_from_shapes(changes):
    net = random_net(small_config(**changes))
    found = VitMatteConfig.from_architecture(infer_config(net.state_dict()))
    assert found.to_dict() == {**net.config.to_dict(), "backbone_config": found.vitdet.to_dict()}
    differing = {k for k, v in net.config.vitdet.to_dict().items() if found.vitdet.to_dict()[k] != v}
    assert differing <= {"pretrain_image_size"}  # which leaves no trace without absolute positions
    other = VitMatteForImageMatting(found, device="meta")
    other.load_state_dict(net.state_dict(), assign=True)
    assert_close(alpha(other.eval()), alpha(net), 0)


def test_configuration_of_the_default_net_is_inferred():
    expected = VitMatteConfig()
    state = VitMatteForImageMatting(expected, device="meta").state_dict()
    found = VitMatteConfig.from_architecture(infer_config(state))
    assert found.vitdet.to_dict() | {"out_features": ["stage12"], "out_indices": [12]} == expected.vitdet.to_dict()


@pytest.mark.parametrize("changes", [{"use_relative_position_embeddings": False}, {"window_block_indices": []},
                                     {"image_size": 48}], ids=str)  # 48 pixels are 3 tokens, as a window has
def test_configuration_that_leaves_no_trace_is_asked_for(tmp_path, changes):
    net = random_net(small_config(**changes))
    save_file(net.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"bare\.safetensors.*config\.json"):
        load_net(tmp_path / "bare.safetensors")


def test_names_are_renamed_by_whole_segments():
    assert hub_name("backbone.blocks.11.attn.qkv.weight") == "backbone.encoder.layer.11.attention.qkv.weight"
    assert hub_name("decoder.convstream.convs.0.bn.bias") == "decoder.convstream.convs.0.batch_norm.bias"
    assert hub_name("backbone.patch_embed.proj.bias") == "backbone.embeddings.projection.bias"
    assert hub_name("backbone.blocks.2.residual.norm1.weight") == "backbone.encoder.layer.2.residual.norm1.weight"
    assert hub_name("decoder.attn_bn.fusion_blks") == "decoder.attn_bn.fusion_blks"


def test_folding_is_exact_in_double_precision():
    net = random_net().double()
    folded = deepcopy(net)
    folded.fold()
    assert not any("batch_norm" in name or "running" in name for name in folded.state_dict())
    with torch.inference_mode():
        assert_close(folded(PIXELS.double()).alphas, net(PIXELS.double()).alphas, ALPHA * U64 / U)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_folding_a_file_of_halves_rounds_nothing_further(net, tmp_path, dtype):
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in net.state_dict().items()}
    save_file(state, tmp_path / "halves.safetensors")
    assert_close(alpha(load_net(tmp_path / "halves.safetensors", folded=True)),
                 alpha(load_net(tmp_path / "halves.safetensors")), ALPHA)


def test_loading_copies_nothing(saved):
    """Tensors are the file's memory map until something needs them in another type or place."""
    state = read_tensors(saved / "model.safetensors")
    net = load_net(saved)
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) <= len(state)
    assert all(p.device.type == "cpu" for p in net.parameters())
    assert_close(alpha(load_net(saved, dtype=torch.bfloat16).float()), alpha(net), 0.2)


def test_save_is_whole_or_not_at_all(net, tmp_path, monkeypatch):
    net.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def fail(tensors, path, **_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        net.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_folded_nets_are_not_saved(saved):
    with pytest.raises(ValueError, match="BatchNorms are folded"):
        load_net(saved, folded=True).save_pretrained(saved)


class RunsCode:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def damage(content: bytes, how: str) -> bytes:
    """A weights file's bytes, spoilt."""
    header = struct.unpack("<Q", content[:8])[0]
    return {
        "empty": b"",
        "cut in the header": content[: header // 2],
        "cut in the data": content[:-100],
        "one byte more": content + b"\0",
        "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "web page": b"<!DOCTYPE html><html>Not found</html>",
        "header too long": struct.pack("<Q", 2**60) + content[8:],
        "header is no JSON": content[:8] + b"\xff" * header + content[8 + header:],
        "noise": bytes(range(256)) * 8,
    }[how]


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth"])
@pytest.mark.parametrize("how", ["empty", "cut in the header", "cut in the data", "one byte more", "LFS pointer",
                                 "web page", "header too long", "header is no JSON", "noise"])
def test_damaged_files_are_refused(saved, tmp_path, how, name):
    path = tmp_path / name
    path.write_bytes(damage((saved / "model.safetensors").read_bytes(), how))
    with pytest.raises(ValueError) as error:
        load_net(path)
    assert str(path) in str(error.value), error.value
    words = {"empty": "is empty", "LFS pointer": "git lfs pull", "web page": "web page"}
    assert words.get(how, "") in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_pickles_are_refused(net, tmp_path, share):
    torch.save(net.state_dict(), tmp_path / "net.pth")
    whole = (tmp_path / "net.pth").read_bytes()
    (tmp_path / "net.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"net\.pth .*cut short"):
        load_net(tmp_path / "net.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickles_run_no_code(tmp_path, capsys, zipped):
    path = tmp_path / "evil.pth"
    torch.save({"model": RunsCode()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="refused"):
        load_net(path)
    path.write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(ValueError, match=r"evil\.pth"):
        load_net(path)
    assert "a pickle ran code" not in capsys.readouterr().out


@pytest.mark.parametrize(("names", "said"), [
    (["model.diffusion_model.input_blocks.0.0.weight"], "a Stable Diffusion checkpoint"),
    (["stage1.rebnconvin.conv_s1.weight"], r"a U2-Net \(rembg\)"),
    (["a", "b", "c", "d"], "it holds 4 entries, the first a, b, c"),
    ([], "it holds no tensors"),
])
def test_strangers_are_named(tmp_path, names, said):
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=f"is not a ViTMatte: .*{said}"):
        load_net(tmp_path / "x.safetensors")


def test_wrong_content_is_named(net, tmp_path):
    state = net.state_dict()
    for content, said in (([1, 2], "holds a list"), (torch.zeros(3), "holds a Tensor"),
                          ({**state, "backbone.x": 3}, "backbone.x is a int"),
                          ({**state, "decoder.x": torch.zeros(1, dtype=torch.int8)}, "decoder.x is torch.int8")):
        torch.save(content, tmp_path / "net.pth")
        with pytest.raises(ValueError, match=said):
            load_net(tmp_path / "net.pth")


def test_what_does_not_fit_is_named(saved):
    path = saved / "model.safetensors"
    state = load_file(path)
    bias = "backbone.encoder.layer.0.mlp.fc1.bias"
    for change, said in (({bias: None}, rf"1 missing \({bias}\)"), ({"spare": torch.zeros(1)}, r"not known \(spare\)"),
                         ({bias: torch.zeros(3)}, rf"of another shape \({bias} \[3\] instead of \[192\]\)"),
                         ({bias: torch.full((192,), float("nan"))}, rf"1 not finite \({bias}\)")):
        save_file({k: v for k, v in {**state, **change}.items() if v is not None}, path)
        with pytest.raises(ValueError, match=said) as error:
            load_net(saved)
        assert "hub layout" in str(error.value) and str(path) in str(error.value)
    save_file({k: v for k, v in state.items() if "mlp" not in k}, path)
    with pytest.raises(ValueError, match=r"16 missing \(.*, \.\.\.\)"):
        load_net(saved)


def test_config_of_another_net_is_noticed(saved):
    (saved / "config.json").write_text(small_config(window_size=2).to_json_string())
    with pytest.raises(ValueError, match="of another shape"):
        load_net(saved)


def test_files_of_many_nets_in_one_folder(net, saved):
    """config.json describes model.safetensors; another file beside it is told by its shapes."""
    other = random_net(small_config(window_size=2), seed=9)
    save_file(other.state_dict(), saved / "other.safetensors")
    assert_close(alpha(load_net(saved)), alpha(net), ALPHA)
    assert_close(alpha(load_net(saved / "other.safetensors")), alpha(other), ALPHA)


def test_finding_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        find_weights(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"no weights in .* expected model\.safetensors"):
        find_weights(tmp_path)
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"several weights files \(a\.pth, b\.safetensors\)"):
        find_weights(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert find_weights(tmp_path).name == "model.safetensors"


def test_layout_names():
    net = random_net()
    assert canonical_state(net.state_dict())[1] == "hub"
    assert canonical_state({hustvl_name(k): v for k, v in net.state_dict().items()})[1] == "hustvl"


def test_configuration_on_disk_is_json(saved):
    assert json.loads((saved / "config.json").read_text())["model_type"] == "vitmatte"
    assert io.BytesIO((saved / "model.safetensors").read_bytes()).read(9)[8:] == b"{"
