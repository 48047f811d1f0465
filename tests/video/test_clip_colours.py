"""Y'CbCr and RGB: every matrix and range, more than 8 bits, as ITU-T H.273 has them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import drawn_frame

from vitmatte.video.colours import WEIGHTS, Colours, codes, colours_of, grey_of, rgb_of

av = pytest.importorskip("av")

LAYOUTS = {8: "yuva444p", 10: "yuva444p10le"}
GREENS = (0.0, 1.0, 0.0)


def filled(layout: str, planes: list[np.ndarray]):
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], layout)
    for plane, content in zip(frame.planes, planes, strict=True):
        np.frombuffer(plane, content.dtype).reshape(plane.height, -1)[:, :content.shape[1]] = content
    return frame


@pytest.mark.parametrize("bits", LAYOUTS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_what_was_written_is_read(matrix, full, bits):
    colours, picture = Colours(matrix, full, bits=bits), torch.rand(37, 51, 4)
    frame = filled(LAYOUTS[bits], codes(picture, colours))
    # Half a code of luma and half one of chroma, which BT.2020's blue weighs by 1.88 and 219/255.
    assert ((rgb_of(frame, colours) - picture[..., :3]).abs().max() * (2**bits - 1)) < 1.75
    assert ((grey_of(frame, colours, alpha=True) - picture[..., 3]).abs().max() * (2**bits - 1)) < 0.501


def test_codes_are_those_of_the_standards():
    white, black, green = (torch.tensor(c).expand(1, 1, 3) for c in ((1.0,) * 3, (0.0,) * 3, GREENS))
    narrow, ten, full = Colours(1, False, bits=8), Colours(9, False, bits=10), Colours(6, True, bits=8)
    assert [int(p[0, 0]) for p in codes(white, narrow)] == [235, 128, 128]
    assert [int(p[0, 0]) for p in codes(black, ten)] == [64, 512, 512]
    # BT.709: Y' = 16 + 219 * 0.7152, Cb = 128 - 224 * 0.7152 / 1.8556, Cr = 128 - 224 * 0.7152 / 1.5748.
    assert [int(p[0, 0]) for p in codes(green, narrow)] == [173, 42, 26]
    # JFIF: 255 * 0.587 and so on.
    assert [int(p[0, 0]) for p in codes(green, full)] == [150, 44, 21]


def test_ten_bits_stay_ten_bits():
    """swscale's own conversion to RGB goes by way of 8."""
    ramp = torch.linspace(0.3, 0.4, 512).expand(8, -1)
    colours = Colours(1, False, bits=10)
    back = rgb_of(filled("yuv444p10le", codes(ramp[..., None].expand(-1, -1, 3), colours)), colours)
    assert len(back[0, :, 0].unique()) > 80 and (back[..., 0] - ramp).abs().max() < 0.51 / 876


def test_whiter_than_white_is_kept():
    colours = Colours(1, False, bits=8)
    planes = [np.full((4, 4), 254, np.uint8), *(np.full((4, 4), 128, np.uint8) for _ in range(2))]
    assert rgb_of(filled("yuv444p", planes), colours).max() == pytest.approx((254 - 16) / 219, abs=1e-5)


def test_chroma_lies_where_h264_has_it():
    """On every second column, and between two rows: a ramp keeps its values there."""
    ramp = torch.zeros(6, 8, 3)
    ramp[..., 2] = torch.arange(8) * 0.1
    full, half = (codes(ramp, Colours(1, True, bits=8), subsampled=way)[1].astype(float) for way in (False, True))
    assert half.shape == (3, 4) and np.abs(half[:, 1:] - full[::2, 2::2]).max() <= 1
    assert codes(torch.rand(5, 7, 3), Colours(1, bits=8), subsampled=True)[1].shape == (3, 4)


def context(primaries=2, transfer=2):
    return SimpleNamespace(color_primaries=primaries, color_trc=transfer)


@pytest.mark.parametrize(("layout", "height", "found"), [
    ("yuv420p", 480, Colours(6, False)), ("yuv420p", 720, Colours(1, False)), ("yuvj420p", 480, Colours(6, True)),
    ("yuv422p10le", 1080, Colours(1, False, bits=10)), ("gray", 480, Colours(6, True)), ("rgb24", 480, Colours()),
    ("gbrp10le", 480, Colours(bits=10)),
])
def test_what_no_file_says_is_what_players_assume(layout, height, found):
    assert colours_of(av.VideoFrame(64, height, layout), context(), "x") == found


def test_tags_win_and_unknown_matrices_are_refused():
    frame = av.VideoFrame(64, 1080, "yuv420p10le")
    frame.colorspace, frame.color_range = 9, 2
    assert colours_of(frame, context(9, 16), "x") == Colours(9, True, 9, 16, 10)
    assert colours_of(frame, context(9, 16), "x").hdr
    frame.colorspace = 8
    with pytest.raises(ValueError, match=r"clip.mov: its colours have MatrixCoefficients 8"):
        colours_of(frame, context(), "clip.mov")


@pytest.mark.parametrize(("layout", "kind"), [("rgba", np.uint8), ("rgba64le", np.uint16), ("gbrap16le", np.uint16)])
def test_rgb_is_taken_as_it_is(layout, kind):
    picture, top = drawn_frame(1).numpy(), np.iinfo(kind).max
    frame = av.VideoFrame.from_ndarray((picture * top).round().astype(kind), format=layout)
    colours = colours_of(frame, context(), "x")
    assert np.abs(rgb_of(frame, colours).numpy() - picture[..., :3]).max() * top < 0.51
    assert np.abs(grey_of(frame, colours, alpha=True).numpy() - picture[..., 3]).max() * top < 0.51
