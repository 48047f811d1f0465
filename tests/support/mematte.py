"""MEMattes for tests: small configurations, weights that route some tokens and not others, and the authors' names."""

from __future__ import annotations

import torch
from layouts import hustvl_name
from nets import random_input, randomise, small_config

from vitmatte import VitMatteConfig, VitMatteForImageMatting

LIMIT = 18_500  # of the published nets
CLEAR = 1e-4  # margins and differences of them that no rounding brings to 0


def mematte_config(limit: int = LIMIT, **changes) -> VitMatteConfig:
    """`small_config` with routers."""
    return small_config(max_routed_tokens=limit, **changes)


@torch.no_grad()
def balanced(net: torch.nn.Module, last_layers: list[torch.nn.Linear], pixels: torch.Tensor) -> torch.nn.Module:
    """Shifts the routers' last layers, in their order, so that half of the tokens of `pixels` have margins above 0."""
    def shift(layer: torch.nn.Linear, _, scores: torch.Tensor) -> torch.Tensor:
        by = torch.stack([(scores[..., 1] - scores[..., 0]).median(), torch.tensor(0.0)])
        layer.bias += by
        return scores + by

    hooks = [layer.register_forward_hook(shift) for layer in last_layers]
    net(pixels)
    for hook in hooks:
        hook.remove()
    return net


def random_mematte(config: VitMatteConfig | None = None, seed: int = 0) -> VitMatteForImageMatting:
    """A net with random weights that routes about half of its tokens, in evaluation mode."""
    net = randomise(VitMatteForImageMatting(config or mematte_config()), seed)
    routers = [layer.router.out_conv[4] for layer in net.backbone.encoder.layer if layer.router is not None]
    with torch.enable_grad():  # its plain forward
        return balanced(net, routers, random_input(96, 128, 7))


def mematte_names(state: dict[str, torch.Tensor], *, teacher: bool = True) -> dict[str, torch.Tensor]:
    """A net's tensors by the names that the authors' code gives them, with the net that taught it."""
    blocks = sorted({int(name.split(".")[3]) for name in state if ".router." in name})
    named = {}
    for name, value in state.items():
        parts = name.split(".")
        if ".router." in name:
            name = ".".join(["backbone", "routers", str(blocks.index(int(parts[3]))), *parts[5:]])
        named[hustvl_name(name)] = value
    taught = {f"teacher_{name}": value for name, value in named.items()
              if teacher and name.startswith("backbone.") and "router" not in name and "efficient" not in name}
    return {**named, **taught}


def margins_of(net: torch.nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The margins [B, H, W] that each router gives of an input, by the plain forward."""
    found: list[torch.Tensor] = []
    routers = [layer.router for layer in net.backbone.encoder.layer if layer.router is not None]
    hooks = [router.register_forward_hook(lambda _, __, margins: found.append(margins.detach())) for router in routers]
    with torch.enable_grad():
        net(pixels)
    for hook in hooks:
        hook.remove()
    return found


def routed_shares(net: torch.nn.Module, pixels: torch.Tensor) -> list[float]:
    """What share of the tokens each router picks of an input."""
    routers = [layer.router for layer in net.backbone.encoder.layer if layer.router is not None]
    return [float(router.routed(margins).float().mean())
            for router, margins in zip(routers, margins_of(net, pixels), strict=True)]


def is_decided(net: torch.nn.Module, pixels: torch.Tensor) -> bool:
    """Whether rounding routes the same tokens of one picture everywhere: no margin is near 0, nor near that of the
    token at the limit."""
    limit = net.architecture.transformer.max_routed_tokens
    for margins in margins_of(net, pixels):
        ordered = margins.flatten().sort(descending=True).values
        border = ordered[limit - 1:limit + 1] if len(ordered) > limit and ordered[limit] > 0 else ordered[:1]
        if ordered.abs().min() < CLEAR or (len(border) == 2 and border[0] - border[1] < CLEAR):
            return False
    return True
