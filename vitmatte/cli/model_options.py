"""The command line's options for the model, and for how it is run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checks import check_number
from ..inference.context import PRECISIONS
from ..inference.model import NORMALIZATIONS, MattingModel, device_of, load_model
from ..inference.plan import MEBI
from ..inference.scope import STRATEGIES
from ..refinement.refine import check_strength
from ..weights.released import BUNDLED, default_folder


def add(parser: argparse.ArgumentParser, *, refine: float | None = None) -> None:
    """Adds the options that `loaded` and `of_matte` read; --refine is `refine` unless it is given."""
    parser.add_argument("--model", default=BUNDLED, metavar="NAME|PATH",
                        help="see `vitmatte models`; a released model is downloaded once (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    parser.add_argument("--strategy", choices=STRATEGIES, default="auto",
                        help="exact: every token attends to all; local: within a reach, computed only where the trimap "
                             "is unknown; grid: among every second one, but local where the model was made for it, as "
                             "the bundled one; auto: local where the model was made for it, else exact "
                             "(default: %(default)s)")
    parser.add_argument("--reach", type=int, metavar="TOKENS", help="of local attention (default: the model's own)")
    add_refine(parser, refine)
    parser.add_argument("--memory-limit", type=float, metavar="MB",
                        help="what a picture's matte may take besides the model and the pictures themselves; less is "
                             "slower, never smaller")
    add_normalization(parser)


def add_device(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Adds --device."""
    parser.add_argument("--device", default=default,
                        help="auto (CUDA where there is one), cpu, cuda, mps, ... (default: %(default)s)")


def add_normalization(parser: argparse.ArgumentParser) -> None:
    """Adds --normalization."""
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="as_trained",
                        help="as_trained, or hub: as transformers feeds the net (default: %(default)s)")


def add_models_folder(parser: argparse.ArgumentParser) -> None:
    """Adds --models-folder."""
    parser.add_argument("--models-folder", type=Path, default=default_folder(),
                        help="where released models are kept (default: $VITMATTE_HOME or ~/.cache/vitmatte)")


def add_refine(parser: argparse.ArgumentParser, default: float | None = None) -> None:
    """Adds --refine; a default of None leaves it to the model."""
    own = "as the model was made for; 1 for the bundled one, 0 for the released ones"
    said = own if default is None else f"{default:g}"
    parser.add_argument("--refine", type=float, default=default, metavar="STRENGTH",
                        help="bring the matte into line with the picture's colours where the trimap is unknown: 0 not "
                             f"at all, 1 usual, more follows the colours more (default: {said})")


def check(options: argparse.Namespace) -> None:
    """Raises ValueError before any work for values that the library would refuse later."""
    if options.memory_limit is not None:
        check_number("--memory-limit", options.memory_limit, "a number of MB, 0 or more")
    check_refine(options)


def check_refine(options: argparse.Namespace) -> None:
    """Raises ValueError for a strength that the library would refuse."""
    if options.refine is not None:
        check_strength("--refine", options.refine)


def loaded(options: argparse.Namespace) -> MattingModel:
    """The model, on its device."""
    return load_model(options.model, device=device_of(options.device), dtype=PRECISIONS[options.precision],
                      normalization=options.normalization, folder=options.models_folder)


def of_matte(options: argparse.Namespace) -> dict[str, Any]:
    """What `matte` takes of the options."""
    limit = None if options.memory_limit is None else int(options.memory_limit * MEBI)
    return {"strategy": options.strategy, "reach": options.reach, "memory_limit": limit,
            "refine": options.refine}


def plain(options: argparse.Namespace) -> dict[str, Any]:
    """The options by name, as `shots.cutout.Cutout` takes them."""
    return {"model": str(options.model), "device": options.device, "precision": options.precision,
            "normalization": options.normalization, "models_folder": str(options.models_folder),
            "strategy": options.strategy, "reach": options.reach, "refine": options.refine,
            "memory_limit": options.memory_limit}
