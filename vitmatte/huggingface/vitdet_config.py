"""Configuration of the plain vision transformer with windowed blocks, as Hugging Face documents `VitDetConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..model.config import TRANSFORMER_RULES, TransformerConfig, block_rule
from ..values import Rule
from ..weights.config_file import ROUTED_TYPE, as_vitdet, out_stages, stage_names, transformer_config
from .fields import keeps_unknown
from .hub_config import HubConfig


@keeps_unknown
@dataclass
class VitDetConfig(HubConfig):
    """A plain vision transformer with windowed blocks (Li et al., ECCV 2022, arXiv 2203.16527).

    Args:
        hidden_size: width of a token.
        num_hidden_layers: number of transformer blocks.
        num_attention_heads: heads per block; must divide hidden_size.
        mlp_ratio: width of the block's hidden layer, in multiples of hidden_size.
        hidden_act: one of `model.config.ACTIVATIONS`.
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
        attention_reach: this project's own: global blocks attend to keys at most so many tokens away in rows and in
            columns, with their tables as trained; None: to all.
        max_routed_tokens: this project's own: global blocks are MEMatte's, whose routers let at most so many tokens of
            a picture attend (see `model.config`); None: all attend. With it `to_dict` gives another `model_type`, by
            which transformers refuses the configuration: it has no such net.
        extra: keys of a config.json that are none of the above.

    Raises:
        ValueError: for a value that is not as described; the message names the field. Whether the values go together
            is seen when a net is built; see `architecture`.
    """

    model_type: ClassVar[str] = "vitdet"
    other_types: ClassVar[tuple[str, ...]] = (ROUTED_TYPE,)

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
    attention_reach: int | None = None
    max_routed_tokens: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.check_fields()
        features, numbers = self.out_features, self.out_indices
        stages = out_stages(self.num_hidden_layers, features, numbers, type(self).__name__)
        object.__setattr__(self, "out_features", [self.stage_names[i] for i in stages])
        object.__setattr__(self, "out_indices", list(numbers) if numbers is not None else stages)

    def rules(self) -> dict[str, Rule]:
        """What each field must be by itself."""
        TRANSFORMER_RULES["num_hidden_layers"].check(type(self).__name__, "num_hidden_layers", self.num_hidden_layers)
        blocks = block_rule(self.num_hidden_layers)
        return {**TRANSFORMER_RULES, "window_block_indices": blocks, "residual_block_indices": blocks}

    def assigned(self, name: str) -> None:
        """Of the names and the numbers of the stages to give out, one follows the other."""
        if name not in ("out_features", "out_indices"):
            return
        features, numbers = (self.out_features, None) if name == "out_features" else (None, self.out_indices)
        stages = out_stages(self.num_hidden_layers, features, numbers, type(self).__name__)
        object.__setattr__(self, "out_features", [self.stage_names[i] for i in stages])
        object.__setattr__(self, "out_indices", list(numbers) if numbers is not None else stages)

    def architecture(self) -> TransformerConfig:
        """What a net is built from. Raises ValueError unless the values go together."""
        return transformer_config(self.to_dict(), type(self).__name__)

    @property
    def stage_names(self) -> list[str]:
        """"stem" and one name per block; place = number of blocks that have run."""
        return stage_names(self.num_hidden_layers)

    @property
    def out_stages(self) -> list[int]:
        """The stages to give out, as numbers of blocks that have run."""
        return [i % (self.num_hidden_layers + 1) for i in self.out_indices or ()]

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json; without this project's own arguments where they are None."""
        values = super().to_dict()
        for own in ("attention_reach", "max_routed_tokens"):
            if values[own] is None:
                del values[own]
        return values if self.max_routed_tokens is None else {**values, "model_type": ROUTED_TYPE}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VitDetConfig:
        """From the content of a config.json, also of one with routed tokens; errors as in `HubConfig.from_dict`."""
        return super().from_dict(as_vitdet(values, cls.__name__))
