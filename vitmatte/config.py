"""Configuration of the net: plain, checked values that read and write the hub's config.json.

The arguments and their defaults are those which Hugging Face documents for `VitDetConfig` and
`VitMatteConfig`. Keys of a config.json that are not arguments here (`architectures`, `torch_dtype`, ...) are
kept in `extra` and written back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

CONFIG_NAME = "config.json"
PREPROCESSOR_NAME = "preprocessor_config.json"
MOST_JSON = 2**24  # bytes of a configuration file; real ones have a few thousand
MOST_BLOCKS = 1000  # real nets have up to 48
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish")


def pair(value: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError that names the file when it holds none."""
    size = os.stat(path).st_size
    if size > MOST_JSON:
        raise ValueError(f"{path} has {size:,} bytes, too many for a configuration; it is another kind of file")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}; expected an object")
    return content


class _Fields:
    """Checks shared by both configurations; every message names class, field, value and constraint."""

    def _fail(self, name: str, expected: str) -> None:
        raise ValueError(f"{type(self).__name__}: {name} is {getattr(self, name)!r:.200}; expected {expected}")

    def _check(self, name: str, ok: Callable[[Any], bool], expected: str) -> None:
        value = getattr(self, name)
        try:
            good = ok(value)
        except (TypeError, IndexError):
            good = False
        if not good:
            self._fail(name, expected)

    def _check_counts(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: _is_int(v) and v >= 1, "a whole number of at least 1")

    def _check_rates(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: _is_number(v) and 0 <= v < 1, "a number from 0 to below 1")

    def _check_flags(self, *names: str) -> None:
        for name in names:
            self._check(name, lambda v: isinstance(v, bool), "true or false")

    def _as_list(self, name: str, ok: Callable[[Any], bool], expected: str) -> None:
        """Keeps a copy of a sequence field, so that the caller's list and ours are two."""
        self._check(name, lambda v: isinstance(v, (list, tuple)) and all(map(ok, v)), expected)
        object.__setattr__(self, name, list(getattr(self, name)))

    @classmethod
    def _split(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the class, with the keys it does not know under `extra`."""
        known = {f.name for f in fields(cls)} - {"extra"}  # type: ignore[arg-type]
        arguments = {k: v for k, v in values.items() if k in known}
        arguments["extra"] = {k: v for k, v in values.items() if k not in known and k != "model_type"}
        return arguments


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    sides = [value] if _is_int(value) else value
    return len(sides) in (1, 2) and all(_is_int(side) and side >= 1 for side in sides) and value is not None


@dataclass(frozen=True)
class VitDetConfig(_Fields):
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
        out_indices: the same by number; must agree with out_features when both are given.
        extra: keys of a config.json that are none of the above.

    Raises:
        ValueError: for a value that is not as described; the message names the field.
    """

    model_type: ClassVar[str] = "vitdet"

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
        self._check_counts("hidden_size", "num_hidden_layers", "num_attention_heads", "num_channels")
        self._check("num_hidden_layers", lambda v: v <= MOST_BLOCKS, f"at most {MOST_BLOCKS}")
        self._check("num_attention_heads", lambda v: self.hidden_size % v == 0, f"a divisor of {self.hidden_size}")
        self._check("mlp_ratio", lambda v: _is_number(v) and 1 <= self.hidden_size * v < 1e9, "a positive number")
        self._check("hidden_act", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}")
        self._check_rates("dropout_prob", "drop_path_rate", "initializer_range", "layer_norm_eps")
        for name in ("image_size", "pretrain_image_size", "patch_size"):
            self._check(name, _is_size, "a positive whole number, or two of them (height, width)")
        self._check_flags("qkv_bias", "use_absolute_position_embeddings", "use_relative_position_embeddings")
        self._check("window_size", lambda v: _is_int(v) and v >= 0, "a whole number of at least 0")
        blocks = self.num_hidden_layers
        for name in ("window_block_indices", "residual_block_indices"):
            self._as_list(name, lambda v: _is_int(v) and 0 <= v < blocks, f"block numbers from 0 to {blocks - 1}")
        grid = self.pretrain_grid
        if self.use_absolute_position_embeddings and (grid[0] != grid[1] or grid[0] < 1):
            self._fail("pretrain_image_size", "a square of at least one patch, because absolute positions are")
        if min(self.grid) < 1:
            self._fail("image_size", f"at least one patch of {self.patch_size}")
        self._check_stages()

    def _check_stages(self) -> None:
        names = self.stage_names
        if self.out_features is not None:
            self._check("out_features", bool, "at least one name")
            self._as_list("out_features", lambda v: v in names, f"names out of {names[0]}, {names[1]} to {names[-1]}")
        if self.out_indices is not None:
            last = len(names) - 1
            self._check("out_indices", bool, "at least one number")
            self._as_list("out_indices", lambda v: _is_int(v) and -last - 1 <= v <= last, f"numbers from 0 to {last}")
            if self.out_features is not None and [names[i] for i in self.out_indices] != self.out_features:
                self._fail("out_indices", f"the numbers of out_features {self.out_features}")

    @property
    def stage_names(self) -> list[str]:
        """"stem" and one name per block; place = number of blocks that have run."""
        return ["stem", *(f"stage{i}" for i in range(1, self.num_hidden_layers + 1))]

    @property
    def out_stages(self) -> list[int]:
        """The stages to give out, as numbers of blocks that have run."""
        if self.out_features is not None:
            return [self.stage_names.index(name) for name in self.out_features]
        if self.out_indices is not None:
            return [i % (self.num_hidden_layers + 1) for i in self.out_indices]
        return [self.num_hidden_layers]

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VitDetConfig:
        """From the content of a config.json; keys that are no arguments go to `extra`."""
        if values.get("model_type", cls.model_type) != cls.model_type:
            raise ValueError(f"VitDetConfig: model_type is {values['model_type']!r:.200}; expected {cls.model_type!r}")
        return cls(**cls._split(values))

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: every argument, `model_type` and the keys of `extra`."""
        values = asdict(self)
        extra = values.pop("extra")
        return {**extra, "model_type": self.model_type, **values}


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


@dataclass(frozen=True)
class VitMatteConfig(_Fields):
    """A ViTMatte: backbone, convolution stream and fusion blocks (Yao et al., arXiv 2305.15272).

    Without arguments it describes vitmatte-small-composition-1k.

    Args:
        backbone_config: a `VitDetConfig`, or a dict with its arguments and `model_type`.
        backbone: name of another backbone (not built yet).
        use_pretrained_backbone: whether that backbone starts from its published weights (not built yet).
        use_timm_backbone: whether that name is timm's (not built yet).
        backbone_kwargs: further arguments of that backbone (not built yet).
        hidden_size: channels of the backbone's feature map.
        batch_norm_eps: epsilon of the decoder's BatchNorms.
        initializer_range: standard deviation of freshly initialised weights.
        convstream_hidden_sizes: channels of the detail maps at 1/2, 1/4, 1/8 of the size.
        fusion_hidden_sizes: channels after each fusion; one more than the detail maps.
        extra: keys of a config.json that are none of the above.

    Raises:
        ValueError: for a value that is not as described, or for two arguments that exclude each other.
    """

    model_type: ClassVar[str] = "vitmatte"

    backbone_config: VitDetConfig | dict[str, Any] | None = None
    backbone: str | None = None
    use_pretrained_backbone: bool = False
    use_timm_backbone: bool = False
    backbone_kwargs: dict[str, Any] | None = None
    hidden_size: int = 384
    batch_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    convstream_hidden_sizes: list[int] = field(default_factory=lambda: [48, 96, 192])
    fusion_hidden_sizes: list[int] = field(default_factory=lambda: [256, 128, 64, 32])
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_counts("hidden_size")
        self._check_rates("batch_norm_eps", "initializer_range")
        self._check_flags("use_pretrained_backbone", "use_timm_backbone")
        for name in ("convstream_hidden_sizes", "fusion_hidden_sizes"):
            self._as_list(name, lambda v: _is_int(v) and v >= 1, "a list of positive whole numbers")
        if len(self.fusion_hidden_sizes) != len(self.convstream_hidden_sizes) + 1:
            self._fail("fusion_hidden_sizes", f"{len(self.convstream_hidden_sizes) + 1} numbers, one more than "
                                              f"convstream_hidden_sizes {self.convstream_hidden_sizes}")
        if self.backbone_config is not None:
            for other in ("backbone", "backbone_kwargs"):
                if getattr(self, other):
                    self._fail(other, "nothing, because backbone_config is given too; give one of the two")
        elif self.backbone is None:
            object.__setattr__(self, "backbone_config", vitmatte_small_backbone())
        self._read_backbone_config()

    def _read_backbone_config(self) -> None:
        config = self.backbone_config
        if config is None:
            return
        if not isinstance(config, (VitDetConfig, dict)):
            self._fail("backbone_config", "a VitDetConfig or a dict")
        if isinstance(config, dict) and config.get("model_type", "vitdet") == "vitdet":
            config = VitDetConfig.from_dict(config)
            object.__setattr__(self, "backbone_config", config)
        if isinstance(config, VitDetConfig):
            if config.hidden_size != self.hidden_size:
                self._fail("hidden_size", f"{config.hidden_size}, the hidden_size of backbone_config")
            stride = 2 ** len(self.fusion_hidden_sizes)
            if set(pair(config.patch_size)) != {stride}:
                self._fail("backbone_config", f"a patch_size of {stride}, because {len(self.fusion_hidden_sizes)} "
                                              f"fusion blocks enlarge by that; patch_size is {config.patch_size}")

    @property
    def vitdet(self) -> VitDetConfig:
        """The backbone's configuration. Raises NotImplementedError, by name, when it is not a ViTDet."""
        if isinstance(self.backbone_config, VitDetConfig) and not self.use_pretrained_backbone:
            return self.backbone_config
        if isinstance(self.backbone_config, VitDetConfig):
            wanted = "use_pretrained_backbone=True"
        elif isinstance(self.backbone_config, dict):
            wanted = f"backbone_config with model_type {self.backbone_config['model_type']!r:.200}"
        else:
            wanted = f"backbone={self.backbone!r}"
        raise NotImplementedError(
            f"{wanted} is not built yet; only a ViTDet backbone is: give a VitDetConfig as backbone_config"
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VitMatteConfig:
        """From the content of a config.json; keys that are no arguments go to `extra`.

        Raises:
            ValueError: when `model_type` says that it is another model's, or a value is unsupported.
        """
        if values.get("model_type", cls.model_type) != cls.model_type:
            raise ValueError(f"model_type is {values['model_type']!r:.200}; expected {cls.model_type!r}: "
                             "this is the configuration of another model")
        return cls(**cls._split(values))

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: loads here, in transformers, and without loss of the hub's keys."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        extra = values.pop("extra")
        if isinstance(self.backbone_config, VitDetConfig):
            values["backbone_config"] = self.backbone_config.to_dict()
            # transformers refuses these beside a backbone_config, even when empty, in some versions
            for name in ("backbone", "backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone"):
                if not values[name]:
                    del values[name]
        return {**extra, "model_type": self.model_type, **values}

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> VitMatteConfig:
        """Reads config.json from a folder (or the file itself); FileNotFoundError, ValueError."""
        path = Path(folder)
        path = path / CONFIG_NAME if path.is_dir() else path
        values = read_json(path)
        try:
            return cls.from_dict(values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error

    def to_json(self) -> str:
        """`to_dict` as the text of a config.json."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
