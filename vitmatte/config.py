"""Configuration of the net: plain, checked values that read and write the hub's config.json.

The arguments and their defaults are those which Hugging Face documents for `VitDetConfig` and
`VitMatteConfig`. Keys of a config.json that are not arguments here (`architectures`, `torch_dtype`, ...) are
kept in `extra` and written back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from .fields import Fields, as_json, is_int, read_json
from .vitdet_config import VitDetConfig, pair, vitmatte_small_backbone

CONFIG_NAME = "config.json"
PREPROCESSOR_NAME = "preprocessor_config.json"
CHANNELS = 4  # RGB and trimap


@dataclass(frozen=True)
class VitMatteConfig(Fields):
    """A ViTMatte: backbone, convolution stream and fusion blocks (Yao et al., arXiv 2305.15272).

    Without arguments it describes vitmatte-small-composition-1k. The backbone is a ViTDet, built in, or any other
    that transformers (`AutoBackbone`) or timm (`features_only`) has; those are imported when a net is built with one.
    `foreign` says how their feature maps are brought to what the decoder takes.

    Args:
        backbone_config: a `VitDetConfig`, a configuration object of transformers, or a dict with its arguments and
            `model_type` ("vitdet" where it is missing; "timm_backbone" for timm's).
        backbone: instead, the name of a backbone: a hub id or folder for transformers, a model's name for timm.
        use_pretrained_backbone: whether `backbone` starts from its published weights, or random ones.
        use_timm_backbone: whether `backbone` is timm's name.
        backbone_kwargs: further arguments of `backbone`, such as {"out_indices": [2]}.
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
            self._as_list(name, lambda v: is_int(v) and v >= 1, "a list of positive whole numbers")
        if len(self.fusion_hidden_sizes) != len(self.convstream_hidden_sizes) + 1:
            self._fail("fusion_hidden_sizes", f"{len(self.convstream_hidden_sizes) + 1} numbers, one more than "
                                              f"convstream_hidden_sizes {self.convstream_hidden_sizes}")
        self._check("backbone", lambda v: v is None or (isinstance(v, str) and v != ""), "a name, or None")
        self._check("backbone_kwargs", lambda v: v is None or isinstance(v, dict), "a dict, or None")
        if self.backbone is None:
            self._check_without_name()
            self._read_backbone_config()
        elif self.backbone_config is not None:
            self._fail("backbone", "nothing, because backbone_config is given too; give one of the two")

    def _check_without_name(self) -> None:
        """What says how to load a backbone by name excludes a configuration, and says nothing without a name."""
        for name in ("use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs"):
            if getattr(self, name) and self.backbone_config is not None:
                self._fail(name, "nothing, because backbone_config is given too; it goes with backbone, a name: give "
                                 "one of the two")
            if getattr(self, name):
                self._fail(name, "nothing without backbone, the name that it is about")
        if self.backbone_config is None:
            object.__setattr__(self, "backbone_config", vitmatte_small_backbone())

    def _read_backbone_config(self) -> None:
        config: Any = self.backbone_config
        kind = getattr(config, "model_type", None)
        if not isinstance(config, (VitDetConfig, dict)) and kind and hasattr(config, "to_dict"):
            config = {**config.to_dict(), "model_type": kind}  # an object of transformers
        if isinstance(config, dict) and config.get("model_type", "vitdet") == "vitdet":
            config = VitDetConfig.from_dict(config)
        if not isinstance(config, (VitDetConfig, dict)):
            self._fail("backbone_config", "a VitDetConfig, a configuration of transformers, or a dict")
        object.__setattr__(self, "backbone_config", config if isinstance(config, VitDetConfig) else as_json(config))
        if isinstance(config, VitDetConfig):
            if config.hidden_size != self.hidden_size:
                self._fail("hidden_size", f"{config.hidden_size}, the hidden_size of backbone_config")
            if set(pair(config.patch_size)) != {self.stride}:
                self._fail("backbone_config", f"a patch_size of {self.stride}, because {len(self.fusion_hidden_sizes)} "
                                              f"fusion blocks enlarge by that; patch_size is {config.patch_size}")

    @property
    def vitdet(self) -> VitDetConfig | None:
        """The backbone's configuration where it is a ViTDet."""
        return self.backbone_config if isinstance(self.backbone_config, VitDetConfig) else None

    @property
    def num_channels(self) -> int:
        """Channels of the input. A backbone that knows three is given a fourth, for the trimap; see `foreign`."""
        if isinstance(self.backbone_config, VitDetConfig):
            return self.backbone_config.num_channels
        given = (self.backbone_config or self.backbone_kwargs or {}).get("num_channels", 3)
        return CHANNELS if given == 3 else given

    @property
    def stride(self) -> int:
        """Pixels to a place of the feature map that the decoder takes: each fusion block enlarges by two."""
        return 2 ** len(self.fusion_hidden_sizes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VitMatteConfig:
        """From the content of a config.json; keys that are no arguments go to `extra`.

        Raises:
            ValueError: when `model_type` says that it is another model's, or a value is unsupported.
        """
        if values.get("model_type", cls.model_type) != cls.model_type:
            raise ValueError(f"model_type is {values['model_type']!r}; expected {cls.model_type!r}: "
                             "this is the configuration of another model")
        return cls(**cls._split(values))

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: loads here, in transformers, and without loss of the hub's keys."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        extra = values.pop("extra")
        values["backbone_config"] = deepcopy(self.backbone_config)
        if isinstance(self.backbone_config, VitDetConfig):
            values["backbone_config"] = self.backbone_config.to_dict()
        if self.backbone is None:
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
