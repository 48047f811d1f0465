"""Loads the pack as ComfyUI does: inside a real one when COMFYUI_HOST is set, else over the stand-ins in fakes/."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from paths import ROOT, SUPPORT

HOST = os.environ.get("COMFYUI_HOST")
NAME = "comfyui_vitmatte_under_test"


@cache
def load() -> tuple[ModuleType, list[type]]:
    """(the pack, its node classes)."""
    if HOST:
        base = tempfile.mkdtemp(prefix="vitmatte-host-")
        for folder in ("custom_nodes", "models", "input", "output", "temp", "user"):
            (Path(base) / folder).mkdir()
        sys.argv = sys.argv[:1]
        sys.path.insert(0, str(Path(HOST) / "ComfyUI"))
        from comfy.cli_args import args

        args.cpu, args.base_directory = True, base
    else:
        sys.path.insert(0, str(SUPPORT / "fakes"))
        import folder_paths

        folder_paths.models_dir = tempfile.mkdtemp(prefix="vitmatte-models-")
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = pack
    spec.loader.exec_module(pack)
    extension = asyncio.run(pack.comfy_entrypoint())
    return pack, asyncio.run(extension.get_node_list())
