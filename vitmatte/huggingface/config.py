"""Configuration of the net: plain, checked values that read and write the hub's config.json.

The arguments and their defaults are those which Hugging Face documents for `VitDetConfig` and
`VitMatteConfig`. Keys of a config.json that are not arguments here (`architectures`, `torch_dtype`, ...) are
kept in `extra` and written back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..model.config import MATTING_RULES, MattingConfig, TransformerConfig
from ..values import Rule, as_json
from ..weights.config_file import (
    BY_NAME,
    NAME_RULES,
    backbone_of,
    described,
    described_transformer,
    is_vitdet,
    matting_config,
)
from .fields import keeps_unknown
from .hub_config import HubConfig
from .vitdet_config import VitDetConfig


@keeps_unknown
@dataclass
class VitMatteConfig(HubConfig):
    """A ViTMatte: backbone, convolution stream and fusion blocks (Yao et al., arXiv 2305.15272).

    Without arguments it describes vitmatte-small-composition-1k. The backbone is a ViTDet, built in, or any other
    that transformers (`AutoBackbone`) or timm (`features_only`) has; those are imported when a net is built with one.
    `model.external` says how their feature maps are brought to what the decoder takes.

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
        refine: this project's own: strength with which `matte` refines the net's mattes unless another is asked for.
        extra: keys of a config.json that are none of the above.

    Raises:
        ValueError: for a value that is not as described, or for two arguments that exclude each other. Whether the
            values go together is seen when a net is built; see `architecture`.
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
    refine: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.assigned("backbone_config")
        self.check_fields()
        values = {name: getattr(self, name) for name in BY_NAME}
        given = self.backbone_config
        # A ViTDet's own values are checked already, and together when a net is built.
        plain = {"model_type": "vitdet"} if isinstance(given, VitDetConfig) else given
        backbone_of({**values, "backbone_config": plain}, type(self).__name__)
        if self.backbone is None and given is None:
            small = VitDetConfig.from_dict(described_transformer(TransformerConfig()))
            object.__setattr__(self, "backbone_config", small)

    def rules(self) -> dict[str, Rule]:
        """What each field must be by itself."""
        return {**MATTING_RULES, **NAME_RULES}

    def assigned(self, name: str) -> None:
        """Takes a backbone's configuration in any form."""
        config: Any = self.backbone_config
        if name != "backbone_config" or (config is None and "_ready" not in self.__dict__):
            return
        kind = getattr(config, "model_type", None)
        if not isinstance(config, (VitDetConfig, dict)) and kind and hasattr(config, "to_dict"):
            config = {**config.to_dict(), "model_type": kind}  # an object of transformers
        if isinstance(config, dict) and is_vitdet(config):
            config = VitDetConfig.from_dict(config)
        if not isinstance(config, (VitDetConfig, dict)):
            raise ValueError(f"{type(self).__name__}: backbone_config is {config!r:.200}; expected a VitDetConfig, a "
                             "configuration of transformers, or a dict")
        object.__setattr__(self, "backbone_config", config if isinstance(config, VitDetConfig) else as_json(config))

    def architecture(self) -> MattingConfig:
        """What a net is built from. Raises ValueError unless the values go together."""
        return matting_config(self.to_dict(), type(self).__name__)

    @classmethod
    def from_architecture(cls, architecture: MattingConfig) -> VitMatteConfig:
        """The documented configuration of an architecture; ValueError for a DiffMatte, which has none."""
        return cls.from_dict(described(architecture))

    @property
    def vitdet(self) -> VitDetConfig | None:
        """The backbone's configuration where it is a ViTDet."""
        return self.backbone_config if isinstance(self.backbone_config, VitDetConfig) else None

    def to_dict(self) -> dict[str, Any]:
        """As written to config.json: loads here, in transformers, and without loss of the hub's keys."""
        values = super().to_dict()
        if isinstance(self.backbone_config, VitDetConfig):
            values["backbone_config"] = self.backbone_config.to_dict()
        if not self.refine:
            del values["refine"]
        if self.backbone is None:
            # transformers refuses these beside a backbone_config, even when empty, in some versions
            for name in BY_NAME:
                if not values[name]:
                    del values[name]
        return values
