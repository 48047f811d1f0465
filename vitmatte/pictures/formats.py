"""How picture files are written: bits of a channel, meaning of alpha and compression, by the suffix of their names.

An option that means nothing for a format is an error and never left out.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .packages import check_encoder, needed_openimageio, openimageio

Bits = Literal[8, 16, "half", "float"]
EVERY_BITS: tuple[Bits, ...] = (8, 16, "half", "float")
EXR_SUFFIX = ".exr"
TIFF_SUFFIXES = (".tif", ".tiff")
# Bits of a channel by suffix, what is written without a word first; a matte has the most that are whole numbers.
BITS: dict[str, tuple[Bits, ...]] = {
    ".png": (8, 16), ".tif": (8, 16), ".tiff": (8, 16), ".exr": ("half", "float"), ".webp": (8,), ".jpg": (8,),
    ".jpeg": (8,), ".bmp": (8,),
}
ASSOCIATED = (*TIFF_SUFFIXES, EXR_SUFFIX)  # formats that say what their alpha is, or that are read so
# zlib's level and strategy. To look, after the row filters, for runs of equal samples alone takes a fraction of the
# time of the search for repeated strings, and grain has none to find: see benchmarks/results/formats.md.
PNG_LEVELS = {"fast": (1, zlib.Z_RLE), "none": (0, zlib.Z_DEFAULT_STRATEGY),
              **{str(level): (level, zlib.Z_DEFAULT_STRATEGY) for level in range(10)}}
# Without a word the first.
COMPRESSIONS: dict[str, tuple[str, ...]] = {
    ".png": tuple(PNG_LEVELS),
    ".tif": ("none", "lzw", "deflate"), ".tiff": ("none", "lzw", "deflate"),
    ".webp": ("lossy", "lossless"),
    ".exr": ("zip", "none", "rle", "zips", "piz", "dwaa", "dwab"),
}
PYAV_COMPRESSIONS = {"none": "none", "rle": "rle", "zips": "zip1", "zip": "zip16"}  # of OpenEXR, FFmpeg's names


@dataclass(frozen=True)
class Form:
    """How a picture is written, as far as that is chosen; None is what suits the format.

    Attributes:
        bits: of a channel: 8 or 16, whole numbers; "half" or "float", 16 and 32 bits of floating point.
        premultiplied: colours times alpha; False: straight alpha.
        compression: one of `COMPRESSIONS` of the format.
    """

    bits: Bits | None = None
    premultiplied: bool | None = None
    compression: str | None = None

    def check(self, path: str | os.PathLike[str], *, transparent: bool = True) -> None:
        """Raises before any work where a file of that name cannot be written so.

        Args:
            path: of a suffix that is written at all.
            transparent: whether the picture has alpha.

        Raises:
            ValueError: an option that the format does not have. RuntimeError: a package that is not there.
        """
        suffix = Path(path).suffix.lower()
        if self.bits is not None and self.bits not in BITS[suffix]:
            raise ValueError(f"{path}: bits is {self.bits!r}; {suffix} has {_either(BITS[suffix])}")
        known = COMPRESSIONS.get(suffix, ())
        if self.compression is not None and self.compression not in known:
            there = f"has {', '.join(known)}" if known else "has none to choose"
            raise ValueError(f"{path}: compression is {self.compression!r}; {suffix} {there}")
        if self.premultiplied is not None:
            given = "premultiplied" if self.premultiplied else "straight"
            if not transparent:
                raise ValueError(f"{path}: {given} alpha is asked for, and the picture has none")
            if suffix not in ASSOCIATED:
                raise ValueError(f"{path}: {given} alpha is asked for; {suffix} is always straight, "
                                 f"{' and '.join((ASSOCIATED[0], EXR_SUFFIX))} are either")
        if suffix == EXR_SUFFIX:
            self._check_exr(path)
        elif self.by_openimageio(suffix):
            needed_openimageio("TIFFs with 16 bits a channel or premultiplied alpha")

    def _check_exr(self, path: str | os.PathLike[str]) -> None:
        if openimageio() is not None:
            return
        try:
            check_encoder("exr", str(path))
        except RuntimeError:
            needed_openimageio("OpenEXR files")
        if (self.compression or "zip") not in PYAV_COMPRESSIONS:
            needed_openimageio(f"OpenEXR files of compression {self.compression}")

    def by_openimageio(self, suffix: str) -> bool:
        """Whether a picture in colours of that suffix is written by OpenImageIO alone."""
        return suffix in TIFF_SUFFIXES and (self.bits == 16 or self.premultiplied is True)

    def of(self, path: str | os.PathLike[str], bits: Bits) -> Form:
        """The form of a picture that is made from one with so many bits: as many, as far as the format has them."""
        held = BITS[Path(path).suffix.lower()]
        if self.bits is not None:
            return self
        wide = bits in ("half", "float", 16) and 16 in held
        return replace(self, bits=bits if bits in held else 16 if wide else held[0])

    def of_matte(self, path: str | os.PathLike[str]) -> Form:
        """The form of a matte that is written beside: what of this means something for its format."""
        suffix = Path(path).suffix.lower()
        return Form(self.bits if suffix == EXR_SUFFIX and self.bits in BITS[suffix] else None, None,
                    self.compression if self.compression in COMPRESSIONS.get(suffix, ()) else None)

    def without_defaults(self, suffix: str | None) -> Form:
        """The same form, with None where what is chosen is what would be written without a word.

        Args:
            suffix: of what is written; None for .exr and .png as photographs have it, of which an option that both
                do not have means all.
        """
        usual = {COMPRESSIONS[one][0] for one in ((EXR_SUFFIX, ".png") if suffix is None else (suffix,))
                 if one in COMPRESSIONS}
        is_usual = self.premultiplied == (suffix in (None, EXR_SUFFIX))
        return replace(self, premultiplied=None if is_usual else self.premultiplied,
                       compression=None if self.compression in usual else self.compression)

    def chosen(self) -> dict[str, Any]:
        """The keywords of `write_image`."""
        return asdict(self)

    def pillow(self, suffix: str) -> dict[str, Any]:
        """What Pillow's `save` is told."""
        if suffix == ".png":
            level, strategy = PNG_LEVELS[self.compression or COMPRESSIONS[suffix][0]]
            return {"compress_level": level, "compress_type": strategy}
        if suffix in TIFF_SUFFIXES and self.compression not in (None, "none"):
            # The differences of neighbours (predictor 2, TIFF 6.0 section 14), which are smaller.
            how = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}
            return {"compression": how[str(self.compression)], "tiffinfo": {317: 2}}
        return {"lossless": True, "exact": True} if self.compression == "lossless" else {}


def result_suffix(photo: str | os.PathLike[str], chosen: str | None = None, *, matte: bool = False) -> str:
    """How the names of a folder's results end: as chosen, else .exr of an OpenEXR photograph and .png of others.

    Args:
        photo: the photograph's name.
        chosen: a suffix of `BITS`.
        matte: whether the result is a matte, which is a .png where the format has no more than 8 bits.
    """
    suffix = chosen or (EXR_SUFFIX if os.path.splitext(photo)[1].lower() == EXR_SUFFIX else ".png")
    return ".png" if matte and BITS[suffix] == (8,) else suffix


def parsed_bits(text: str) -> Bits:
    """Bits as a command line has them; ValueError for others."""
    for bits in EVERY_BITS:
        if text == str(bits):
            return bits
    raise ValueError(f"bits is {text!r}; expected {_either(EVERY_BITS)}")


def _either(values: tuple[Bits, ...]) -> str:
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
