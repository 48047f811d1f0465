"""Pictures, masks and trimaps, spoilt in every way: planes in 0..1 as the file says, or one error that names it."""

from __future__ import annotations

import functools
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import DAMAGE, damaged
from fuzz import emptied, fuzzed, judged
from hypothesis import strategies as st
from PIL import Image, features

from vitmatte.cli import main as cli
from vitmatte.pictures import reading, writing

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"),  # Pillow's, of what it finds odd
              pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")]
RANDOM = np.random.default_rng(2)
PIXELS = RANDOM.integers(0, 256, (24, 40, 4), np.uint8)
WIDE = RANDOM.integers(0, 65536, (24, 40)).astype(np.uint16)
NAMES = (*(f"picture{suffix}" for suffix in writing.SUFFIXES), "picture", "picture.gif", "picture.safetensors")
READ = {"image": reading.read_image, "mask": reading.read_mask, "trimap": reading.read_trimap,
        "cutout": reading.read_cutout, "photograph": lambda path: reading.read_photograph(path).image}


def saved(mode: str, kind: str, **how) -> bytes:
    picture = Image.fromarray(WIDE) if mode == "I;16" else Image.fromarray(PIXELS, "RGBA").convert(mode)
    if kind in ("JPEG", "TIFF", "PNG"):
        exif = Image.Exif()
        exif[0x0112] = 6  # lies on its side
        how["exif"] = exif
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


PICTURES = {
    **{f"PNG {mode}": saved(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "PNG transparent": saved("P", "PNG", transparency=3),
    "PNG profile": saved("RGB", "PNG", icc_profile=b"p" * 200),
    **{f"JPEG {mode}": saved(mode, "JPEG", icc_profile=b"p" * 200) for mode in ("L", "RGB", "CMYK")},
    "JPEG progressive": saved("RGB", "JPEG", progressive=True),
    **{f"TIFF {mode}": saved(mode, "TIFF") for mode in ("1", "L", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F")},
    **{f"BMP {mode}": saved(mode, "BMP") for mode in ("1", "L", "RGB")},
    "GIF": saved("P", "GIF"),
    "EPS": saved("RGB", "EPS"), "PDF": saved("RGB", "PDF"), "ICO": saved("RGBA", "ICO"), "PCX": saved("RGB", "PCX"),
    "TGA": saved("RGB", "TGA"), "PPM": saved("RGB", "PPM"), "SGI": saved("RGB", "SGI"), "IM": saved("RGB", "IM"),
}
if features.check("libtiff"):
    PICTURES |= {f"TIFF {how}": saved("RGB", "TIFF", compression=how) for how in ("tiff_lzw", "tiff_deflate", "jpeg")}
if features.check("webp"):
    PICTURES |= {"WebP": saved("RGBA", "WEBP", lossless=True), "WebP lossy": saved("RGB", "WEBP")}
READABLE = sorted(name for name in PICTURES if name.split()[0] in ("PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "PPM")
                  and name not in ("TIFF LAB", "TIFF F", "TIFF I"))  # no RGB to be had; values to 255
# Colours are no mask unless something in them is white, and no trimap.
PLANES = {"mask": ("1", "L", "LA", "RGBA", "I;16", "WebP", "transparent"), "trimap": ("1", "L", "I;16")}


def check(kind: str, found) -> None:
    """What the readers promise."""
    channels = {"image": (3,), "photograph": (3,), "cutout": (3, 4)}.get(kind)
    assert found.dtype == torch.float32 and found.shape[0] == 1 and found.ndim == (4 if channels else 3)
    assert channels is None or found.shape[3] in channels
    assert 0 <= found.min() <= found.max() <= 1


def outcome_of(path: Path, kind: str) -> str:
    outcome, found = judged(lambda: READ[kind](path), path)
    if outcome == "right":
        check(kind, found)
    return outcome


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """A picture of more than 8 megapixels counts as a bomb here, as one of 179 does outside."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4 * 2**20)


def write(folder: Path, name: str, content: bytes) -> Path:
    emptied(folder)
    (folder / name).write_bytes(content)
    return folder / name


@fuzzed(60, picture=st.sampled_from(sorted(PICTURES)), changes=DAMAGE, name=st.sampled_from(NAMES),
        kind=st.sampled_from(sorted(READ)))
def test_damaged(tmp_path, picture, changes, name, kind):
    return outcome_of(write(tmp_path, name, damaged(PICTURES[picture], changes)), kind)


@pytest.mark.parametrize("picture", sorted(PICTURES))
def test_renamed(tmp_path, picture):
    """The content counts, not the name; formats that nobody has photographs in are refused."""
    for name in NAMES:
        for kind in READ:
            outcome = outcome_of(write(tmp_path, name, PICTURES[picture]), kind)
            wanted = picture.split()[-1] in PLANES.get(kind, (picture.split()[-1],))
            assert outcome == "right" or picture not in READABLE or not wanted, (name, kind)
    if picture not in READABLE and not picture.startswith("TIFF"):
        with pytest.raises(ValueError, match="is not a picture"):
            reading.read_image(tmp_path / name)


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    def framed(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(framed(name, data) for name, data in chunks)


@functools.cache
def zeros(count: int, level: int) -> bytes:
    return zlib.compress(bytes(count), level)


SIDES = st.sampled_from((0, 1, 24, 40, 2**11, 2**12, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1))


@fuzzed(30, width=SIDES, height=SIDES, depth=st.sampled_from((1, 2, 4, 8, 16, 32, 0)), colour=st.integers(0, 7),
        interlaced=st.integers(0, 2), kind=st.sampled_from(sorted(READ)), data=st.sampled_from((0, 100, 2**14, 2**22)),
        extra=st.sampled_from((b"", b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL")),
        level=st.sampled_from((0, 9)))
def test_pngs_that_declare_too_much(tmp_path, width, height, depth, colour, interlaced, kind, data, extra, level):
    """Any header, a right checksum, and pixels or texts that unpack to megabytes."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    more = [(extra, b"name\0\0" + zeros(2**24, 9))] if extra else []
    content = png([(b"IHDR", head), *more, (b"IDAT", zeros(data, level)), (b"IEND", b"")])
    return outcome_of(write(tmp_path, "picture.png", content), kind)


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes, order: str) -> bytes:
    """A TIFF of the tags (type, count, value), whose pixels lie behind them."""
    entries = b"".join(struct.pack(order + "HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return head + entries + struct.pack(order + "I", 0) + data


TAG = st.tuples(st.integers(1, 13), st.sampled_from((0, 1, 2, 3, 4, 2**16, 2**31, 2**32 - 1)),
                st.sampled_from((0, 1, 2, 3, 4, 5, 7, 8, 16, 24, 32, 40, 64, 2**12, 2**16, 2**31, 2**32 - 1)))


@fuzzed(30, order=st.sampled_from("<>"), kind=st.sampled_from(sorted(READ)), size=st.sampled_from((0, 100, 2**14)),
        changed=st.dictionaries(st.sampled_from((256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 322, 323,
                                                 324, 325, 338, 339, 347, 34675, 34665)), TAG, min_size=1, max_size=4))
def test_tiffs_that_declare_too_much(tmp_path, order, kind, size, changed):
    tags = {256: (4, 1, 40), 257: (4, 1, 24), 258: (4, 1, 8), 259: (4, 1, 1), 262: (4, 1, 1), 273: (4, 1, 200),
            277: (4, 1, 1), 278: (4, 1, 24), 279: (4, 1, 960)}
    return outcome_of(write(tmp_path, "picture.tif", tiff({**tags, **changed}, bytes(size), order)), kind)


HEADERS = {
    "picture.bmp": (saved("RGB", "BMP"), (2, 10, 14, 18, 22, 26, 28, 30, 34, 46)),
    "picture.gif": (saved("P", "GIF"), (6, 8, 10, 11)),
    "picture.jpg": (saved("RGB", "JPEG"), tuple(saved("RGB", "JPEG").index(b"\xff\xc0") + i for i in (2, 4, 5, 7, 9))),
}


@fuzzed(30, name=st.sampled_from(sorted(HEADERS)), place=st.integers(0, 9), order=st.sampled_from("<>"),
        value=SIDES, size=st.sampled_from("HI"), kind=st.sampled_from(sorted(READ)))
def test_headers_of_other_formats(tmp_path, name, place, order, value, size, kind):
    content, places = HEADERS[name]
    at = places[place % len(places)]
    number = struct.pack(order + size, value % 2 ** (8 * struct.calcsize(size)))
    return outcome_of(write(tmp_path, name, content[:at] + number + content[at + len(number):]), kind)


VALUES = st.sampled_from((0.0, 1.0, 0.5, -0.0, 1e-30, 1.0001, -0.001, 255.0, np.nan, np.inf, -np.inf, 3e38))


@fuzzed(40, values=st.lists(VALUES, min_size=1, max_size=6), kind=st.sampled_from(("image", "mask")))
def test_floating_point_pictures(tmp_path, values, kind):
    """Values in 0..1 as they are; any others are refused, for nobody can tell their scale, and so is a mask that holds
    next to nothing."""
    buffer = io.BytesIO()
    Image.fromarray(np.array([values], np.float32)).save(buffer, "TIFF")
    path = write(tmp_path, "plane.tif", buffer.getvalue())
    good = all(0 <= value <= 1 for value in values) and (kind == "image" or not 0 < max(values) < 1 / 16)
    outcome, found = judged(lambda: READ[kind](path), path)
    assert (outcome == "right") == good
    assert not good or np.array_equal(found[0].reshape(len(values), -1)[:, 0], np.array(values, np.float32))
    return outcome


@fuzzed(40, values=st.lists(st.sampled_from((0, 1, 128, 65535, 65536, -1, 2**31 - 1, -2**31)), min_size=1, max_size=6),
        kind=st.sampled_from(("image", "mask")))
def test_whole_number_pictures(tmp_path, values, kind):
    buffer = io.BytesIO()
    Image.fromarray(np.array([values], np.int32)).save(buffer, "TIFF")
    path = write(tmp_path, "plane.tif", buffer.getvalue())
    outcome, found = judged(lambda: READ[kind](path), path)
    good = all(0 <= value <= 65535 for value in values)
    assert (outcome == "right") == (good and (max(values) == 65535 or (kind == "mask" and max(values) == 0)))
    return outcome


@fuzzed(40, picture=st.sampled_from(sorted(PICTURES)), changes=st.just([]) | DAMAGE,
        out=st.sampled_from(("t.png", "t.tif", "t.jpg")), invert=st.booleans(), mark=st.booleans())
def test_the_trimap_command(tmp_path, capfd, picture, changes, out, invert, mark):
    """From a mask's file to a trimap's: status 0 and the file, or 1, one line that names a file, and no file."""
    path = write(tmp_path, "mask.png", damaged(PICTURES[picture], changes))
    status = []

    def run() -> None:
        marks = ["--mark-unknown", str(path)] if mark else []
        flags = ["--invert"] if invert else []
        status.append(cli.main(["trimap", str(path), "-o", str(tmp_path / out), *flags, *marks]))

    judged(run)
    told = capfd.readouterr()
    if status == [0]:
        assert told.out.strip() == str(tmp_path / out)
        levels = set(np.unique(np.asarray(Image.open(tmp_path / out))))
        assert levels <= {0, 128, 255}
        return "right"
    lines = [line for line in told.err.splitlines() if line.startswith("vitmatte: ")]
    assert status == [1] and len(lines) == 1 and (str(path) in lines[0] or out in lines[0]), told.err
    assert [p.name for p in tmp_path.iterdir()] == ["mask.png"]
    return "error"


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")
def test_bombs_at_the_real_limit(tmp_path, monkeypatch):
    """Headers just below and above Pillow's limit with no pixels behind them take no memory."""
    monkeypatch.undo()
    for side in (13_000, 14_000, 2**31 - 1):
        head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
        content = png([(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])
        assert outcome_of(write(tmp_path, "picture.png", content), "image") == "ValueError"
