"""How near the nets' values come to 65504, where float16 ends: the largest of each kind of layer, over many pictures.

    python -m benchmarks.activations [--data FOLDER] [--pictures 60] [--side 384]

FOLDER as in benchmarks.foreground; without it the pack's own pictures. Besides photographs, all of them unknown
throughout: pictures made to be hard (plain white, black and red, checks and stripes of one pixel, noise over the whole
range that `matte` takes). Nets: the bundled one, and random ones of the released sizes, whose weights are a pessimistic
case: trained ones are smaller. Computed in float32, so that what would overflow is seen. Relative terms are twice the
largest of either axis, as inference watches them.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vitmatte import load_model, matte
from vitmatte.inference.preprocessing import Preprocessing
from vitmatte.model.attention import stretched_table, trained_table
from vitmatte.model.block import VitDetAttention, VitDetLayer
from vitmatte.model.vitmatte import ViTMatte, plain_copy
from vitmatte.pictures.reading import pictures_in, read_image

from .nets import net_config, random_net

ROOT = Path(__file__).parents[1]
LARGEST = torch.finfo(torch.float16).max


def overshot(picture: Tensor) -> Tensor:
    """A picture in 0..1 spread over what `matte` takes, which ends before -1 and 2."""
    return (picture - 0.5) * 2.999 + 0.5


def hard(side: int) -> dict[str, Tensor]:
    """Pictures [1, side, side, 3] that photographs do not look like."""
    row, column = torch.arange(side)[:, None], torch.arange(side)
    checks, stripes = (plane.float().expand(side, side)[None, ..., None].repeat(1, 1, 1, 3)
                       for plane in ((row + column) % 2, column % 2))
    noise = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(0))
    red = torch.zeros(1, side, side, 3)
    red[..., 0] = 1
    return {"white": torch.ones_like(noise), "black": torch.zeros_like(noise), "red": red, "checks": checks,
            "stripes": stripes, "noise": noise, "noise -1..2": overshot(noise), "checks -1..2": overshot(checks)}


def photographs(folder: Path, count: int, side: int) -> Iterator[tuple[str, Tensor]]:
    """Evenly chosen photographs of a folder, scaled to side x side."""
    files = pictures_in(folder)
    for file in files[::max(1, len(files) // count)][:count]:
        image = read_image(file).permute(0, 3, 1, 2)
        small = nn.functional.interpolate(image, size=(side, side), mode="bilinear", antialias=True)
        yield file.name, small.permute(0, 2, 3, 1)


class Largest:
    """The largest magnitudes of a net's values, by kind of layer, and the picture they came with."""

    def __init__(self, net: ViTMatte) -> None:
        self.found: dict[str, tuple[float, str]] = defaultdict(lambda: (0.0, ""))
        self.picture = ""
        for name, module in net.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.LayerNorm, VitDetLayer)):
                module.register_forward_hook(partial(self.note_output, kind_of(name)))
            elif isinstance(module, VitDetAttention):
                module.register_forward_pre_hook(self.note_scores)

    def note(self, kind: str, values: Tensor) -> None:
        """Keeps the largest."""
        self.found[kind] = max(self.found[kind], (float(values.abs().max()), self.picture))

    def note_output(self, kind: str, module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        """A hook of layers: looks at what they give."""
        self.note(kind, found)

    def note_scores(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """A hook of attention to tokens [B, H, W, C]: looks at the two parts of its scores."""
        assert isinstance(layer, VitDetAttention)
        size = (layer.window, layer.window) if layer.window else (given[0].shape[1], given[0].shape[2])
        queries, keys, _ = layer.split(given[0], size)
        self.note("attention: products", queries @ keys.transpose(1, 2) * layer.dim**-0.5)
        if layer.relative:
            for table, length in zip((layer.rel_pos_h, layer.rel_pos_w), size, strict=True):
                reach = layer.reach
                fitted = stretched_table(table, length) if reach is None else trained_table(table, reach + 1)
                self.note("attention: relative terms", 2 * (queries @ fitted.t()))


def kind_of(name: str) -> str:
    """The layers of a kind: one name for the same place of every block."""
    parts = name.split(".")
    if "layer" in parts:
        rest = ".".join(parts[parts.index("layer") + 2:])
        return f"block: {rest}" if rest else "block: tokens after it"
    return name


@torch.inference_mode()
def measure(net: ViTMatte, pictures: list[tuple[str, Tensor]]) -> Largest:
    """The largest values over the pictures, unknown throughout."""
    largest = Largest(net)
    for largest.picture, image in pictures:
        net(Preprocessing().net_input(image, torch.full(image.shape[:3], 0.5)))
    return largest


def random_folded(size: str) -> ViTMatte:
    """A random net of a released size, of the kind that `load_model` makes: folded, its blocks called as modules."""
    return plain_copy(random_net(net_config(size)), device="cpu", dtype=torch.float32)


def differences(pictures: list[tuple[str, Tensor]]) -> str:
    """The bundled net's mattes in float16 against those in float32."""
    models = [load_model(dtype=dtype) for dtype in (torch.float32, torch.float16)]
    found = []
    for _, image in pictures:
        exact, half = (matte(model, image, torch.full(image.shape[1:3], 0.5), refine=0) for model in models)
        found.append((exact - half).abs())
    both = torch.cat([x.flatten() for x in found])
    return f"float16 against float32, {len(pictures)} pictures: mean {both.mean():.1e}, largest {both.max():.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.activations", description=__doc__)
    parser.add_argument("--data", type=Path, help="holds bg/ with photographs")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    folder = options.data / "bg" if options.data else ROOT / "pictures"
    photos, made = list(photographs(folder, options.pictures, options.side)), list(hard(options.side).items())
    lines = [f"{len(photos)} photographs and {len(made)} made pictures of {options.side}², unknown throughout."]
    few = photos[:3] + made
    nets = {"bundled": (load_model().net, photos + made), "random S": (random_folded("S"), few),
            "random B": (random_folded("B"), few)}
    for name, (net, pictures) in nets.items():
        lines += ["", f"{name}: {len(pictures)} pictures", "", "| values | largest | of 65504 | in |"]
        lines.append("|---|---|---|---|")
        for kind, (value, picture) in sorted(measure(net, pictures).found.items(), key=lambda item: -item[1][0]):
            lines.append(f"| {kind} | {value:.1f} | {value / LARGEST:.2%} | {picture} |")
        print("\n".join(lines[-40:]), flush=True)
    lines += ["", differences([(name, image[:, :128, :128]) for name, image in photos[:12] + made])]
    print(lines[-1])
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "activations.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
