"""What is traced of a model for export, with which inputs, and the comparison of what comes out with this library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..inference.matting import matte
from ..inference.model import MattingModel
from ..model.config import TransformerConfig
from ..model.plain import is_plain
from ..model.vitdet import VitDet
from ..model.vitmatte import ViTMatte, plain_copy
from .traceable import TraceableMatte, TraceableNet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MOST_APART = {torch.float32: 1e-4, torch.float16: 2e-2}  # in alpha, between an export and this library

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Signature:
    """What goes in and comes out: by name, the axes (a number where the size is fixed) and a description."""

    inputs: dict[str, tuple[tuple[str | int, ...], str]]
    outputs: dict[str, tuple[tuple[str | int, ...], str]]


PICTURE = Signature(
    {"image": (("batch", "height", "width", 3), "picture, RGB, sRGB values in 0..1"),
     "trimap": (("batch", "height", "width"), "0 background, 1 foreground, between them unknown")},
    {"alpha": (("batch", "height", "width"), "alpha matte in 0..1; where the trimap is known, the trimap")},
)


def pixel_values(channels: int, step: tuple[int, int]) -> Signature:
    """The net's own signature; heights and widths are multiples of `step`."""
    text = (f"normalised RGB and trimap (0, 0.5, 1); height a multiple of {step[0]}, width of {step[1]}: pad below "
            "and on the right with zeros")
    return Signature({"pixel_values": (("batch", channels, "height", "width"), text)},
                     {"alphas": (("batch", 1, "height", "width"), "alpha mattes in 0..1, padding included")})


class Subject:
    """A model made ready to be traced: on the CPU, of torch's own layers, BatchNorms folded.

    Args:
        model: from `load_model`, or a net.
        dtype: of the weights; None for the model's own.

    Raises:
        ValueError: for a DiffMatte, a net that routes tokens, a backbone other than ViTDet, a dtype other than float32
            and float16, or padding that does not fit the patches.
    """

    def __init__(self, model: MattingModel | ViTMatte, dtype: torch.dtype | None) -> None:
        net = model.net if isinstance(model, MattingModel) else model
        if net.architecture.diffusion is not None:
            raise ValueError("the net is a DiffMatte, whose steps depend on the whole picture's standard deviation and "
                             "on noise; only nets with ViTMatte's decoder can be exported")
        if not isinstance(net.backbone, VitDet):
            raise ValueError(f"the net's backbone is a {type(net.backbone).__name__}; only nets with a ViTDet backbone "
                             "can be exported")
        if net.architecture.routes_tokens:
            raise ValueError("the net is a MEMatte, which chooses its tokens by the picture; only nets that compute "
                             "the same for every picture can be exported, such as a ViTMatte")
        self.dtype = dtype or net.dtype
        if self.dtype not in MOST_APART:
            raise ValueError(f"dtype is {self.dtype}; expected torch.float32 or torch.float16, which every runtime has")
        self.config: TransformerConfig = net.backbone.architecture
        _check_plain(net)
        # On the CPU, of torch's own layers, folded.
        self.reference = plain_copy(net, device="cpu", dtype=torch.float32)
        traced = plain_copy(net, device="cpu", dtype=self.dtype)
        patch = self.config.patch_size
        self.step = 2 * patch[0], 2 * patch[1]  # from two tokens a side on, nothing depends on whether a side is 1
        self.preprocessing = model.preprocessing if isinstance(model, MattingModel) else None
        if self.preprocessing and any(self.preprocessing.divisor % step for step in self.step):
            raise ValueError(f"the model's pictures are padded to {self.preprocessing.divisor} pixels; to be exported "
                             f"so, its patches of {patch[0]}x{patch[1]} must fit in twice. Export its net alone")
        if self.preprocessing is None:
            self.module: nn.Module = TraceableNet(traced)
            self.signature = pixel_values(self.config.num_channels, self.step)
        else:
            self.module, self.signature = TraceableMatte(traced, self.preprocessing), PICTURE

    def inputs(self, batch: int, rows: int, columns: int, seed: int = 0) -> Named:
        """Noise of `batch` pictures, so many steps high and wide; in the picture's case short of some pixels."""
        generator = torch.Generator().manual_seed(seed)
        height, width = rows * self.step[0], columns * self.step[1]
        if self.preprocessing is None:
            pixels = torch.randn(batch, self.config.num_channels, height, width, generator=generator)
            pixels[:, -1] = torch.randint(0, 3, (batch, height, width), generator=generator) / 2
            return {"pixel_values": pixels.to(self.dtype)}
        height, width = max(1, height - 7), width - 1
        trimap = torch.randint(0, 3, (batch, height, width), generator=generator) / 2
        return {"image": torch.rand(batch, height, width, 3, generator=generator), "trimap": trimap}

    def expected(self, inputs: Named) -> Tensor:
        """What this library makes of them, in float32."""
        if self.preprocessing is not None:
            return matte(MattingModel(self.reference, self.preprocessing), inputs["image"], inputs["trimap"],
                         strategy="exact", refine=0)
        with torch.no_grad():
            return self.reference(inputs["pixel_values"].float())

    def sizes(self) -> list[tuple[int, int, int]]:
        """(batch, rows, columns) to compare at: smaller and larger than the windows and the grid of pre-training,
        multiples of neither, not square, and not what is traced with."""
        side = max(self.config.window_size, *self.config.pretrain_grid) // 2 + 1
        return [(2, 1, 2), (1, side, side // 2), (1, side // 2 + 1, side + 3)]

    def check(self, run: Callable[[Named], Tensor], what: str) -> float:
        """The largest difference of an export to this library; RuntimeError where it is more than rounding."""
        largest = 0.0
        for case in self.sizes():
            inputs = self.inputs(*case, seed=1)
            found, expected = run(inputs), self.expected(inputs)
            apart = float((found.float() - expected).abs().max())
            if found.shape != expected.shape or not apart <= MOST_APART[self.dtype]:
                height, width = expected.shape[-2:]
                raise RuntimeError(f"{what} is {apart:.2g} from this library's at {width}x{height}; at most "
                                   f"{MOST_APART[self.dtype]:g} is expected. Nothing was written. Please report "
                                   f"it with torch's version, {torch.__version__}")
            largest = max(largest, apart)
        return largest

    def trace(self) -> ExportedProgram:
        """The program of `torch.export`."""
        dims = {name: torch.export.Dim(name, min=1) for name in ("batch", "height", "width")}
        if self.preprocessing is None:  # the axes are multiples
            dims |= {"height": self.step[0] * dims["height"], "width": self.step[1] * dims["width"]}
        shapes = {name: {i: dims[axis] for i, axis in enumerate(axes) if isinstance(axis, str)}
                  for name, (axes, _) in self.signature.inputs.items()}
        several = self.config.window_size + 3  # windows on both axes
        with torch.inference_mode(False), torch.enable_grad(), _sizes_left_open():
            return torch.export.export(self.module, (), self.inputs(3, several, several + 2), dynamic_shapes=shapes)


def _check_plain(net: nn.Module) -> None:
    """Raises ValueError for a net with a layer that is more than its weights, which the export would leave out."""
    for name, part in net.named_modules():
        leaf = not any(part.children()) or isinstance(part, (nn.Linear, nn.Conv2d, nn.LayerNorm))
        if "forward" in vars(part) or leaf and not is_plain(part):
            raise ValueError(f"{name} is a {type(part).__name__} that is more than its weights (another class, a "
                             "replaced forward, quantised or parametrised weights), which the export would leave out: "
                             "merge it into a plain layer first")


@contextmanager
def _sizes_left_open() -> Iterator[None]:
    """torch.export asks no size whether it is 0 or 1, as torch.onnx's own tracing has it; not public yet."""
    settings: Any = torch.fx.experimental._config
    with settings.patch(backed_size_oblivious=True):
        yield
