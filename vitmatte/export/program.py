"""Nets for other runtimes: as a program of `torch.export`, or as an ONNX file; for pictures of any size.

A `MattingModel` becomes the whole of `inference.matte`, from picture and trimap to the matte; a bare
`VitMatteForImageMatting` becomes the net alone, from `pixel_values` to `alphas`. Batch, height and width stay open.
Unlike `matte`, what is exported holds all attention scores of a block at once, so its memory grows with the square of
the picture's area, and it computes every pixel, known or not.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..files import check_can_write, whole_file
from ..inference.frames import MattingModel
from ..inference.matting import NORMALIZATIONS, load_model
from ..inference.preprocessing import Preprocessing
from ..model.execution import PRECISIONS
from ..model.vitmatte import VitMatteForImageMatting
from ..weights.released import BUNDLED, released
from .subject import Named, Subject

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TORCH = (2, 9)  # 2.8 keeps conditions on the size in the program, which some sizes then break
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # torch's own
BUNDLED_LICENCE = "trained by this project; MIT as far as that is ours to give, see its model card"


def export_program(
    model: MattingModel | VitMatteForImageMatting, *, dtype: torch.dtype | None = None
) -> ExportedProgram:
    """The model as a program of `torch.export`, to be saved, compiled ahead of time, or lowered to other runtimes.

    Args:
        model: from `load_model`, for a program with keyword arguments image [B, H, W, 3] and trimap [B, H, W], both
            float32 in 0..1, that gives the matte [B, H, W] in float32; or a net, for a program from pixel_values
            [B, 4, H, W] to alphas [B, 1, H, W] in the net's dtype.
        dtype: of the weights, float32 or float16; default: the model's own.

    Returns:
        The program, for every batch and size; on the CPU.

    Raises:
        ValueError: for a backbone other than ViTDet, or another dtype. RuntimeError: this torch is too old.
    """
    _check_torch()
    return Subject(model, dtype).trace()


def save_program(
    model: MattingModel | VitMatteForImageMatting,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> None:
    """Writes `export_program` for `torch.export.load`, whole or not at all; arguments and errors as in `export_onnx`.

    The metadata is the extra file metadata.json in it.
    """
    _check_torch()
    with whole_file(path) as temporary:
        subject = Subject(model, dtype)
        program = subject.trace()
        if check:
            module = program.module()
            with torch.no_grad():
                subject.check(lambda inputs: module(**inputs), "the exported program's matte")
        torch.export.save(program, temporary, extra_files={"metadata.json": json.dumps(dict(metadata or {}))})


def export_onnx(
    model: MattingModel | VitMatteForImageMatting,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    opset: int = OPSET,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> None:
    """Writes the model as one ONNX file, whole or not at all.

    Args:
        model, dtype: see `export_program`; the file's inputs and outputs have its names and types.
        path: of the file.
        opset: of ONNX, 18 or later.
        metadata: kept in the file beside what its input must be made like.
        check: run the file in onnxruntime at three sizes, none of which is the one traced with, and compare with this
            library.

    Raises:
        ValueError: see `export_program`; an opset before 18.
        RuntimeError: a package is missing, this torch is too old, the opset cannot be had, or the check failed; the
            message says which.
        OSError: the file cannot be written.
    """
    _check_torch()
    _check_packages(PACKAGES if check else PACKAGES[:2])
    if opset < OPSET:
        raise ValueError(f"opset is {opset}; expected {OPSET} or later")
    with whole_file(path) as temporary:
        subject = Subject(model, dtype)
        proto = _as_onnx(subject, opset)
        _describe(proto, subject, metadata or {})
        content = proto.SerializeToString()
        if check:
            subject.check(onnx_runner(content), "the matte that onnxruntime computes")
        temporary.write_bytes(content)


def onnx_runner(model: str | os.PathLike[str] | bytes) -> Callable[[Named], Tensor]:
    """A function from inputs by name to the first output of an ONNX file, or its content, on the CPU.

    Raises:
        RuntimeError: here or when it is called, where onnxruntime refuses.
    """
    import onnxruntime

    content = model if isinstance(model, bytes) else os.fspath(model)
    with _as_runtime_error():
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(inputs: Named) -> Tensor:
        with _as_runtime_error():
            return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])

    return run


@contextmanager
def _as_runtime_error() -> Iterator[None]:
    """onnxruntime's exceptions share no class of their own."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"onnxruntime cannot run the net: {str(error).splitlines()[0]}") from error


def _as_onnx(subject: Subject, opset: int) -> Any:
    """The ModelProto, as torch makes it."""
    with _quiet():
        found = torch.onnx.export(
            subject.trace(), dynamo=True, verbose=False, opset_version=opset,
            input_names=list(subject.signature.inputs), output_names=list(subject.signature.outputs),
        )
    assert found is not None
    proto = found.model_proto
    written = next(entry.version for entry in proto.opset_import if not entry.domain)
    if written != opset:
        raise RuntimeError(f"this torch and onnxscript write opset {written} and cannot convert it to {opset}; give "
                           f"opset={written}")
    return proto


def _describe(proto: Any, subject: Subject, metadata: Mapping[str, str]) -> None:
    """Names the axes, says what everything is, and drops the tracer's notes, which name files of this machine."""
    graph = proto.graph
    del graph.value_info[:], proto.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, graph, *proto.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    notes = {}
    named = subject.signature.inputs | subject.signature.outputs
    for value in (*graph.input, *graph.output):
        axes, value.doc_string = named[value.name]
        notes[value.name] = f"[{', '.join(map(str, axes))}]: {value.doc_string}"
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes, strict=True):
            if isinstance(axis, str):
                dim.dim_param = axis
    if subject.preprocessing is not None:
        notes["normalization"] = f"inside the graph: {_normalization(subject.preprocessing)}"
    for key, text in {**notes, **metadata}.items():
        proto.metadata_props.add(key=key, value=text)


def _normalization(preprocessing: Preprocessing) -> str:
    return f"mean {list(preprocessing.mean)}, standard deviation {list(preprocessing.std)}"


def _check_torch() -> None:
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < TORCH:
        raise RuntimeError(f"export needs torch {TORCH[0]}.{TORCH[1]} or later; this is {torch.__version__}. "
                           "Everything else works with it")


def _check_packages(names: tuple[str, ...]) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"ONNX export needs {', '.join(missing)}: pip install \"vitmatte[onnx]\", or pip install "
                           f"{' '.join(missing)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there and on torch's own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


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
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="as_trained", help="default: %(default)s")
    parser.add_argument("--opset", type=int, default=OPSET, help="of ONNX (default: %(default)s)")
    parser.add_argument("--no-check", action="store_true", help="do not compare the file with this library")
    return parser


def _export(options: argparse.Namespace) -> int:
    if options.output.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"{options.output}: expected a name that ends in .onnx or .pt2")
    check_can_write(options.output)
    _check_torch()
    if options.output.suffix == ".onnx":
        _check_packages(PACKAGES)
    model = load_model(options.model, dtype=PRECISIONS[options.precision], normalization=options.normalization,
                       folder=options.models_folder)
    notes, known = {"name": Path(options.model).name}, released(options.model)
    if known or options.model == BUNDLED:
        notes["licence"] = known.licence if known else BUNDLED_LICENCE
    if options.inputs == "pixel_values":
        notes["normalization"] = f"to be done before: {_normalization(model.preprocessing)}"
    what = model if options.inputs == "image" else model.net
    if options.output.suffix == ".onnx":
        export_onnx(what, options.output, opset=options.opset, metadata=notes, check=not options.no_check)
    else:
        save_program(what, options.output, metadata=notes, check=not options.no_check)
    sys.stdout.write(f"{options.output}\n")
    return 0
