"""Files of pictures as Pillow opens them, and errors that name them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import not_there
from .stored import Stored, check_frames, stored_as

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# What is read, by Pillow's names and by the content. Others are not even tried: EPS, for one, would run Ghostscript.
# OpenEXR, by OpenImageIO, comes beside.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
log = logging.getLogger(__name__)


@contextmanager
def named(path: str | os.PathLike[str], what: str = "picture") -> Iterator[None]:
    """Within it, an error names the file and `what` it should be, and warnings of Pillow's are logged with its name."""
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise not_there(path, "picture")
    Image.init()
    with warnings.catch_warnings(record=True) as said:
        try:
            yield
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is not a picture in a format that is read here ({', '.join(FORMATS)}, EXR)"
                             ) from error
        except Exception as error:  # Pillow's readers fail with whatever a damaged file makes them stumble over
            told = str(error) or type(error).__name__
            raise ValueError(f"{path} cannot be read as a {what}: {told:.300}") from error
        finally:
            for text in dict.fromkeys(str(warning.message) for warning in said or ()):
                log.warning("%s: %s", path, text)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[ImageFile]:
    """The picture's file, not decoded yet."""
    from PIL import Image

    # Opened here and not by Pillow, which maps the file of a name into memory, and then takes the width of an
    # uncompressed TIFF that lies on its side for the height.
    with Path(path).open("rb") as content, Image.open(content, formats=_formats()) as file:
        yield file


def decoded(file: ImageFile) -> tuple[Image, Stored]:
    """The picture of an opened file, upright (EXIF orientation applied), and how it is stored."""
    stored = how_stored(file)
    return upright(file), stored


def how_stored(file: ImageFile) -> Stored:
    """How the file stores its one picture; to be asked before anything else, since Pillow forgets it in decoding."""
    check_frames(file)
    return stored_as(file)


def upright(file: ImageFile) -> Image:
    from PIL import ImageOps

    file.load()
    # Pillow turns a TIFF when it loads it; before 10.1, exif_transpose would turn it once more.
    return file if file.format == "TIFF" else ImageOps.exif_transpose(file)


def _formats() -> list[str]:
    """Those of `FORMATS` that the Pillow at hand knows."""
    from PIL import Image

    return [name for name in FORMATS if name in Image.OPEN]
