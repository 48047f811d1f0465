"""The architecture of a net: frozen dataclasses of plain, checked values, named as in the hub's config.json."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ..values import COUNT, COUNTS, EPSILON, FLAG, POSITIVE, RATE, SIZE, WHOLE, Rule, check_values, each, is_int, one_of
from .diffusion import DiffusionConfig
from .external_config import CHANNELS, ExternalConfig

MAX_BLOCKS = 1000  # real nets have up to 48
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish")

_OPTIONAL_COUNT = Rule(lambda v: v is None or COUNT.holds(v), "a whole number of at least 1, or None")

# What each value must be by itself. What values have to do with each other is checked by the classes.
TRANSFORMER_RULES: dict[str, Rule] = {
    "num_hidden_layers": Rule(lambda v: COUNT.holds(v) and v <= MAX_BLOCKS, f"a whole number from 1 to {MAX_BLOCKS}"),
    "hidden_size": COUNT, "num_attention_heads": COUNT, "num_channels": COUNT, "mlp_ratio": POSITIVE,
    "hidden_act": one_of(*ACTIVATIONS), "dropout_prob": RATE, "drop_path_rate": RATE, "initializer_range": RATE,
    "layer_norm_eps": EPSILON, "image_size": SIZE, "pretrain_image_size": SIZE, "patch_size": SIZE,
    "qkv_bias": FLAG, "use_absolute_position_embeddings": FLAG, "use_relative_position_embeddings": FLAG,
    "window_size": WHOLE, "attention_reach": _OPTIONAL_COUNT, "max_routed_tokens": _OPTIONAL_COUNT,
}
MATTING_RULES: dict[str, Rule] = {
    "hidden_size": COUNT, "initializer_range": RATE, "batch_norm_eps": EPSILON,
    "convstream_hidden_sizes": COUNTS, "fusion_hidden_sizes": COUNTS, "refine": EPSILON,
}


def block_rule(blocks: int) -> Rule:
    """Numbers of a transformer's blocks."""
    return each(lambda v: is_int(v) and 0 <= v < blocks, f"block numbers from 0 to {blocks - 1}")


def pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]


@dataclass(frozen=True)
class TransformerConfig:
    """A plain vision transformer with windowed blocks (Li et al., ECCV 2022, arXiv 2203.16527).

    Args:
        hidden_size: width of a token.
        num_hidden_layers: number of blocks.
        num_attention_heads: heads per block; divides hidden_size.
        mlp_ratio: width of a block's hidden layer, in multiples of hidden_size.
        hidden_act: one of `ACTIVATIONS`.
        dropout_prob: dropout after both layers of the MLP, 0 to below 1.
        initializer_range: standard deviation of fresh weights.
        layer_norm_eps: epsilon of the blocks' LayerNorms.
        image_size: (height, width) in pixels; sets the length of the relative position tables of global blocks,
            2 * image_size / patch_size - 1. Pictures of any other size work.
        pretrain_image_size: (height, width) in pixels; sets the grid of absolute positions, which must be square.
        patch_size: (height, width) in pixels of a token.
        num_channels: channels of the input; 4 for ViTMatte (RGB and trimap).
        qkv_bias: whether queries, keys and values have a bias.
        drop_path_rate: stochastic depth of the last block; rises linearly from 0 in the first.
        window_block_indices: blocks that attend inside windows; the others attend globally.
        residual_block_indices: blocks that are followed by a convolutional residual block.
        use_absolute_position_embeddings: whether positions are added to the patch embeddings.
        use_relative_position_embeddings: whether decomposed relative positions are added to the scores.
        window_size: tokens on a window's side; 0 makes window blocks global.
        last_block: so many blocks run for the feature map; None for all.
        attention_reach: global blocks attend to keys at most so many tokens away in rows and in columns, with their
            tables as trained; None: to all keys, with tables stretched to the picture.
        max_routed_tokens: global blocks are MEMatte's: without tables; a router picks the tokens that attend, among
            themselves, at most so many of a picture, and a light block stands in for attention for the others (see
            `routing`). None: all tokens attend.

    Raises:
        ValueError: for a value that is not as described; the message names the field.
    """

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    mlp_ratio: float = 4
    hidden_act: str = "gelu"
    dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    image_size: tuple[int, int] = (512, 512)
    pretrain_image_size: tuple[int, int] = (224, 224)
    patch_size: tuple[int, int] = (16, 16)
    num_channels: int = CHANNELS
    qkv_bias: bool = True
    drop_path_rate: float = 0.0
    window_block_indices: tuple[int, ...] = (0, 1, 3, 4, 6, 7, 9, 10)
    residual_block_indices: tuple[int, ...] = (2, 5, 8, 11)
    use_absolute_position_embeddings: bool = True
    use_relative_position_embeddings: bool = True
    window_size: int = 14
    last_block: int | None = None
    attention_reach: int | None = None
    max_routed_tokens: int | None = None

    def __post_init__(self) -> None:
        self.check("TransformerConfig")

    def check(self, owner: str) -> None:
        """Raises ValueError, whose message begins with `owner`, unless the values are right and go together."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        check_values(owner, values, TRANSFORMER_RULES)
        blocks = block_rule(self.num_hidden_layers)
        check_values(owner, values, {"window_block_indices": blocks, "residual_block_indices": blocks})
        check_values(owner, values, {
            "num_attention_heads": Rule(lambda v: self.hidden_size % v == 0, f"a divisor of {self.hidden_size}"),
            "mlp_ratio": Rule(lambda v: 1 <= self.hidden_size * v < 1e9, "a positive number"),
            "image_size": Rule(lambda v: min(self.grid) >= 1, f"at least one patch of {self.patch_size}"),
        })
        if self.max_routed_tokens is not None and self.attention_reach is not None:
            raise ValueError(f"{owner}: attention_reach is {self.attention_reach}; expected None with "
                             "max_routed_tokens: routed tokens attend to each other wherever they are")
        if self.max_routed_tokens is not None and self.hidden_size % 4:
            raise ValueError(f"{owner}: hidden_size is {self.hidden_size}; expected a multiple of 4 with "
                             "max_routed_tokens, because routers halve it twice")
        grid = self.pretrain_grid
        if self.use_absolute_position_embeddings and (grid[0] != grid[1] or grid[0] < 1):
            raise ValueError(f"{owner}: pretrain_image_size is {self.pretrain_image_size}; expected a square of at "
                             "least one patch, because absolute positions are")

    @property
    def depth(self) -> int:
        """How many blocks run for the feature map."""
        return self.num_hidden_layers if self.last_block is None else self.last_block

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of a picture of `image_size`."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]

    @property
    def pretrain_grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of a picture of `pretrain_image_size`."""
        return self.pretrain_image_size[0] // self.patch_size[0], self.pretrain_image_size[1] // self.patch_size[1]

    def window_of(self, block: int) -> int:
        """Tokens on the side of a block's attention windows; 0 where it attends globally."""
        return self.window_size if block in self.window_block_indices else 0

    def is_routed(self, block: int) -> bool:
        """Whether a router picks the tokens that attend in a block."""
        return self.max_routed_tokens is not None and not self.window_of(block)


@dataclass(frozen=True)
class MattingConfig:
    """A ViTMatte: backbone, convolution stream and fusion blocks (Yao et al., arXiv 2305.15272).

    Args:
        backbone: the transformer built in, or another library's backbone.
        hidden_size: channels of the backbone's feature map.
        batch_norm_eps: epsilon of the decoder's BatchNorms.
        initializer_range: standard deviation of fresh weights.
        convstream_hidden_sizes: channels of the detail maps at 1/2, 1/4, 1/8 of the size.
        fusion_hidden_sizes: channels after each fusion; one more than the detail maps.
        refine: strength with which its mattes are refined unless another is asked for (`refine_matte`); 0 for not at
            all. No part of the net.
        diffusion: how the decoder is run; where it is given the decoder is DiffMatte's (`dunet`), whose detail maps
            have 32, 64 and 128 channels in the published nets.

    Raises:
        ValueError: for values that are not as described or do not go together; the message names the field.
    """

    backbone: TransformerConfig | ExternalConfig = field(default_factory=TransformerConfig)
    hidden_size: int = 384
    batch_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    convstream_hidden_sizes: tuple[int, ...] = (48, 96, 192)
    fusion_hidden_sizes: tuple[int, ...] = (256, 128, 64, 32)
    refine: float = 0.0
    diffusion: DiffusionConfig | None = None

    def __post_init__(self) -> None:
        self.check("MattingConfig")

    def check(self, owner: str) -> None:
        """Raises ValueError, whose message begins with `owner`, unless the values are right and go together."""
        check_values(owner, {f.name: getattr(self, f.name) for f in fields(self)}, MATTING_RULES)
        if len(self.fusion_hidden_sizes) != len(self.convstream_hidden_sizes) + 1:
            raise ValueError(f"{owner}: fusion_hidden_sizes is {list(self.fusion_hidden_sizes)}; expected "
                             f"{len(self.convstream_hidden_sizes) + 1} numbers, one more than convstream_hidden_sizes "
                             f"{list(self.convstream_hidden_sizes)}")
        if self.diffusion is not None and (self.transformer is None or self.num_channels != CHANNELS):
            raise ValueError(f"{owner}: diffusion is given, and the backbone is "
                             + ("another library's" if self.transformer is None else f"one of {self.num_channels} "
                                "channels") + f"; expected the transformer built in, with {CHANNELS} channels")
        if self.transformer is None:
            return
        if self.transformer.hidden_size != self.hidden_size:
            raise ValueError(f"{owner}: hidden_size is {self.hidden_size}; expected {self.transformer.hidden_size}, "
                             "the hidden_size of backbone_config")
        if set(self.transformer.patch_size) != {self.stride}:
            raise ValueError(f"{owner}: backbone_config has a patch_size of {self.transformer.patch_size}; expected "
                             f"{self.stride}, because {len(self.fusion_hidden_sizes)} fusion blocks enlarge by that")

    @property
    def transformer(self) -> TransformerConfig | None:
        """The backbone's configuration where it is the transformer built in."""
        return self.backbone if isinstance(self.backbone, TransformerConfig) else None

    @property
    def routes_tokens(self) -> bool:
        """Whether it is a MEMatte, whose global blocks have routers."""
        return self.transformer is not None and self.transformer.max_routed_tokens is not None

    @property
    def pads_both_sides(self) -> bool:
        """Whether pictures are padded as its authors do, not as the hub does; see `padding.SizeContract`."""
        return self.routes_tokens or self.diffusion is not None

    @property
    def external(self) -> ExternalConfig | None:
        """The backbone's configuration where it is another library's."""
        return self.backbone if isinstance(self.backbone, ExternalConfig) else None

    @property
    def num_channels(self) -> int:
        """Channels of the input."""
        return self.backbone.num_channels

    @property
    def stride(self) -> int:
        """Pixels to a place of the feature map that the decoder takes: each fusion block enlarges by two."""
        return 2 ** len(self.fusion_hidden_sizes)
