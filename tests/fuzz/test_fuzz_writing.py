"""Everything that is written, with disks that fill, folders that refuse and names of all kinds: whole or absent."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import disk_of
from fuzz import emptied, fuzzed, judged, strays
from hypothesis import strategies as st
from PIL import Image
from test_fuzz_checkpoints import NET
from test_fuzz_configs import NETS

from vitmatte import VitMatteImageProcessor, load_net
from vitmatte.cli import main as cli
from vitmatte.pictures import reading, writing
from vitmatte.pictures.packages import openimageio
from vitmatte.training import state
from vitmatte.training.publish import publish
from vitmatte.training.recipe import Recipe, Source
from vitmatte.weights.config_file import matting_config

PLANE, CUTOUT = torch.rand(64, 64), torch.rand(64, 64, 4)
TRIMAP = (PLANE * 3).floor().clamp(max=2) / 2
RECIPE = Recipe([Source("fg")], [Source("bg")], matting_config(NETS), "run")
TRAINING = state.fresh(RECIPE, torch.device("cpu"))


def _saved(path: Path) -> Path:
    NET.save_pretrained(path.with_name("source"))
    return path.with_name("source")


# What writes, and the names of its files in the folder that is given.
WRITERS = {
    "matte.png": lambda path: writing.write_matte(path, PLANE),
    "matte.tif": lambda path: writing.write_matte(path, PLANE),
    "trimap.png": lambda path: writing.write_trimap(path, TRIMAP),
    "trimap.bmp": lambda path: writing.write_trimap(path, TRIMAP),
    **{f"cutout{suffix}": lambda path: writing.write_image(path, CUTOUT) for suffix in (".png", ".webp", ".tiff")},
    **({"cutout.exr": lambda path: writing.write_image(path, CUTOUT),
        "deep.tif": lambda path: writing.write_image(path, CUTOUT, bits=16)} if openimageio() else {}),
    "deep.png": lambda path: writing.write_image(path, CUTOUT, bits=16),
    "picture.jpg": lambda path: writing.write_image(path, CUTOUT[..., :3], profile=b"x" * 300),
    "config.json": lambda path: NET.save_pretrained(path.parent),
    "model.safetensors": lambda path: NET.save_pretrained(path.parent),
    "preprocessor_config.json": lambda path: VitMatteImageProcessor().save_pretrained(path.parent),
    "state.pt": lambda path: state.save(TRAINING, path.parent),
}


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@fuzzed(40, name=st.sampled_from(sorted(WRITERS)), share=st.floats(0, 1), before=st.booleans())
def test_full_disks(tmp_path, name, share, before):
    emptied(tmp_path)
    WRITERS[name](tmp_path / name)
    whole = content_of(tmp_path)
    if not before:
        emptied(tmp_path)

    def write() -> None:
        with disk_of(int(share * len(whole[name]))):
            WRITERS[name](tmp_path / name)

    outcome, error = judged(write, *(tmp_path / file for file in whole))
    assert outcome == "OSError" or share == 1
    assert "enforce fail" not in str(error)  # torch's own words
    found = content_of(tmp_path)
    assert not strays(tmp_path) and all(content == whole[file] for file, content in found.items())
    assert set(found) == (set(whole) if before or outcome == "right" else set())
    return outcome


FAILURES = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.EIO)


@fuzzed(30, name=st.sampled_from(sorted(WRITERS)), number=st.sampled_from(FAILURES),
        step=st.sampled_from(("mkdir", "open", "replace")), before=st.booleans())
def test_refusing_folders(tmp_path, name, number, step, before):
    """Each step of writing fails as on a read-only or broken disk (root may write where others may not)."""
    emptied(tmp_path)
    folder = tmp_path / "new" if step == "mkdir" else tmp_path
    if before and step != "mkdir":
        WRITERS[name](tmp_path / name)
    whole = content_of(tmp_path)

    def fail(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    def write() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(*{"mkdir": (Path, "mkdir"), "open": (Path, "open"), "replace": (os, "replace")}[step], fail)
            WRITERS[name](folder / name)

    outcome, error = judged(write, folder / name, folder / "config.json")
    assert outcome == "OSError" and error.errno == number and content_of(tmp_path) == whole
    return outcome


@pytest.fixture
def locked():
    """A folder that nothing can be written to, for a while as another user where this one is root and may."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        yield folder
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="has no rights of this kind")
def test_a_folder_without_rights(tmp_path, request):
    for name, writer in WRITERS.items():
        # What is imported on the way another user may not read.
        judged(lambda name=name, writer=writer: writer(tmp_path / name), tmp_path / name, tmp_path / "config.json")
    folder = request.getfixturevalue("locked")
    for name, writer in WRITERS.items():
        outcome, error = judged(lambda name=name, writer=writer: writer(folder / name), folder / name,
                                folder / "config.json")
        assert outcome == "OSError" and isinstance(error, PermissionError)
    assert not list(folder.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_device_is_not_replaced(tmp_path):
    (tmp_path / "full.png").symlink_to("/dev/full")
    writing.write_matte(tmp_path / "full.png", PLANE)
    assert Path("/dev/full").is_char_device() and (tmp_path / "full.png").is_file()


@pytest.mark.parametrize("name", WRITERS)
def test_rights_are_those_of_any_new_file(tmp_path, name):
    """Also of weights, which safetensors 0.8 writes for their owner alone: a group shares models."""
    WRITERS[name](tmp_path / name)
    (tmp_path / "plain").touch()
    assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_publishing_to_a_full_disk(tmp_path):
    source = _saved(tmp_path / "x")
    with disk_of(4000), pytest.raises(OSError, match=r"model\.safetensors could not be written"):
        publish(source, tmp_path / "out")
    assert not strays(tmp_path) and "model.safetensors" not in content_of(tmp_path / "out")


PIECES = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(("..", ".", "a" * 255, "a" * 256, "é" * 127, "a" * 251, "人" * 84, " ", "  x  ", "-o", "--", "~",
                     "$HOME", "x\ny", "con", "nul.png", "a:b", "x.", "e\u0301", "\u202egnp", "\U0001f600", "\ud800",
                     "\udce9", "*", "x/../..", "sub/dir", "%s", "{}", "\\", "CON.png", ".png", "a.png.png", "x\0y")),
)


@pytest.mark.skipif(sys.platform == "win32", reason="some of these names mean devices and streams there")
@fuzzed(40, pieces=st.lists(PIECES, min_size=1, max_size=5),
        suffix=st.sampled_from((".png", ".PNG", ".tif", ".jpg", "")))
def test_names(tmp_path, pieces, suffix):
    """What is written under a name is there under that name, and nowhere else."""
    root = tmp_path / "a" / "b" / "c" / "d" / "e" / "f"  # `..` stays inside what is looked at
    emptied(tmp_path)
    root.mkdir(parents=True)
    name = "/".join(piece.strip("/") for piece in pieces) + suffix
    path = root / name
    if tmp_path not in Path(os.path.normpath(path)).parents:
        return "elsewhere"
    outcome, error = judged(lambda: writing.write_matte(path, PLANE), path)
    assert not strays(tmp_path)
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    if outcome != "right":
        assert written == []
        return outcome
    assert [p.resolve() for p in written] == [path.resolve()]
    levels = (PLANE.double() * 65535).round() / 65535
    found, mask = judged(lambda: reading.read_mask(path), path)
    assert found == "right" and torch.equal(mask[0], levels.float())
    hidden = path.name.startswith(".")
    assert reading.pictures_in(path.parent) == ([] if hidden else [path.parent / path.name])
    return outcome


@fuzzed(30, name=st.sampled_from(("net", "ä ö", "e\u0301\u0302", "\U0001f600", "a" * 200, "..", "x.safetensors", "-x",
                                  "a b/c d")), inside=st.booleans())
def test_names_of_nets(tmp_path, name, inside):
    emptied(tmp_path)
    (tmp_path / "root").mkdir()
    folder = tmp_path / "root" / name
    outcome, _ = judged(lambda: NET.save_pretrained(folder), folder)
    assert outcome == "right"
    outcome, net = judged(lambda: load_net(folder if inside else folder / "model.safetensors"), folder)
    assert outcome == "right" and not strays(tmp_path)
    return outcome


def test_links(tmp_path):
    """A link is read through, and replaced when written to: its target stays as it was."""
    target, link = tmp_path / "elsewhere" / "target.png", tmp_path / "link.png"
    target.parent.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(target)
    before = target.read_bytes()
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no links here")
    assert reading.read_mask(link).shape == (1, 4, 4)
    writing.write_matte(link, PLANE)
    assert target.read_bytes() == before and not link.is_symlink()
    loop, nothing = tmp_path / "loop.png", tmp_path / "nothing.png"
    loop.symlink_to(loop)
    nothing.symlink_to(tmp_path / "not there")
    for path in (loop, nothing):
        for read in (reading.read_mask, load_net):
            outcome, error = judged(lambda path=path, read=read: read(path), path)
            assert outcome == "OSError" and isinstance(error, FileNotFoundError)
    NET.save_pretrained(tmp_path / "net")
    (tmp_path / "linked").symlink_to(tmp_path / "net", target_is_directory=True)
    assert judged(lambda: load_net(tmp_path / "linked"))[0] == "right"
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        for read in (reading.read_mask, load_net):
            assert judged(lambda read=read: read(tmp_path / "pipe.png"), tmp_path / "pipe.png")[0] == "OSError"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_the_command_line_prints_any_name(tmp_path, monkeypatch, encoding):
    """A name that standard output has no letters for is no reason to call a finished picture failed."""
    names = ["кот.png", "人 .png", "plain.png"] + ([] if sys.platform in ("win32", "darwin") else ["\udce9.png"])
    (tmp_path / "in").mkdir()
    for name in names:
        writing.write_matte(tmp_path / "in" / name, PLANE)
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding, errors="strict"))
    assert cli.main(["trimap", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    sys.stdout.flush()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    assert len(printed.getvalue().splitlines()) == len(names)
    if encoding == "utf-8":
        told = {os.fsdecode(line) for line in printed.getvalue().splitlines()}
        assert told == {str(tmp_path / "out" / name) for name in names}
