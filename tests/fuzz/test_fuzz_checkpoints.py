"""Checkpoint files, spoilt in every way: the right net or one clear error; nothing runs, hangs or swells."""

from __future__ import annotations

import io
import json
import struct
import warnings
from pathlib import Path

import pytest
import torch
from damage import DAMAGE, damaged
from fuzz import emptied, fuzzed, judged
from hypothesis import strategies as st
from layouts import hustvl_name
from nets import random_net, small_config
from safetensors.torch import save

from vitmatte import load_net
from vitmatte.weights.config_file import CONFIG_NAME

NET = random_net(small_config(num_hidden_layers=2, window_block_indices=[0], residual_block_indices=[1],
                              hidden_size=12, num_attention_heads=2))
STATE = NET.state_dict()
HUSTVL = {hustvl_name(name): value for name, value in STATE.items()}
NAMES = ("model.safetensors", "pytorch_model.bin", "net.pth", "net.pt", "net.safetensors", "net.bin", "net", "net.zip")


def pickled(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


LAYOUTS = {
    "hub": save(STATE),
    "hustvl": save(HUSTVL),
    "hub .bin": pickled(STATE),
    "hustvl .pth": pickled(HUSTVL),
    "detectron2": pickled({"model": HUSTVL, "iteration": 7}),
    "old .pth": pickled(HUSTVL, zipped=False),
    "parallel": pickled({"state_dict": {f"module.{name}": value for name, value in STATE.items()}}),
}


def write(folder: Path, name: str, content: bytes, config: bool = False) -> Path:
    """The file, alone in the folder but for its configuration."""
    emptied(folder)
    (folder / name).write_bytes(content)
    if config:
        (folder / CONFIG_NAME).write_text(NET.config.to_json_string())
    return folder / name


def check_net(net, *, state=None) -> None:
    """A net that works: finite, and with its weights where it should have them."""
    found = net.state_dict()
    assert all(value.isfinite().all() for value in found.values())
    assert state is None or all(found[name].equal(value) for name, value in state.items())


def outcome_of(path: Path, *, folded: bool, state=None) -> str:
    outcome, net = judged(lambda: load_net(path, folded=folded), path, path.with_name(CONFIG_NAME))
    if outcome == "right":
        check_net(net, state=None if folded else state)
    return outcome


@fuzzed(30, layout=st.sampled_from(sorted(LAYOUTS)), changes=DAMAGE, name=st.sampled_from(NAMES), config=st.booleans(),
        folded=st.booleans())
def test_damaged(tmp_path, layout, changes, name, config, folded):
    path = write(tmp_path, name, damaged(LAYOUTS[layout], changes), config)
    return outcome_of(path, folded=folded)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_renamed(tmp_path, layout, name):
    """The content counts, not the name; but what is called .safetensors must be one."""
    path = write(tmp_path, name, LAYOUTS[layout])
    outcome = outcome_of(path, folded=False, state=STATE)
    wrong = name.endswith(".safetensors") and layout not in ("hub", "hustvl")
    assert outcome == ("ValueError" if wrong else "right")


def _tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(shape).to(dtype)


REAL = (torch.float16, torch.bfloat16, torch.float64)
DTYPES = (*REAL, torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool, torch.complex64,
          torch.float8_e4m3fn, torch.float8_e5m2)
SHAPES = ((), (0,), (1,), (12,), (12, 12), (0, 4, 16, 16), (12, 4, 16, 16), (1, 1, 1, 1), (5, 0), (1, 2, 3, 4, 5))
BADLY_NAMED = ("backbone.encoder.layer.x.attention.rel_pos_h", "backbone.encoder.layer.99999999.attention.rel_pos_h",
               "backbone.encoder.layer.-1.x", "decoder.convstream.convs.3.conv.weight", "", ".", "..", "a" * 3000,
               "\n\x1b[31m\ud7ff", "module." * 2000 + "x", "backbone.attn." * 500)


def huge(shape: tuple[int, ...]) -> torch.Tensor:
    """Many elements that share one: nothing in a file, without end to whoever counts."""
    return torch.zeros(1).expand(shape)


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():  # torch means to part with these
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(12), 0.1, 0, torch.qint8)


HUGE = ((2**40,), (2**20, 4, 16, 16), (12, 4, 2**15, 2**15), (2**31, 2**30))
VALUES = st.one_of(
    st.builds(_tensor, st.sampled_from(SHAPES), st.sampled_from((torch.float32, *DTYPES))),
    st.builds(huge, st.sampled_from(HUGE)),
    st.sampled_from((float("nan"), float("inf"), -float("inf"), 3e38)).map(lambda v: torch.full((12,), v)),
    st.sampled_from((None, 3, "text", b"bytes", [1], {"a": 1}, (), 2.5, float("nan"), True)),
    st.just(torch.zeros(12, device="meta")),
    st.just(torch.eye(12).to_sparse()),
    st.builds(quantized),
)
KEYS = st.sampled_from(sorted(STATE)) | st.sampled_from(BADLY_NAMED) | st.sampled_from((3, None, b"x", ("a",), 2.5))


def retyped(state, dtype):
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


@fuzzed(30, replaced=st.dictionaries(KEYS, VALUES, max_size=3),
        removed=st.lists(st.sampled_from(sorted(STATE)), max_size=3),
        dtype=st.sampled_from((torch.float32, *REAL, torch.int8, torch.float8_e4m3fn)), zipped=st.booleans(),
        nested=st.sampled_from((None, "model", "state_dict", "net")), config=st.booleans(), folded=st.booleans())
def test_made_up_pickles(tmp_path, replaced, removed, dtype, zipped, nested, config, folded):
    kept = {name: value for name, value in retyped(STATE, dtype).items() if name not in removed}
    content = {**kept, **replaced}
    try:
        data = pickled({nested: content} if nested else content, zipped=zipped)
    except Exception:  # what torch will not write cannot reach us
        return "not writable"
    path = write(tmp_path, "pytorch_model.bin", data, config)
    good = not replaced and not removed and nested != "net" and dtype not in (torch.int8, torch.float8_e4m3fn)
    outcome = outcome_of(path, folded=folded, state=retyped(STATE, dtype) if good else None)
    assert not good or outcome == "right"
    return outcome


SIZES = st.sampled_from((-1, 0, 1, 2, 12, 2**31, 2**32, 2**53, 2**63 - 1, 2**64, 1.5, None, "12"))
ENTRY = st.fixed_dictionaries({}, optional={
    "dtype": st.sampled_from(("F32", "F16", "BF16", "F64", "I8", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64", "X", 3,
                              None)),
    "shape": st.lists(SIZES, max_size=5) | st.none(),
    "data_offsets": st.lists(SIZES, max_size=3) | st.none(),
})


@fuzzed(30, changed=st.dictionaries(st.sampled_from(sorted(STATE)) | st.sampled_from(("__metadata__", "x", "")), ENTRY,
                                    max_size=3),
        length=st.none() | st.sampled_from((0, 1, 8, 10**8, 10**8 + 1, 2**31, 2**63, 2**64 - 1)), config=st.booleans(),
        text=st.none() | st.sampled_from((b"[]", b"{}", b"null", b"[" * 5000, b'{"a":' * 3000, b" " * 100,
                                          b"\xff\xfe{")))
def test_safetensors_headers(tmp_path, changed, length, text, config):
    whole = LAYOUTS["hub"]
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8:end])
    for name, entry in changed.items():
        header[name] = {**header.get(name, {}), **entry}
    text = json.dumps(header).encode() if text is None else text
    content = struct.pack("<Q", len(text) if length is None else length) + text + whole[end:]
    return outcome_of(write(tmp_path, "model.safetensors", content, config), folded=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("folded", [False, True])
def test_weights_of_other_precisions(tmp_path, dtype, folded):
    for content in (save(retyped(STATE, dtype)), pickled(retyped(STATE, dtype))):
        name = "model.safetensors" if content[8:9] == b"{" else "net.pth"
        assert outcome_of(write(tmp_path, name, content), folded=folded) == "right"


def test_nothing_swells_by_a_shape(tmp_path):
    """Shapes that no file of that size could fill, with and without a config.json that agrees."""
    name = "backbone.embeddings.projection.weight"
    for shape in HUGE:
        path = write(tmp_path, "pytorch_model.bin", pickled({**STATE, name: huge(shape)}), config=True)
        assert outcome_of(path, folded=True) == "ValueError"
        path = write(tmp_path, "net.pth", pickled({**STATE, name: huge(shape)}))
        assert outcome_of(path, folded=True) == "ValueError"
