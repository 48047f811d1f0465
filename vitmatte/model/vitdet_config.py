"""Configuration of the plain vision transformer with windowed blocks, as Hugging Face documents `VitDetConfig`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..huggingface.fields import is_int, is_number, is_size, keeps_unknown
from ..huggingface.hub_config import HubConfig

MOST_BLOCKS = 1000  # real nets have up to 48
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish")


def pair(value: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


@keeps_unknown
@dataclass
class VitDetConfig(HubConfig):
    """A plain vision transformer with windowed blocks (Li et al., ECCV 2022, arXiv 2203.16527).

    Args:
        hidden_size: width of a token.
        num_hidden_layers: number of transformer blocks.
        num_attention_heads: heads per block; must divide hidden_size.
        mlp_ratio: width of the block's hidden layer, in multiples of hidden_size.
        hidden_act: one of `ACTIVATIONS`.
        dropout_prob: dropout after both layers of the MLP, 0 to below 1.
        initializer_range: standard deviation of freshly initialised weights.
        layer_norm_eps: epsilon of the blocks' LayerNorms.
        image_size: pixels, one number or [height, width]; sets the length of the relative position tables
            of global blocks (2 * image_size / patch_size - 1). Pictures of any other size work.
        pretrain_image_size: pixels; sets the grid of absolute positions, which must be square.
        patch_size: pixels per token.
        num_channels: channels of the input; 4 for ViTMatte (RGB and trimap).
        qkv_bias: whether queries, keys and values have a bias.
        drop_path_rate: stochastic depth in the last block; rises linearly from 0 in the first.
        window_block_indices: blocks that attend inside windows; the others attend globally.
        residual_block_indices: blocks that are followed by a convolutional residual block.
        use_absolute_position_embeddings: whether positions are added to the patch embeddings.
        use_relative_position_embeddings: whether decomposed relative positions are added to the scores.
        window_size: tokens on a window's side; 0 makes window blocks global.
        out_features: stages to give out ("stem", "stage1", ...); default the last.
        out_indices: the same by number; must agree with out_features when both are given. Of the two one follows the
            other when it is assigned.
        extra: keys of a config.json that are none of the above.

    Raises:
        ValueError: for a value that is not as described; the message names the field. Whether the values go together
            is seen when a net is built; see `check`.
    """

    model_type: ClassVar[str] = "vitdet"
    sub_configs: ClassVar[dict[str, Any]] = {}

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_ratio: float = 4
    hidden_act: str = "gelu"
    dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    image_size: int | list[int] = 224
    pretrain_image_size: int | list[int] = 224
    patch_size: int | list[int] = 16
    num_channels: int = 3
    qkv_bias: bool = True
    drop_path_rate: float = 0.0
    window_block_indices: list[int] = field(default_factory=list)
    residual_block_indices: list[int] = field(default_factory=list)
    use_absolute_position_embeddings: bool = True
    use_relative_position_embeddings: bool = False
    window_size: int = 0
    out_features: list[str] | None = None
    out_indices: list[int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_depth()
        self._assigned("out_features" if self.out_indices is None else "out_indices")
        self._check_values()
        if [self.stage_names[i] for i in self.out_indices or ()] != self.out_features:
            self._fail("out_indices", f"the numbers of out_features {self.out_features}")

    def _check_depth(self) -> None:
        self._check_counts("num_hidden_layers")
        self._check("num_hidden_layers", lambda v: v <= MOST_BLOCKS, f"at most {MOST_BLOCKS}")

    def _check_values(self) -> None:
        self._check_depth()
        self._check_counts("hidden_size", "num_attention_heads", "num_channels")
        self._check("mlp_ratio", lambda v: is_number(v) and v > 0, "a positive number")
        self._check("hidden_act", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}")
        self._check_rates("dropout_prob", "drop_path_rate", "initializer_range")
        self._check_epsilons("layer_norm_eps")
        for name in ("image_size", "pretrain_image_size", "patch_size"):
            self._check(name, is_size, "a positive whole number, or two of them (height, width)")
        self._check_flags("qkv_bias", "use_absolute_position_embeddings", "use_relative_position_embeddings")
        self._check("window_size", lambda v: is_int(v) and v >= 0, "a whole number of at least 0")
        blocks = self.num_hidden_layers
        for name in ("window_block_indices", "residual_block_indices"):
            self._as_list(name, lambda v: is_int(v) and 0 <= v < blocks, f"block numbers from 0 to {blocks - 1}")
        names = self.stage_names
        if self.out_features is not None:
            self._check("out_features", bool, "at least one name")
            self._as_list("out_features", lambda v: v in names, f"names out of {names[0]}, {names[1]} to {names[-1]}")
        if self.out_indices is not None:
            self._check("out_indices", bool, "at least one number")
            self._as_list("out_indices", lambda v: is_int(v) and -blocks - 1 <= v <= blocks,
                          f"numbers from 0 to {blocks}")

    def check(self) -> None:
        """Raises ValueError unless the values go together."""
        self._check("num_attention_heads", lambda v: self.hidden_size % v == 0, f"a divisor of {self.hidden_size}")
        self._check("mlp_ratio", lambda v: 1 <= self.hidden_size * v < 1e9, "a positive number")
        grid = self.pretrain_grid
        if self.use_absolute_position_embeddings and (grid[0] != grid[1] or grid[0] < 1):
            self._fail("pretrain_image_size", "a square of at least one patch, because absolute positions are")
        if min(self.grid) < 1:
            self._fail("image_size", f"at least one patch of {self.patch_size}")

    def _assigned(self, name: str) -> None:
        """Names and numbers of the stages to give out say the same; without either it is the last stage."""
        names, features, numbers = self.stage_names, self.out_features, self.out_indices
        if name == "out_features" or (name == "out_indices" and numbers is None):
            features = [names[-1]] if features is None else features
            right = isinstance(features, (list, tuple)) and all(each in names for each in features)
            object.__setattr__(self, "out_features", features)
            object.__setattr__(self, "out_indices", [names.index(each) for each in features] if right else None)
        elif name == "out_indices" and (features is None or "_ready" in self.__dict__):
            right = isinstance(numbers, (list, tuple)) and all(
                is_int(each) and -len(names) <= each < len(names) for each in numbers
            )
            object.__setattr__(self, "out_features", [names[each] for each in numbers or ()] if right else None)

    @property
    def stage_names(self) -> list[str]:
        """"stem" and one name per block; place = number of blocks that have run."""
        return ["stem", *(f"stage{i}" for i in range(1, self.num_hidden_layers + 1))]

    @property
    def out_stages(self) -> list[int]:
        """The stages to give out, as numbers of blocks that have run."""
        return [i % (self.num_hidden_layers + 1) for i in self.out_indices or ()]

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of a picture of `image_size`."""
        (height, width), (ph, pw) = pair(self.image_size), pair(self.patch_size)
        return height // ph, width // pw

    @property
    def pretrain_grid(self) -> tuple[int, int]:
        """Tokens (rows, columns) of a picture of `pretrain_image_size`."""
        (height, width), (ph, pw) = pair(self.pretrain_image_size), pair(self.patch_size)
        return height // ph, width // pw

    def window_of(self, block: int) -> int:
        """Tokens on the side of a block's attention windows; 0 where it attends globally."""
        return self.window_size if block in self.window_block_indices else 0


def vitmatte_small_backbone() -> VitDetConfig:
    """The backbone of vitmatte-small-composition-1k (its config.json on the hub)."""
    return VitDetConfig(
        hidden_size=384,
        num_attention_heads=6,
        image_size=512,
        num_channels=4,
        window_block_indices=[0, 1, 3, 4, 6, 7, 9, 10],
        residual_block_indices=[2, 5, 8, 11],
        use_relative_position_embeddings=True,
        window_size=14,
        out_features=["stage12"],
        out_indices=[12],
    )
