"""ICC profiles of known colours, built from the format's tables (ICC.1:2001-04): Display P3, grey, CMYK, a scanner."""

from __future__ import annotations

import struct
from itertools import product

# Primaries to XYZ, adapted to D50: the columns of Apple's Display P3 and of sRGB.
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
D50 = (0.9642, 1.0, 0.8249)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _srgb_curve() -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92,
                                                                            0.04045)))


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes], version: int) -> bytes:
    name = b"a test"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(1 + 4 + 4 + 2 + 1 + 67),
            b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50), **tags}
    table, content, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = at + len(content)
    head = struct.pack(">I4sI4s4s4s", size, b"test", version << 24, kind, space, pcs)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head + bytes(128 - len(head)) + table + content


def matrix(columns: tuple[tuple[float, ...], ...], curve: bytes) -> bytes:
    """An RGB profile of three primaries and one curve."""
    tags = {tag + b"XYZ": _xyz(column) for tag, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | {tag + b"TRC": curve for tag in (b"r", b"g", b"b")}, 4)


def display_p3() -> bytes:
    return matrix(P3, _srgb_curve())


def srgb() -> bytes:
    """sRGB, whose file is another than LittleCMS writes."""
    return matrix(SRGB, _srgb_curve())


def grey(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)}, 2)


def table(space: bytes, corners: dict[tuple[int, ...], tuple[float, float, float]]) -> bytes:
    """A profile that leads out of a space only: L*a*b* at the corners of its cube, linear between (lut8Type)."""
    channels = len(next(iter(corners)))
    straight = bytes(range(256))
    identity = b"".join(_fixed(float(i == j)) for i in range(3) for j in range(3))
    points = b"".join(bytes((round(lab[0] * 2.55), round(lab[1] + 128), round(lab[2] + 128)))
                      for lab in (corners[key] for key in product((0, 1), repeat=channels)))
    lut = b"mft1\0\0\0\0" + bytes((channels, 3, 2, 0)) + identity + straight * channels + points + straight * 3
    return _profile(b"prtr" if space == b"CMYK" else b"scnr", space, b"Lab ", {b"A2B0": lut}, 2)


CYAN, PAPER = (55.0, -37.0, -50.0), (100.0, 0.0, 0.0)  # of offset printing (ISO 12647-2)


def cmyk() -> bytes:
    """An offset press: its cyan is that of ISO 12647-2, what has black is black, other mixtures are a grey."""
    corners = {key: (0.0, 0.0, 0.0) if key[3] else (50.0, 0.0, 0.0) for key in product((0, 1), repeat=4)}
    return table(b"CMYK", corners | {(0, 0, 0, 0): PAPER, (1, 0, 0, 0): CYAN})


def scanner() -> bytes:
    """RGB of which there is no way back: its full red is a dull one."""
    corners = {key: (100.0 * sum(key) / 3, 0.0, 0.0) for key in product((0, 1), repeat=3)}
    return table(b"RGB ", corners | {(1, 0, 0): (40.0, 50.0, 30.0)})
