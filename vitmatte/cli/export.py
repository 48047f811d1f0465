"""The command `vitmatte export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..export.onnx import NEWEST, OPSET, PACKAGES, check_opset, check_packages, export_onnx, normalization
from ..export.program import check_torch, save_program
from ..files import check_can_write
from ..inference.context import PRECISIONS
from ..inference.model import load_model
from ..weights.released import BUNDLED, released
from . import model_options

BUNDLED_LICENCE = "trained by this project; MIT as far as that is ours to give, see its model card"


def register(commands: Any) -> argparse.ArgumentParser:
    """Adds the command to the command line's subparsers, and gives its own."""
    parser = commands.add_parser("export", help="write a model for other runtimes: ONNX, or torch.export's .pt2")
    parser.set_defaults(run=_export)
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="FILE",
                        help=".onnx, or .pt2 for torch.export")
    parser.add_argument("--model", default=BUNDLED, metavar="NAME|PATH", help="default: %(default)s")
    parser.add_argument("--inputs", choices=("image", "pixel_values"), default="image",
                        help="image: picture and trimap in, matte out, any size; pixel_values: the net alone, "
                             "normalised and padded by you (default: %(default)s)")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="default: %(default)s")
    model_options.add_normalization(parser)
    parser.add_argument("--opset", type=int, metavar="NUMBER",
                        help=f"of ONNX, {OPSET} to {NEWEST}, for .onnx alone (default: {OPSET})")
    parser.add_argument("--no-check", action="store_true", help="do not compare the file with this library")
    return parser


def _export(options: argparse.Namespace) -> int:
    if options.output.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"{options.output}: expected a name that ends in .onnx or .pt2")
    opset = OPSET if options.opset is None else options.opset
    if options.opset is not None:
        if options.output.suffix != ".onnx":
            raise ValueError(f"--opset is for .onnx; {options.output} has none: leave --opset out")
        check_opset(opset)
    check_can_write(options.output)
    check_torch()
    if options.output.suffix == ".onnx":
        check_packages(PACKAGES)
    model = load_model(options.model, dtype=PRECISIONS[options.precision], normalization=options.normalization,
                       folder=options.models_folder)
    notes, known = {"name": Path(options.model).name}, released(options.model)
    if known or options.model == BUNDLED:
        notes["licence"] = known.licence if known else BUNDLED_LICENCE
    if options.inputs == "pixel_values":
        notes["normalization"] = f"to be done before: {normalization(model.preprocessing)}"
    what = model if options.inputs == "image" else model.net
    if options.output.suffix == ".onnx":
        export_onnx(what, options.output, opset=opset, metadata=notes, check=not options.no_check)
    else:
        save_program(what, options.output, metadata=notes, check=not options.no_check)
    sys.stdout.write(f"{options.output}\n")
    return 0
