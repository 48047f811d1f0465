"""config.json, preprocessor_config.json and training recipes: read as they say, or one error that names the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from damage import DAMAGE, damaged
from fuzz import fuzzed, judged
from hypothesis import strategies as st
from nets import small_config
from paths import ROOT
from test_fuzz_checkpoints import LAYOUTS, NET, check_net, write

from vitmatte import VitMatteConfig, VitMatteImageProcessor, load_net
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.training.recipe import Recipe, read_recipe
from vitmatte.weights.config_file import CONFIG_NAME, PREPROCESSOR_NAME

NUMBERS = st.sampled_from((0, 1, -1, 2, 3, 12, 16, 31, 96, 10**4, 10**9, 2**31, 2**63, 10**20, 0.5, -0.0, 1e-300,
                           1e308, math.nan, math.inf, -math.inf, True, False, None))
WORDS = st.sampled_from(("", "gelu", "vitdet", "vitmatte", "swin", "stage2", "12", "../../x", "a" * 2000, "\ud800",
                         "\0", "\n", "adamw", "bf16", "fp32", "cpu"))
PLAIN = NUMBERS | WORDS
KEYS = st.sampled_from(("", "model_type", "self", "x", "hidden_size"))
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
                    max_leaves=6)


def dumped(values: object) -> bytes:
    return json.dumps(values).encode()


def replaced(values: dict, changes: dict[tuple[str, ...], object]) -> dict:
    """A copy with other values at some paths of keys; paths that an earlier change has cut off are left out."""
    values = json.loads(json.dumps(values))
    for (*outer, last), value in changes.items():
        inside: object = values
        for key in outer:
            inside = items(inside).get(key)
        if isinstance(inside, dict):
            inside[last] = value
        elif last in items(inside):
            inside[int(last)] = value
    return values


def items(values: object) -> dict[str, object]:
    """A list as a dict by number; nothing of anything else."""
    if isinstance(values, list):
        return {str(i): value for i, value in enumerate(values)}
    return values if isinstance(values, dict) else {}


NETS = NET.config.to_dict()
NET_KEYS = [(name,) for name in NETS] + [("backbone_config", name) for name in NETS["backbone_config"]] + [
    ("use_pretrained_backbone",), ("backbone",), ("self",), ("extra",)]


@fuzzed(40, changes=st.dictionaries(st.sampled_from(NET_KEYS), JSON, min_size=1, max_size=3), folded=st.booleans())
def test_configs(tmp_path, changes, folded):
    path = write(tmp_path, "model.safetensors", LAYOUTS["hub"])
    described = path.with_name(CONFIG_NAME)
    described.write_bytes(dumped(replaced(NETS, changes)))
    also = (NotImplementedError,)  # what a config.json may ask for and is not built; the message says what
    outcome, config = judged(lambda: VitMatteConfig.from_pretrained(described), described)
    if outcome == "right":
        assert VitMatteConfig.from_dict(json.loads(config.to_json_string())).to_json_string() == config.to_json_string()
    outcome, net = judged(lambda: load_net(tmp_path, folded=folded), *((path, described) if outcome == "right" else ()),
                          also=also)
    if outcome == "right":
        check_net(net)
        with torch.inference_mode():
            assert net(torch.zeros(1, 4, 32, 32)).alphas.shape == (1, 1, 32, 32)
    return outcome


TEXTS = {
    "config": small_config().to_json_string().encode(),
    "preprocessor": dumped(VitMatteImageProcessor().to_dict()),
    "deep": b'{"a":' * 50_000,
    "list": b"[]",
    "number": b"1" * 5000,
    "long number": b'{"hidden_size": ' + b"1" * 5000 + b"}",
    "twice": b'{"hidden_size": 12, "hidden_size": "x"}',
    "with a mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"hidden_size": 48}'.encode("utf-16"),
    "latin-1": '{"näme": 1}'.encode("latin-1"),
}


@fuzzed(30, text=st.sampled_from(sorted(TEXTS)), changes=st.just([]) | DAMAGE,
        read=st.sampled_from((VitMatteConfig.from_pretrained, VitMatteImageProcessor.from_pretrained, read_recipe)))
def test_texts(tmp_path, text, changes, read):
    path = write(tmp_path, CONFIG_NAME, damaged(TEXTS[text], changes))
    return judged(lambda: read(path), path)[0]


def test_a_file_too_large_for_a_config_is_not_read(tmp_path):
    path = tmp_path / CONFIG_NAME
    with path.open("wb") as file:
        file.truncate(2**36)  # takes no room on disk
    outcome, error = judged(lambda: VitMatteConfig.from_pretrained(path), path)
    assert outcome == "ValueError" and "68,719,476,736 bytes" in str(error)


PROCESSOR_KEYS = [*VitMatteImageProcessor().to_dict(), "size_divisor", "self", "cls", "images", "extra"]


@fuzzed(40, changes=st.dictionaries(st.sampled_from(PROCESSOR_KEYS), JSON, min_size=1, max_size=3))
def test_preprocessor_configs(tmp_path, changes):
    path = write(tmp_path, PREPROCESSOR_NAME, dumped({**VitMatteImageProcessor().to_dict(), **changes}))
    outcome, processor = judged(lambda: VitMatteImageProcessor.from_pretrained(tmp_path), path)
    if outcome == "right":
        pixels = torch.zeros(5, 7, 3)
        given = processor(pixels, pixels[..., 0], return_tensors="pt").pixel_values
        assert given.shape[:2] == (1, 4) and given.isfinite().all()
    again, preprocessing = judged(lambda: Preprocessing.from_folder(tmp_path), path)
    assert again == outcome
    if outcome == "right":
        assert preprocessing.net_input(pixels.unsqueeze(0), pixels[None, ..., 0]).isfinite().all()
    return outcome


RECIPES = sorted((ROOT / "vitmatte" / "training" / "recipes").glob("*.json"))
RECIPE = {"foregrounds": [{"folder": "fg", "index": "i.csv", "where": {"split": ["train"]}, "weight": 2}],
          "backgrounds": [{"folder": "bg"}], "model": NETS, "run": "run", "backbone": "vit.safetensors",
          "mixture": {"strands": 0.5}, "phases": [{"crops": [{"size": 64, "batch": 2, "weight": 0.5}], "until": 9}],
          "schedule": {"rate": 1e-3, "warmup": 2, "steps": 10, "decay": 2}, "loss": {"unknown": 1, "known": 2},
          "optimizer": "adamw", "threads": 2, "precision": "fp32", "seed": 3, "comment": "x"}


def keys_of(values: object, outer: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All paths of keys in what a JSON file holds."""
    return [path for key, value in items(values).items() for path in ((*outer, key), *keys_of(value, (*outer, key)))]


RECIPE_KEYS = [key for key in keys_of(RECIPE) if key[0] != "model" or len(key) < 3] + [
    (name,) for name in Recipe.__dataclass_fields__] + [("mixture", "x"), ("schedule", "self"), ("self",)]


@fuzzed(40, changes=st.dictionaries(st.sampled_from(RECIPE_KEYS), JSON, min_size=1, max_size=3))
def test_recipes(tmp_path, changes):
    path = write(tmp_path, "recipe.json", dumped(replaced(RECIPE, changes)))
    outcome, recipe = judged(lambda: read_recipe(path), path)
    if outcome == "right":
        assert all(0 <= recipe.schedule.at(step) < math.inf for step in (0, 5, 10**6))
        assert recipe.crops_at(0) and isinstance(recipe.run, str)
        for source in (*recipe.foregrounds, *recipe.backgrounds):
            assert Path(source.folder).is_absolute() and 0 <= source.weight < math.inf
    return outcome


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_published_recipes_are_read(path):
    assert judged(lambda: read_recipe(path), path)[0] == "right"
