"""DiffMatte's files, spoilt in every way: the right net or one clear error; nothing runs, hangs or swells."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from damage import DAMAGE, damaged
from diffmatte_nets import diffmatte_config, random_diffmatte
from fuzz import emptied, fuzzed, judged
from hypothesis import strategies as st
from layouts import hustvl_name
from safetensors.torch import save
from test_fuzz_checkpoints import BADLY_NAMED, VALUES, check_net, pickled
from test_fuzz_configs import JSON, dumped, keys_of, replaced

from vitmatte.model.config import TransformerConfig
from vitmatte.weights.config_file import CONFIG_NAME, described
from vitmatte.weights.load import load_net

BACKBONE = TransformerConfig(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, image_size=(96, 96),
                             pretrain_image_size=(80, 80), window_size=3, window_block_indices=(0,),
                             residual_block_indices=(1,))
NET = random_diffmatte(diffmatte_config(steps=1, backbone=BACKBONE, hidden_size=12))
STATE = NET.state_dict()
AUTHORS = {f"model.{hustvl_name(name)}": value for name, value in STATE.items()}
LAYOUTS = {"hub": save(STATE), "the authors'": pickled({"model": AUTHORS, "iteration": 7}),
           "flat": pickled(AUTHORS), "old": pickled({"model": AUTHORS}, zipped=False)}
DESCRIBED = described(NET.architecture)


def write(folder: Path, content: bytes, config: bytes | None = None) -> Path:
    """The file, alone in the folder but for its configuration."""
    emptied(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(content)
    if config is not None:
        path.with_name(CONFIG_NAME).write_bytes(config)
    return path


def outcome_of(path: Path, fold: bool, state: dict | None = None) -> str:
    outcome, net = judged(lambda: load_net(path, fold=fold), path, path.with_name(CONFIG_NAME))
    if outcome == "right":
        check_net(net, state=None if fold else state)
        with torch.inference_mode():
            assert net.decoder.diffusion.steps > 20 or net(torch.zeros(1, 4, 32, 32)).shape == (1, 1, 32, 32)
    return outcome


@fuzzed(30, layout=st.sampled_from(sorted(LAYOUTS)), changes=DAMAGE, config=st.booleans(), fold=st.booleans())
def test_damaged(tmp_path, layout, changes, config, fold):
    path = write(tmp_path, damaged(LAYOUTS[layout], changes), dumped(DESCRIBED) if config else None)
    return outcome_of(path, fold)


NAMES = st.sampled_from(sorted(AUTHORS)) | st.sampled_from(BADLY_NAMED) | st.sampled_from((
    "model.decoder.down_blks.3.conv2.weight", "model.decoder.down_blks.x.conv2.weight", "model.decoder.up_blks",
    "model.decoder.time_embed.0.weight.x", "model.decoder.convstream.convs.0.conv.weight", "model.decoder.down_blks."))


@fuzzed(40, changes=st.dictionaries(NAMES, VALUES, max_size=3),
        removed=st.lists(st.sampled_from(sorted(AUTHORS)), max_size=3), config=st.booleans(), fold=st.booleans())
def test_made_up_pickles(tmp_path, changes, removed, config, fold):
    content = {name: value for name, value in AUTHORS.items() if name not in removed}
    try:
        data = pickled({"model": {**content, **changes}})
    except Exception:  # what torch will not write cannot reach us
        return "not writable"
    outcome = outcome_of(write(tmp_path, data, dumped(DESCRIBED) if config else None), fold,
                         None if changes or removed else STATE)
    assert outcome == "right" or changes or removed
    return outcome


CONFIG_KEYS = [*keys_of(json.loads(dumped(DESCRIBED))), ("diffusion", "x"), ("diffusion", "self"), ("backbone",)]


@fuzzed(60, changes=st.dictionaries(st.sampled_from(CONFIG_KEYS) | st.sampled_from(
    [key for key in CONFIG_KEYS if key[0] == "diffusion"]), JSON, min_size=1, max_size=3), fold=st.booleans())
def test_configs(tmp_path, changes, fold):
    path = write(tmp_path, LAYOUTS["flat"], dumped(replaced(DESCRIBED, changes)))
    return outcome_of(path, fold)
