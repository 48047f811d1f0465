"""A stream's packets to frames."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from ..pictures.packages import pyav

log = logging.getLogger(__name__)

# FFmpeg's own decoders of VP8 and VP9 leave out the alpha that WebM keeps beside the pictures; libvpx's do not.
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def decoded(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """The frames of an open file's stream, from where it stands, with alpha where the stream has it.

    Raises:
        ValueError: what cannot be decoded; it names the file.
    """
    av = pyav()
    decoder = _other_decoder(stream, name)
    try:
        if decoder is None:
            yield from container.decode(stream)
            return
        for packet in container.demux(stream):
            yield from decoder.decode(packet if packet.size else None)
    except av.error.FFmpegError as error:
        raise ValueError(f"{name} is damaged: {getattr(error, 'strerror', None) or error!s:.200}") from error


def _other_decoder(stream: Any, name: str) -> Any | None:
    """The decoder that a stream with alpha needs in place of FFmpeg's own; None where that one will do."""
    wanted = WITH_ALPHA.get(stream.codec_context.name)
    if wanted is None or stream.metadata.get("alpha_mode", "").lstrip("0") != "1":
        return None
    try:
        return pyav().CodecContext.create(wanted, "r")
    except (ValueError, LookupError):  # UnknownCodecError is a ValueError
        log.warning("%s: its alpha is left out, since the PyAV at hand has no decoder %s; one from PyPI has it: pip "
                    "install av", name, wanted)
        return None
