"""How much arithmetic the transformer does, in multiply-adds: what progress is measured by.

`bands` reports its arithmetic band by band; this is the sum it comes to, known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model.config import TransformerConfig
from ..model.routing import LIGHT_RATIO, LIGHT_REACH
from ..model.vitmatte import ViTMatte
from ..padding import touched
from .cells import CELL
from .needed import BlockTokens

# The published MEMattes were trained to route a quarter of the tokens. How many it is of a picture turns out block by
# block; progress counts with this share.
ROUTED_SHARE = 0.25


def backbone_macs(net: ViTMatte, grid: tuple[int, int], needed: int, strided: bool) -> int:
    """Multiply-adds of the backbone for one frame; see `transformer_macs`."""
    if net.external is not None:
        return net.external.macs(grid)
    assert net.architecture.transformer is not None
    return transformer_macs(net.architecture.transformer, grid, needed, strided)


def local_macs(config: TransformerConfig, blocks: Sequence[BlockTokens], reach: int) -> int:
    """Multiply-adds of one frame with limited reach.

    Args:
        config: the transformer's.
        blocks: from `needed.tokens_by_block`.
        reach: of global blocks, in tokens.
    """
    channels, patch = config.hidden_size, config.patch_size
    mlp = 2 * int(channels * config.mlp_ratio) * channels
    total = CELL**2 * int(touched(blocks[0].seen, CELL).sum()) * channels * config.num_channels * patch[0] * patch[1]
    for number, block in enumerate(blocks):
        side, attending, seen = config.window_of(number), int(block.attending.sum()), int(block.seen.sum())
        if side:
            keys, queries = side**2, int(touched(block.attending, side).sum()) * side**2
            total += queries * 4 * channels * channels
        else:
            keys, queries = (CELL + 2 * reach) ** 2, int(touched(block.attending, CELL).sum()) * CELL**2
            total += (seen * 3 + attending) * channels * channels
        total += queries * keys * 2 * channels + attending * mlp
        if number in config.residual_block_indices:
            total += int(block.wanted.sum()) * channels * channels * 13 // 4
    return total


def transformer_macs(config: TransformerConfig, grid: tuple[int, int], needed: int, strided: bool) -> int:
    """Multiply-adds of one frame.

    Args:
        config: the transformer's.
        grid: (H, W), tokens.
        needed: tokens whose features are wanted.
        strided: see `scope.Scope`.
    """
    height, width = grid
    tokens, channels = height * width, config.hidden_size
    patch = config.patch_size
    mlp = 2 * int(channels * config.mlp_ratio) * channels
    total = tokens * channels * config.num_channels * patch[0] * patch[1]
    last = config.depth
    for block in range(last):
        window = config.window_of(block)
        attended = tokens * (window * window if window else tokens // (4 if strided else 1))
        queries = tokens
        if block == last - 1 and not window and not strided:
            queries = min(tokens, needed)  # a little less than it is where residual convolutions look further
            attended = queries * tokens
        if config.is_routed(block):
            assert config.max_routed_tokens is not None
            routed = expected_routed(tokens, config.max_routed_tokens)
            total += tokens * (channels * channels + decision_macs(channels) + light_macs(channels))
            total += attention_macs(channels, int(routed * queries / tokens), routed) + queries * mlp
        else:
            total += tokens * 3 * channels * channels + queries * channels * channels
            total += attended * 2 * channels + queries * mlp
        if block in config.residual_block_indices:
            total += tokens * channels * channels * 13 // 4
    return total


def expected_routed(tokens: int, limit: int) -> int:
    """How many of so many tokens progress takes to be routed."""
    return max(1, int(ROUTED_SHARE * min(tokens, limit)))


def attention_macs(channels: int, queries: int, keys: int) -> int:
    """Multiply-adds of attention without windows: queries, keys and values, scores, the mean of the values, and the
    layer after it. None without queries, which ask for no keys."""
    return (keys * 3 * channels + 2 * queries * keys + queries * channels) * channels if queries else 0


def decision_macs(channels: int) -> int:
    """Multiply-adds of a router for a token, without those of its first layer."""
    return channels * (channels // 2) + (channels // 2) * (channels // 4) + channels // 4 * 2


def light_macs(channels: int) -> int:
    """Multiply-adds of the light block for a token."""
    return LIGHT_RATIO * channels * (2 * channels + (2 * LIGHT_REACH + 1) ** 2)
