"""Configuration of the net: plain, checked values that read and write the hub's config.json.

The arguments and their defaults are those which Hugging Face documents for `VitDetConfig` and
`VitMatteConfig`. Keys of a config.json that are not arguments here (`architectures`, `torch_dtype`, ...) are
kept in `extra` and written back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..huggingface.fields import as_json, is_int, keeps_unknown
from ..huggingface.hub_config import HubConfig
from .vitdet_config import VitDetConfig, pair, vitmatte_small_backbone

PREPROCESSOR_NAME = "preprocessor_config.json"
CHANNELS = 4  # RGB and trimap


@keeps_unknown
@dataclass
class VitMatteConfig(HubConfig):
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
        ValueError: for a value that is not as described, or for two arguments that exclude each other. Whether the
            values go together is seen when a net is built; see `check`.
    """

    model_type: ClassVar[str] = "vitmatte"
    sub_configs: ClassVar[dict[str, Any]] = {"backbone_config": VitDetConfig}

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
        self._check_values()
        if self.backbone is None:
            self._check_without_name()
        elif self.backbone_config is not None:
            self._fail("backbone", "nothing, because backbone_config is given too; give one of the two")
        self._assigned("backbone_config")

    def _check_values(self) -> None:
        self._check_counts("hidden_size")
        self._check_rates("initializer_range")
        self._check_epsilons("batch_norm_eps")
        self._check_flags("use_pretrained_backbone", "use_timm_backbone")
        for name in ("convstream_hidden_sizes", "fusion_hidden_sizes"):
            self._as_list(name, lambda v: is_int(v) and v >= 1, "a list of positive whole numbers")
        self._check("backbone", lambda v: v is None or (isinstance(v, str) and v != ""), "a name, or None")
        self._check("backbone_kwargs", lambda v: v is None or isinstance(v, dict), "a dict, or None")

    def check(self) -> None:
        """Raises ValueError unless the values go together, those of a ViTDet backbone included."""
        if len(self.fusion_hidden_sizes) != len(self.convstream_hidden_sizes) + 1:
            self._fail("fusion_hidden_sizes", f"{len(self.convstream_hidden_sizes) + 1} numbers, one more than "
                                              f"convstream_hidden_sizes {self.convstream_hidden_sizes}")
        vitdet = self.vitdet
        if vitdet is None:
            return
        vitdet.check()
        if vitdet.hidden_size != self.hidden_size:
            self._fail("hidden_size", f"{vitdet.hidden_size}, the hidden_size of backbone_config")
        if set(pair(vitdet.patch_size)) != {self.stride}:
            raise ValueError(f"VitMatteConfig: backbone_config has a patch_size of {vitdet.patch_size}; expected "
                             f"{self.stride}, because {len(self.fusion_hidden_sizes)} fusion blocks enlarge by that")

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

    def _assigned(self, name: str) -> None:
        """Takes a backbone's configuration in any form."""
        config: Any = self.backbone_config
        if name != "backbone_config" or (config is None and self.backbone is not None):
            return
        kind = getattr(config, "model_type", None)
        if not isinstance(config, (VitDetConfig, dict)) and kind and hasattr(config, "to_dict"):
            config = {**config.to_dict(), "model_type": kind}  # an object of transformers
        if isinstance(config, dict) and config.get("model_type", "vitdet") == "vitdet":
            config = VitDetConfig.from_dict(config)
        if not isinstance(config, (VitDetConfig, dict)):
            self._fail("backbone_config", "a VitDetConfig, a configuration of transformers, or a dict")
        object.__setattr__(self, "backbone_config", config if isinstance(config, VitDetConfig) else as_json(config))

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

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: loads here, in transformers, and without loss of the hub's keys."""
        values = super().to_dict()
        if isinstance(self.backbone_config, VitDetConfig):
            values["backbone_config"] = self.backbone_config.to_dict()
        if self.backbone is None:
            # transformers refuses these beside a backbone_config, even when empty, in some versions
            for name in ("backbone", "backbone_kwargs", "use_pretrained_backbone", "use_timm_backbone"):
                if not values[name]:
                    del values[name]
        return values
