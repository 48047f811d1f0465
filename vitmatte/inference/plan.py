"""The memory plan: how a matte is computed within a budget, in whole numbers, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ..model.config import MattingConfig, TransformerConfig
from ..model.vitmatte import ViTMatte
from ..padding import SizeContract, Span
from .attention import CACHED_SCORES, MIN_QUERIES
from .cells import CELL
from .decode import decoder_shape
from .preprocessing import DIVISOR
from .scope import Scope
from .unet_tiles import UNetShape

MEBI = 2**20

# Sides of the decoder's tiles, in pixels. On a CPU 256 and more are equally fast (benchmarks/parts.py); smaller ones
# compute much of their surroundings twice.
SIDES = (1024, 768, 512, 384, 256, 192, 128, 96, 64, 48, 32)

# What a band of the transformer has alive besides the tokens, in bands: queries, keys and values of the band,
# the same padded or in windows, the normed band and the result together.
BANDS_ALIVE = 3
# The same for the backbone of another library, in its largest tensors: 3.5 to 6.7 were measured (DINOv2, Swin,
# ConvNeXt, ResNet at 512 and 1024 squared).
EXTERNAL_ALIVE = 6
# Bytes for each place of the grid that say which token stands there, with limited reach.
INDICES = 64
# Of DiffMatte, float32 numbers for each pixel: the noisy matte before and after a step, and what std makes of it.
STATES = 3
# Workspace of the libraries underneath (packed matrices, convolution scratch), and what allocators keep.
WORKSPACE = 24 * MEBI


WHOLE = Scope()
PADDED = SizeContract(DIVISOR)


@dataclass(frozen=True)
class Plan:
    """How frames of one size are computed.

    Args:
        band_bytes, chunk_bytes: see `Context`.
        side: largest side of the decoder's tiles, in pixels.
        frames: so many run through the transformer at once.
        peak_bytes: memory taken at most, besides the weights and the caller's own tensors, one matte included.
    """

    band_bytes: int
    chunk_bytes: int
    side: int
    frames: int
    peak_bytes: int

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of tiles that this plan allows."""
        return tuple(side for side in SIDES if side <= self.side)


@dataclass(frozen=True)
class Footprint:
    """A net and a frame, and what computing one with the other takes, in bytes.

    Args:
        config: the net's.
        height, width: of the frame, in pixels.
        dtype: what the net computes in.
        device: type of the device.
        scope: see `scope.Scope`.
        external_values: of another library's backbone, see `largest` of `external.ExternalBackbone`; 0 for a ViTDet.
        tokens: so many are stored, with limited reach; None: all.
        contract: the sizes that pictures are padded to.
    """

    config: MattingConfig
    height: int
    width: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    scope: Scope = WHOLE
    external_values: float = 0
    tokens: int | None = None
    contract: SizeContract = PADDED

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the padded picture, in pixels."""
        return self.contract.padded_size(self.height, self.width)

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (rows, columns)."""
        return self.padded[0] // self.config.stride, self.padded[1] // self.config.stride

    @property
    def places(self) -> int:
        """Tokens."""
        return self.grid[0] * self.grid[1]

    def plan(self, band: int, chunk: int, side: int, frames: int) -> Plan:
        """The plan with these sizes.

        Its peak is a sum of what the transformer and what the decoder takes, though one follows the other: memory
        that an allocator got back in small pieces is of little use for large ones.
        """
        maps, scratch = self._tile(side)
        frame = self.height * self.width * (1 + 4)  # unknown area, matte
        if isinstance(shape := decoder_shape(self.config), UNetShape):  # of one frame at a time
            pixels = self.places * self.config.stride**2
            maps += int(pixels * (STATES * 4 + shape.middle_values * self.dtype.itemsize))
        whole, scores = self._backbone(band, chunk, frames)
        peak = WORKSPACE + frames * frame + whole + maps + max(scratch, scores)
        return Plan(band, chunk, side, frames, peak)

    def _backbone(self, band: int, chunk: int, frames: int) -> tuple[int, int]:
        """Bytes of (tokens and bands of them, scores that exist at once)."""
        stored = self.places if self.tokens is None else self.tokens
        tokens = frames * stored * self.config.hidden_size * self.dtype.itemsize
        transformer = self.config.transformer
        if transformer is None:
            pixels = frames * self.places * self.config.stride**2
            return tokens + int(pixels * self.external_values * self.dtype.itemsize * EXTERNAL_ALIVE), 0
        whole = int(tokens * self._copies(transformer)) + self._bands(transformer, band, frames)
        if self.scope.reach is not None:
            return whole + INDICES * self.places, self._cells(transformer, self.scope.reach, chunk, frames)
        return whole, self._scores(transformer, chunk, frames)

    def _copies(self, backbone: TransformerConfig) -> float:
        """How often all tokens are there: tokens, a global block's queries, keys and values; strided, once more.

        With routing, queries, keys and values of as many as may be routed, or their result and what is added to all.
        """
        if backbone.max_routed_tokens is not None:
            share = min(1.0, backbone.max_routed_tokens / self.places)
            return 1 + max(3 * share, 1 + share)
        if len(set(backbone.window_block_indices)) == backbone.num_hidden_layers:
            return 2
        return 5 if self.scope.strided else 4

    def _bands(self, backbone: TransformerConfig, band: int, frames: int) -> int:
        window = backbone.window_size if backbone.window_block_indices else 0
        contract = SizeContract(max(1, window))
        row = frames * 3 * backbone.hidden_size * self.dtype.itemsize
        whole = contract.padded(self.grid[0]) * contract.padded(self.grid[1]) * row
        # A row of windows is not cut; with limited reach, one window is not.
        smallest = window * (window if self.scope.reach is not None else contract.padded(self.grid[1])) * row
        return min(whole, max(band, smallest)) * BANDS_ALIVE

    def _scores(self, backbone: TransformerConfig, chunk: int, frames: int) -> int:
        width, chunk = self._widths(chunk)
        heads, keys = frames * backbone.num_attention_heads, self.places
        if backbone.max_routed_tokens is not None and self.device in ("cpu", "cuda"):
            keys = max(1, backbone.window_size**2)  # without tables torch's fused kernels make no scores
            if self.device == "cpu":  # as `attention` cuts them
                chunk = min(chunk, max(CACHED_SCORES, MIN_QUERIES * keys * width))
        return max(keys * width, min(chunk, heads * self.places * keys * width))

    def _cells(self, backbone: TransformerConfig, reach: int, chunk: int, frames: int) -> int:
        """Scores of cells of queries, and the keys and values that are gathered for them."""
        width, chunk = self._widths(chunk)
        keys, heads = (CELL + 2 * reach) ** 2, frames * backbone.num_attention_heads
        cells = max(1, chunk // (heads * CELL**2 * keys * width))
        stored = self.places if self.tokens is None else self.tokens
        cells = min(cells, -(-stored // CELL) + 1)
        return cells * heads * keys * (CELL**2 * width + 2 * 2 * backbone.head_dim * 4)

    def _widths(self, chunk: int) -> tuple[int, int]:
        """Bytes of a score, and of a chunk of them with what lies beside them."""
        if self.device == "cpu" and self.dtype == torch.bfloat16:  # scores in float32 and products beside them
            return 6, chunk * 3 // 2
        return (4 if self.device == "cpu" else self.dtype.itemsize), chunk

    def _tile(self, side: int) -> tuple[int, int]:
        """Bytes of (maps, scratch) of one tile of the decoder."""
        shape, (height, width) = decoder_shape(self.config), self.padded
        tile = shape.tile(_middle(side, height), _middle(side, width), height, width)
        maps, scratch = shape.peak(tile)
        size = self.dtype.itemsize
        if self.device == "cpu" and self.dtype == torch.bfloat16 and not has_bfloat16():
            size += 4  # of copies in float32
        return maps * size, scratch * size


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether oneDNN computes convolutions in bfloat16 on this processor. Elsewhere they are made of copies in
    float32."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # of torch 2.4 to 2.13; none without oneDNN
    return asked is not None and bool(asked())


def _middle(side: int, size: int) -> Span:
    """A tile's span where it has surroundings on both sides, if it has any."""
    side = min(side, size)
    start = (size - side) // 2
    return start, start + side


def footprint_of(
    net: ViTMatte, height: int, width: int, dtype: torch.dtype, device: str, *, scope: Scope = WHOLE,
    tokens: int | None = None, contract: SizeContract = PADDED,
) -> Footprint:
    """What computing a frame of height x width pixels with a net takes; see `Footprint`."""
    external = net.external.largest if net.external else 0
    return Footprint(net.architecture, height, width, dtype, device, scope, external, tokens, contract)
