"""Ways to spoil a file's bytes, as hypothesis strategies."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hypothesis import strategies as st

Change = Callable[[bytes], bytes]
SPLICED = (b"", b"\0", b"PK\x03\x04", b"<html>", b"\x80\x02", b"{", b"\xff" * 9, b"\x89PNG\r\n\x1a\n", b"II*\0")
NUMBERS = (0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def _place(content: bytes, share: float) -> int:
    return min(int(share * len(content)), max(0, len(content) - 1))


def _cut(share: float) -> Change:
    return lambda content: content[:_place(content, share)]


def _flip(share: float, bit: int) -> Change:
    def change(content: bytes) -> bytes:
        at = _place(content, share)
        return content[:at] + bytes([b ^ 1 << bit for b in content[at:at + 1]]) + content[at + 1:]
    return change


def _put(share: float, piece: bytes, *, over: bool) -> Change:
    def change(content: bytes) -> bytes:
        at = _place(content, share)
        return content[:at] + piece + content[at + (len(piece) if over else 0):]
    return change


def _move(share: float, to: float, length: int) -> Change:
    def change(content: bytes) -> bytes:
        at, there = _place(content, share), _place(content, to)
        return content[:there] + content[at:at + length] + content[there + length:]
    return change


# Structure sits at the beginning and the end of most formats: half of the places are drawn from there.
SHARES = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.97, 1))


@st.composite
def number(draw: st.DrawFn) -> bytes:
    """A number at the edge of what formats hold, in either order of bytes."""
    value, size = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from("HIQ"))
    return struct.pack(draw(st.sampled_from("<>")) + size, value % 2 ** (8 * struct.calcsize(size)))


CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(_cut, SHARES),
    st.builds(_flip, SHARES, st.integers(0, 7)),
    st.builds(_put, SHARES, st.sampled_from(SPLICED) | st.binary(max_size=8) | number(), over=st.booleans()),
    st.builds(_move, SHARES, SHARES, st.sampled_from((1, 4, 16, 512))),
)
DAMAGE = st.lists(CHANGES, min_size=1, max_size=4)


def damaged(content: bytes, changes: list[Change]) -> bytes:
    """The content after all changes."""
    for change in changes:
        content = change(content)
    return content
