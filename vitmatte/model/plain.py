"""Whether a layer does what its weights say, for the few places that read weights instead of calling the layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")  # torch's names of those that all layers share


def is_plain(layer: nn.Module) -> bool:
    """Whether calling a layer computes torch's own function of its class with the weights it holds.

    False for a subclass with a forward of its own, a parametrised or quantised layer, and one whose `forward` was
    replaced. ComfyUI's layers cast their weights only, unless they hold functions that change them.
    """
    kind = type(layer)
    own = kind.__module__.startswith("torch.nn.modules.") or kind.__module__ == "comfy.ops"
    changed = "forward" in vars(layer) or any(getattr(layer, f"{name}_function", None) for name in ("weight", "bias"))
    tensors = all(type(x) in (nn.Parameter, Tensor) for x in layer.parameters(recurse=False))
    return own and tensors and not changed


def is_called(layer: nn.Module) -> bool:
    """Whether anybody notices that a layer is called: a hook of its own or of all layers, or a compiler."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks
    return bool(hooks) or any(getattr(torch_module, x, None) for x in GLOBAL_HOOKS) or torch.compiler.is_compiling()
