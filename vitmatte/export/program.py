"""Nets for other runtimes: as a program of `torch.export`, or as an ONNX file; for pictures of any size.

A `MattingModel` becomes the whole of `inference.matte`, from picture and trimap to the matte; a bare
`ViTMatte` becomes the net alone, from `pixel_values` to `alphas`. Batch, height and width stay open.
Unlike `matte`, what is exported holds all attention scores of a block at once, so its memory grows with the square of
the picture's area, and it computes every pixel, known or not.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ..files import whole_file
from ..inference.model import MattingModel
from ..model.vitmatte import ViTMatte
from ..plain import usual_surroundings
from .subject import Subject

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TORCH = (2, 9)  # 2.8 keeps conditions on the size in the program, which some sizes then break


@usual_surroundings
def export_program(
    model: MattingModel | ViTMatte, *, dtype: torch.dtype | None = None
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
        ValueError: for a backbone other than ViTDet, a MEMatte, or another dtype. RuntimeError: this torch is too old.
    """
    check_torch()
    return Subject(model, dtype).trace()


@usual_surroundings
def save_program(
    model: MattingModel | ViTMatte,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> None:
    """Writes `export_program` for `torch.export.load`, whole or not at all; arguments and errors as in `export_onnx`.

    The metadata is the extra file metadata.json in it.
    """
    check_torch()
    with whole_file(path) as temporary:
        subject = Subject(model, dtype)
        program = subject.trace()
        if check:
            module = program.module()
            with torch.no_grad():
                subject.check(lambda inputs: module(**inputs), "the exported program's matte")
        content = io.BytesIO()  # where torch itself cannot write to a file, it ends the process
        torch.export.save(program, content, extra_files={"metadata.json": json.dumps(dict(metadata or {}))})
        temporary.write_bytes(content.getbuffer())


def check_torch() -> None:
    """Raises RuntimeError where this torch is too old to export."""
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < TORCH:
        raise RuntimeError(f"export needs torch {TORCH[0]}.{TORCH[1]} or later; this is {torch.__version__}. "
                           "Everything else works with it")
