"""Puts this library's classes where transformers' tests import transformers' own. A pytest plugin (`-p shim`).

The classes are ours as they are. What is added to them here describes them to the harness: private flags of
transformers' PreTrainedModel by which its tests decide what to run, and private names of things that ours do.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

import vitmatte
import vitmatte.model.vitdet
from vitmatte.huggingface.processing import VitMatteImageProcessor

# By the module of transformers.models that has them.
NAMES: dict[str, tuple[str, ...]] = {
    "vitmatte.configuration_vitmatte": ("VitMatteConfig",),
    "vitmatte.modeling_vitmatte": ("VitMatteForImageMatting",),
    "vitmatte.image_processing_vitmatte": ("VitMatteImageProcessor",),
    "vitmatte.image_processing_pil_vitmatte": ("VitMatteImageProcessorPil",),
    "vitdet.configuration_vitdet": ("VitDetConfig",),
    "vitdet.modeling_vitdet": ("VitDetModel", "VitDetBackbone"),
}

# Private flags and lists of PreTrainedModel: nothing to dispatch, to split, to tie, to leave out or to keep in float32.
FLAGS: dict[str, Any] = {
    "_supports_sdpa": False,
    "_supports_flash_attn": False,
    "_supports_flex_attn": False,
    "_supports_attention_backend": False,
    "_can_compile_fullgraph": False,
    "_can_record_outputs": {},
    "_compatible_flash_implementations": None,
    "_no_split_modules": [],
    "_tied_weights_keys": {},
    "all_tied_weights_keys": {},
    "_keep_in_fp32_modules": set(),
    "_keep_in_fp32_modules_strict": set(),
    "_keys_to_ignore_on_save": None,
    "_keys_to_ignore_on_load_missing": None,
    "_keys_to_ignore_on_load_unexpected": None,
    "_can_set_experts_implementation": classmethod(lambda cls: False),
    "_can_set_attn_implementation": classmethod(lambda cls: False),
    "_from_config": classmethod(lambda cls, config, **_: cls(config)),
    "tp_plan": {},
    "pp_plan": {},
}

# The same of PreTrainedConfig: no plans for several devices.
CONFIG_FLAGS: dict[str, Any] = {"base_model_tp_plan": None, "base_model_pp_plan": None}


def of_this_library(name: str) -> Any:
    """The class of ours that goes by this name, or None where there is none."""
    return getattr(vitmatte, name, None) or getattr(vitmatte.backbone, name, None)


def describe() -> None:
    """Gives our classes the flags that they do not have."""
    from transformers.backbone_utils import BackboneType

    flags = {**FLAGS, "backbone_type": BackboneType.TRANSFORMERS}
    for name in ("VitMatteForImageMatting", "VitDetModel", "VitDetBackbone", "VitMatteConfig", "VitDetConfig"):
        ours = of_this_library(name)
        for flag, value in (CONFIG_FLAGS if name.endswith("Config") else flags).items() if ours else ():
            if not hasattr(ours, flag):
                setattr(ours, flag, value)


class Processor(VitMatteImageProcessor):
    """Without what AutoImageProcessor adds for its own count of downloads, and with a private name of one method."""

    _pad_image = VitMatteImageProcessor.pad_image

    @classmethod
    def from_pretrained(cls, name: Any, **arguments: Any) -> Any:
        return super().from_pretrained(name, **{key: arguments[key] for key in arguments if key != "_from_auto"})


Processor.__name__ = "VitMatteImageProcessor"


def replace() -> None:
    """Ours for theirs, in `transformers`, in the package of the model, and in the module where theirs is defined."""
    import transformers

    for path, names in NAMES.items():
        places = [transformers, importlib.import_module(f"transformers.models.{path.split('.')[0]}")]
        if path != "vitmatte.image_processing_vitmatte":  # needs torchvision to be imported
            places.append(importlib.import_module(f"transformers.models.{path}"))
        for place in places:
            for name in names:
                ours = Processor if "ImageProcessor" in name else of_this_library(name)
                setattr(place, name, ours)


MADE: set[str] = set()  # classes of ours of which the test that runs has made objects


def watch(kind: type) -> None:
    """Notes when one of these is made: many of transformers' tests pass because they have nothing to do."""
    made: Any = kind.__init__

    @functools.wraps(made)
    def noted(self: Any, *arguments: Any, **named: Any) -> None:
        MADE.add(kind.__name__)
        made(self, *arguments, **named)

    kind.__init__ = noted


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    MADE.clear()
    yield
    # Almost every test makes a configuration first; only the configurations' own stop there.
    if any(not name.endswith("Config") for name in MADE) or (MADE and "config" in item.name):
        item.user_properties.append(("uses", True))


def pytest_configure() -> None:
    describe()
    replace()
    for kind in (vitmatte.VitMatteForImageMatting, vitmatte.backbone.VitDetBackbone, VitMatteImageProcessor,
                 vitmatte.VitMatteConfig, vitmatte.VitDetConfig):
        watch(kind)


def pytest_collectstart() -> None:
    replace()  # some of the tests import transformers afresh
