"""Weights files to plain dicts and back. Nothing in a file runs, and nothing it declares takes memory by itself.

Pickles are read with `weights_only`, and before that their instructions are looked through: older torch has had holes
there (CVE-2025-32434, through tar files, up to torch 2.5), and may be told to make bytes without end.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What the pickle of a state dict, or of a training run's state, may name besides torch's storages and types.
BUILDERS = {
    "collections OrderedDict", "collections Counter", "torch Size", "torch device", "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch.storage UntypedStorage",
    "torch.storage TypedStorage", "_codecs encode",
}
LONGEST_PICKLE = 2**23  # bytes of instructions; a ViTMatte's, with an optimizer's state, are below 2**20
LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of the storages that follow


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a weights file; tensors stay on disk (memory-mapped) until they are used.

    Raises:
        ValueError: when the file is empty, cut short, or not what its name says; the message says which.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if size == 0:
        raise ValueError(f"{path} is empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)")
    is_safetensors = head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size
    # The first eight bytes of a safetensors file are a number, and may look like anything.
    if head.lstrip()[:1] == b"<" and not is_safetensors:
        raise ValueError(f"{path} is a web page, not weights; the download was answered with an error page")
    if path.suffix.lower() == ".safetensors" or is_safetensors:
        return _read_safetensors(path)
    return read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError, AttributeError, RuntimeError, TypeError, OverflowError,
            MemoryError) as error:
        raise ValueError(f"{path} ({path.stat().st_size:,} bytes) is not a whole safetensors file ({_first(error)}); "
                         "it is cut short, damaged or another kind of file: download it again") from error


def read_pickle(path: Path, *, mapped: bool = True, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `torch.save` wrote, tensors and plain values alone.

    Args:
        mapped: leave tensors on disk where the format allows it: in zip archives, which torch has written since 1.6.
        device: where tensors go.

    Raises:
        ValueError: damaged, of another kind, or holding what could run code.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # torch decides by the same four bytes
    try:
        _check_builders(_of_archive(path) if zipped else _of_stream(path), 1 if zipped else LEGACY_PICKLES)
        content = torch.load(path, map_location=device, weights_only=True, mmap=mapped and zipped)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise ValueError(f"{path} holds Python objects besides tensors, which could run code; refused. "
                             "Save its state dict alone, best as .safetensors") from error
        raise ValueError(f"{path} is not a PyTorch weights file, or is damaged ({_first(error)})") from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, OverflowError, MemoryError,
            IndexError, AssertionError, OSError, zipfile.BadZipFile) as error:
        if str(path) in str(error):  # ours, or the system's about the file itself
            raise
        raise ValueError(f"{path} ({path.stat().st_size:,} bytes) is not a PyTorch weights file, or is cut short or "
                         f"damaged ({_first(error)}); download it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a dict of tensors (a state dict)")
    return content


def _first(error: Exception) -> str:
    """The beginning of a strange library's message."""
    told = str(error).strip().split("\n")[0][:200]
    return told or type(error).__name__


def _of_stream(path: Path) -> bytes:
    """The beginning of a file of pickles that raw storages follow, as torch wrote before 1.6."""
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        with path.open("rb") as file:
            return file.read(LONGEST_PICKLE)
    raise ValueError(f"{path} is a tar archive, which torch has not written since 2017 and cannot read safely; save "
                     "its state dict again, best as .safetensors")


def _of_archive(path: Path) -> bytes:
    """data.pkl of torch's zip archive, after a check that its records are stored as torch does and undamaged."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(r.compress_type != zipfile.ZIP_STORED or r.compress_size != r.file_size for r in records):
            raise ValueError(f"{path} is a compressed archive, which torch does not write; if it was packed again, "
                             "unpack it, or get the original file")
        if sum(r.file_size for r in records) > path.stat().st_size:
            raise ValueError(f"{path} declares more than it holds; it is damaged: download it again")
        pickles = [r for r in records if r.filename.endswith("/data.pkl") or r.filename == "data.pkl"]
        if len(pickles) != 1 or pickles[0].file_size > LONGEST_PICKLE:
            raise ValueError(f"{path} is a zip archive, but not one of torch's: it has {len(pickles)} data.pkl of "
                             "usual size; expected weights as torch.save or safetensors write them")
        if damaged := archive.testzip():
            raise ValueError(f"{path} is damaged: the checksum of {damaged} is wrong; download it again")
        return archive.read(pickles[0])


def _check_builders(content: bytes, pickles: int) -> None:
    """Raises UnpicklingError where one of so many pickles names what a state dict does not need."""
    stream = io.BytesIO(content)
    for _ in range(pickles):
        for operation, argument, _ in pickletools.genops(stream):
            if operation.name == "STACK_GLOBAL" or operation.name in ("GLOBAL", "INST") and not _is_builder(argument):
                raise pickle.UnpicklingError(f"weights_only: {argument or 'a global of protocol 4'} is refused")


def _is_builder(name: Any) -> bool:
    module, _, what = str(name).partition(" ")
    plain = module == "torch" and (what.endswith("Storage") or isinstance(getattr(torch, what, None), torch.dtype))
    return plain or name in BUILDERS


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes tensors, in place; OSError where the disk does not take them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"the disk is full or fails ({_first(error)}): {path}") from error
