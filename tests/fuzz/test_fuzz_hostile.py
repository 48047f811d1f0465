"""Weights files made to do harm: none runs code, none takes memory, none writes anything."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from fuzz import fuzzed, judged
from hypothesis import strategies as st
from test_fuzz_checkpoints import HUSTVL, LAYOUTS, STATE, check_net, pickled, write

from vitmatte import load_net

pytestmark = [pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
              pytest.mark.filterwarnings("ignore:Duplicate name"),
              pytest.mark.filterwarnings("ignore:'torch.load' received a zip file")]
TRACE = "ran.txt"


class Calls:
    """Pickled, it is a call; unpickled by plain pickle, it would have been made."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


# Each leaves the file TRACE in the working folder, or takes all memory, if it is ever called.
CALLS = (
    Calls(os.system, f"echo > {TRACE}"),
    Calls(builtins.exec, f"open({TRACE!r}, 'w').close()"),
    Calls(builtins.eval, f"open({TRACE!r}, 'w').close()"),
    Calls(builtins.open, TRACE, "w"),
    Calls(os.open, TRACE, os.O_CREAT | os.O_WRONLY),
    Calls(subprocess.call, f"echo > {TRACE}", -1, None, None, None, None, None, True, True),
    Calls(getattr, Path(TRACE), "touch"),
    Calls(torch.save, {}, TRACE),
    Calls(torch.load, io.BytesIO()),
    Calls(torch.hub.load, "owner/name", "model"),
    Calls(__import__, "this"),
    Calls(bytearray, 2**40),
    Calls(torch.Tensor, 2**40),
    Calls(torch.zeros, 2**40),
    Calls(torch.storage._load_from_bytes, b"x"),
    Calls(bytes, 2**40),
)
PLACES = ("alone", "value", "key", "model", "in a list", "beside", "instead of the state")


def placed(call: Calls, place: str) -> object:
    """A call somewhere in what a weights file holds."""
    return {
        "alone": lambda: call,
        "value": lambda: {**HUSTVL, "backbone.pos_embed": call},
        "key": lambda: {**HUSTVL, (call,): torch.zeros(1)},
        "model": lambda: {"model": call},
        "in a list": lambda: {"model": HUSTVL, "scheduler": [{"x": (call,)}]},
        "beside": lambda: {"model": HUSTVL, "trainer": call},
        "instead of the state": lambda: {"model": {"x": call}, "state_dict": call},
    }[place]()


def tar_of(content: object, protocol: int) -> bytes:
    """As torch wrote in 2016; plain pickles in every member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(content, protocol)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(content: object, protocol: int, script: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol))
        archive.writestr("archive/version", "3\n")
        if script:
            archive.writestr("archive/constants.pkl", pickle.dumps((), 2))
            archive.writestr("archive/code/__torch__.py", "import os\n")
    return buffer.getvalue()


CONTAINERS = {
    "torch zip": lambda content, _: pickled(content),
    "torch legacy": lambda content, _: pickled(content, zipped=False),
    "pickle": pickle.dumps,
    "zip": zip_of,
    "script": lambda content, protocol: zip_of(content, protocol, script=True),
    "tar": tar_of,
    "legacy by hand": lambda content, protocol: b"".join(
        pickle.dumps(part, protocol) for part in (0x1950A86A20F9469CFC6C, 1001, content, content, [])),
    "after a zip's end": lambda content, protocol: pickle.dumps(content, protocol) + LAYOUTS["hustvl .pth"],
    "tar before a zip": lambda content, protocol: tar_of(content, protocol) + LAYOUTS["hustvl .pth"],
    "zip before a zip": lambda content, protocol: zip_of(content, protocol) + LAYOUTS["hustvl .pth"],
}


@fuzzed(60, call=st.sampled_from(CALLS), place=st.sampled_from(PLACES), container=st.sampled_from(sorted(CONTAINERS)),
        protocol=st.integers(0, 5), name=st.sampled_from(("pytorch_model.bin", "net.pth", "net", "model.safetensors")),
        config=st.booleans())
def test_pickles_that_would_run_code(tmp_path, monkeypatch, call, place, container, protocol, name, config):
    monkeypatch.chdir(tmp_path)
    try:
        content = CONTAINERS[container](placed(call, place), protocol)
    except (TypeError, AttributeError, pickle.PicklingError):
        return "not writable"
    path = write(tmp_path, name, content, config)
    outcome, net = judged(lambda: load_net(path), path)
    # What lies before a whole archive is not looked at by whoever reads archives from their end.
    assert outcome == "ValueError" or container == "zip before a zip"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({path.name, *(["config.json"] if config else [])})
    return outcome


def test_the_calls_would_run(tmp_path, monkeypatch):
    """The test above can fail: plain pickle runs what it pickles."""
    monkeypatch.chdir(tmp_path)
    for call in CALLS[:5]:
        result = pickle.loads(pickle.dumps(placed(call, "in a list")))["scheduler"][0]["x"][0]
        if isinstance(result, int) and result > 2:
            os.close(result)
        elif hasattr(result, "close"):
            result.close()
        assert (tmp_path / TRACE).exists()
        (tmp_path / TRACE).unlink()


def repacked(content: bytes, *, method: int, renamed: dict[str, str], sizes: dict[str, int], extra: int) -> bytes:
    """A zip archive with other compression, names, declared sizes, and `extra` MiB of zeros besides."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(renamed.get(info.filename.split("/", 1)[1], info.filename), data)
        for i in range(extra):
            new.writestr(f"archive/data/x{i}", bytes(2**20))
        for info in new.infolist():
            info.file_size = sizes.get(info.filename.rsplit("/", 1)[-1], info.file_size)
    return buffer.getvalue()


MEMBERS = ("data.pkl", "version", "byteorder", "data/0", "data/5", ".data/serialization_id")
MEMBER_NAMES = ("../../escaped", "/tmp/escaped", "archive/data.pkl", "archive/../data/0", "data.pkl", "C:\\x",
                "a" * 9000, "archive/constants.pkl")


@fuzzed(20, layout=st.sampled_from(("hub .bin", "hustvl .pth", "detectron2", "parallel")),
        method=st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)),
        renamed=st.dictionaries(st.sampled_from(MEMBERS), st.sampled_from(MEMBER_NAMES), max_size=2),
        sizes=st.dictionaries(st.sampled_from(("data.pkl", "0", "5", "version")),
                              st.sampled_from((0, 1, 2**20, 2**31 - 1, 2**32 - 2)), max_size=2),
        extra=st.sampled_from((0, 0, 0, 2)))
def test_archives(tmp_path, layout, method, renamed, sizes, extra):
    content = repacked(LAYOUTS[layout], method=method, renamed=renamed, sizes=sizes, extra=extra)
    path = write(tmp_path, "net.pth", content)
    outcome, net = judged(lambda: load_net(path), path)
    if outcome == "right":
        check_net(net, state=STATE)
    assert outcome == "right" or method or renamed or sizes
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"] and not Path("/tmp/escaped").exists()
    return outcome


def test_bombs(tmp_path):
    """384 MiB of zeros in a small file, as a pickle and as a tensor; a tar that says it holds a terabyte."""
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            for _ in range(24):
                file.write(bytes(2**24))
        archive.writestr("archive/data/xx0", pickle.dumps({}, 2))
    bomb = (tmp_path / "net.pth").read_bytes()
    as_tensor = bomb.replace(b"data.pkl", b"data/xx1").replace(b"data/xx0", b"data.pkl")
    for content in (bomb, as_tensor):
        (tmp_path / "net.pth").write_bytes(content)
        outcome, error = judged(lambda: load_net(tmp_path / "net.pth"), tmp_path / "net.pth")
        assert outcome == "ValueError" and "compressed archive" in str(error)
    info = tarfile.TarInfo("storages")
    info.size = 2**40
    (tmp_path / "net.pth").write_bytes(info.tobuf() + bytes(1024))
    outcome, error = judged(lambda: load_net(tmp_path / "net.pth"), tmp_path / "net.pth")
    assert outcome == "ValueError" and "tar archive" in str(error)


@fuzzed(40, key=st.sampled_from(("0", "5", "999", "../x", "")), count=st.sampled_from((0, 1, 2**31, 2**40, 2**62, -1)),
        offset=st.sampled_from((0, 1, 2**40, -1)), shape=st.sampled_from(((), (1,), (2**20, 2**20), (-1,), (2**62, 4))),
        stride=st.sampled_from(((), (1,), (0, 0), (2**40, 1), (-1,))), zipped=st.booleans())
def test_storages_that_declare_too_much(tmp_path, key, count, offset, shape, stride, zipped):
    """A tensor whose pickle says other sizes than the file has room for."""
    class Declared:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Stored(), offset, shape, stride, False, {})

    class Stored:
        pass

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, key, "cpu", count) if isinstance(value, Stored) else None

    def dumped(content) -> bytes:
        buffer = io.BytesIO()
        Writer(buffer, 2).dump(content)
        return buffer.getvalue()

    content = {**dict.fromkeys(("backbone.x", "decoder.y"), Declared()), "backbone.patch_embed.proj.weight": Declared()}
    if zipped:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", dumped(content))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/data/0", bytes(64))
        data = buffer.getvalue()
    else:
        parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        data = b"".join(pickle.dumps(part, 2) for part in parts) + dumped(content) + pickle.dumps([key], 2) + bytes(64)
    path = write(tmp_path, "net.pth", data)
    return judged(lambda: load_net(path), path)[0]
