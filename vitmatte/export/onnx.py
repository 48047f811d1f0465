"""Models as ONNX files."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..files import whole_file
from ..inference.model import MattingModel
from ..inference.preprocessing import Preprocessing
from ..model.vitmatte import ViTMatte
from ..plain import usual_surroundings
from .subject import Named, Subject

if TYPE_CHECKING:
    pass
from .program import check_torch

PACKAGES = ("onnx", "onnxscript", "onnxruntime")

OPSET = 18  # torch's own
NEWEST = 24  # later ones get the wrong version of the format, or none


@usual_surroundings
def export_onnx(
    model: MattingModel | ViTMatte,
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
        opset: of ONNX, 18 to 24.
        metadata: kept in the file beside what its input must be made like.
        check: run the file in onnxruntime at three sizes, none of which is the one traced with, and compare with this
            library.

    Raises:
        ValueError: see `export_program`; another opset.
        RuntimeError: a package is missing, this torch is too old, the opset cannot be had, or the check failed; the
            message says which.
        OSError: the file cannot be written.
    """
    check_opset(opset)
    check_torch()
    check_packages(PACKAGES if check else PACKAGES[:2])
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
        notes["normalization"] = f"inside the graph: {normalization(subject.preprocessing)}"
    for key, text in {**notes, **metadata}.items():
        proto.metadata_props.add(key=key, value=text)


def normalization(preprocessing: Preprocessing) -> str:
    """The means and deviations, for people who read the file."""
    return f"mean {list(preprocessing.mean)}, standard deviation {list(preprocessing.std)}"


def check_opset(opset: int) -> None:
    """Raises ValueError for an opset that files are not written in."""
    if not isinstance(opset, int) or not OPSET <= opset <= NEWEST:
        raise ValueError(f"opset is {opset!r}; expected a whole number from {OPSET} to {NEWEST}")


def check_packages(names: tuple[str, ...]) -> None:
    """Raises RuntimeError, which says what to install, where one of the packages is not there."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"ONNX export needs {', '.join(missing)}: pip install "
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
