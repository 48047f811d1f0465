"""MEMatte's files and configurations, spoilt: the right net or one clear error."""

from __future__ import annotations

import json

import torch
from damage import DAMAGE, damaged
from fuzz import fuzzed, judged
from hypothesis import strategies as st
from mematte import mematte_config, mematte_names
from nets import random_net
from safetensors.torch import save
from test_fuzz_checkpoints import KEYS as OTHER_KEYS
from test_fuzz_checkpoints import NAMES, VALUES, check_net, outcome_of, pickled, write
from test_fuzz_configs import JSON, dumped, replaced

from vitmatte import load_net
from vitmatte.weights.config_file import CONFIG_NAME

NET = random_net(mematte_config(num_hidden_layers=2, window_block_indices=[0], residual_block_indices=[1],
                                hidden_size=12, num_attention_heads=2))
STATE = NET.state_dict()
THEIRS = mematte_names(STATE)
LAYOUTS = {"ours": save(STATE), "theirs": save({name: value.clone() for name, value in THEIRS.items()}),
           ".pth": pickled({"model": THEIRS, "iteration": 7})}
ROUTERS = st.builds("backbone.routers.{}.{}".format, st.sampled_from(("0", "1", "-1", "x", "", "²", "9" * 30, "0.0")),
                    st.sampled_from(("in_conv.0.weight", "out_conv.4.bias", "", "x")))
BLOCKS = st.builds("backbone.blocks.{}.efficient_block.{}".format, st.sampled_from(("0", "1", "7", "x", "", "9" * 9)),
                   st.sampled_from(("fc1.weight", "eca.conv.weight", "", "x")))
KEYS = ROUTERS | BLOCKS | st.sampled_from(sorted(THEIRS)) | st.sampled_from(("teacher_backbone.", "teacher_backbone.x"))


@fuzzed(30, layout=st.sampled_from(sorted(LAYOUTS)), changes=DAMAGE, name=st.sampled_from(NAMES), folded=st.booleans())
def test_damaged(tmp_path, layout, changes, name, folded):
    return outcome_of(write(tmp_path, name, damaged(LAYOUTS[layout], changes)), folded=folded)


@fuzzed(40, changed=st.dictionaries(KEYS | OTHER_KEYS, VALUES, max_size=3),
        removed=st.lists(st.sampled_from(sorted(THEIRS)), max_size=3), folded=st.booleans())
def test_made_up_names(tmp_path, changed, removed, folded):
    content = {name: value for name, value in THEIRS.items() if name not in removed} | changed
    try:
        data = pickled({"model": content})
    except Exception:  # what torch will not write cannot reach us
        return "not writable"
    outcome = outcome_of(write(tmp_path, "MEMatte.pth", data), folded=folded)
    only_teacher = not changed and all(name.startswith("teacher_backbone.") for name in removed)
    assert not only_teacher or outcome == "right"
    return outcome


CONFIG = json.loads(NET.config.to_json_string())
CONFIG_KEYS = [("backbone_config", name) for name in CONFIG["backbone_config"]]


@fuzzed(40, changes=st.dictionaries(st.sampled_from(CONFIG_KEYS), JSON, min_size=1, max_size=3))
def test_configs(tmp_path, changes):
    path = write(tmp_path, "model.safetensors", LAYOUTS["ours"])
    described = path.with_name(CONFIG_NAME)
    described.write_bytes(dumped(replaced(CONFIG, changes)))
    outcome, net = judged(lambda: load_net(tmp_path), path, described, also=(NotImplementedError,))
    if outcome == "right":
        check_net(net)
        with torch.inference_mode():
            assert net(torch.zeros(1, 4, 32, 32)).alphas.shape == (1, 1, 32, 32)
    return outcome
