"""timm without torchvision, which has no build for the CPU builds of torch that tests use.

timm imports torchvision for its data loaders only; while it is imported, empty modules stand in.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any


class _Anything(type):
    """A class whose every attribute is a name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


def _anything(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything(name, (), {})


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__getattr__ = _anything  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def import_timm() -> types.ModuleType:
    """timm, or ImportError where it is not installed."""
    if "timm" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    from transformers.utils import import_utils  # looks for torchvision now: before the stand-in is there

    finder = _StandIn()
    sys.meta_path.insert(0, finder)
    try:
        timm = importlib.import_module("timm")
        # transformers would not touch timm without torchvision.
        import_utils.BACKENDS_MAPPING["timm"] = (lambda: True, "")
        importlib.import_module("transformers.models.timm_backbone.modeling_timm_backbone").timm = timm
        return timm
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
