"""What `vitmatte evaluate` judges, one picture after the other: of folders by their names, of a clip in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from torch import Tensor

from ..checks import unequal
from ..pictures import reading
from ..pictures.pairing import by_stem, counterparts
from ..video.planes import Planes
from ..video.sequence import is_pattern
from .told import warnings_of

Net = Callable[[Tensor, Tensor], Tensor]  # (image [1, H, W, 3], trimap [1, H, W]) to a matte [H, W]


@dataclass(frozen=True)
class Judged:
    """A picture to be judged.

    Args:
        name: in the table.
        where: in messages.
        found, true: [H, W] in 0..1.
        trimap: [1, H, W], or None.
        trimap_name: the file it is from.
        image: [1, H, W, 3], or None; image_name: the file it is from.
    """

    name: str
    where: str
    found: Tensor
    true: Tensor
    trimap: Tensor | None
    trimap_name: str
    image: Tensor | None
    image_name: str


Pictures = Callable[[Net | None], Iterator[Judged]]


@dataclass(frozen=True)
class Given:
    """Where the planes are; pred None where a net makes them."""

    alpha: Path
    pred: Path | None
    trimap: Path | None
    image: Path | None

    @property
    def is_clip(self) -> bool:
        """Whether any of it is a video file, or a pattern: then all of it is one clip, frame by frame."""
        return any(path is not None and (path.is_file() or (is_pattern(path) and not path.is_dir()))
                   for path in (self.alpha, self.pred, self.trimap, self.image))


def of_folders(given: Given) -> tuple[int, Pictures]:
    """How many pictures there are, and what gives them: files of one name up to the suffix belong together.

    Raises:
        FileNotFoundError, ValueError: what is missing, before any is read; while they are read, what cannot be.
    """
    truth = by_stem(given.alpha)
    trimaps, images, mattes = (counterparts(folder, truth, "mattes") if folder else {}
                               for folder in (given.trimap, given.image, given.pred))

    def pictures(net: Net | None) -> Iterator[Judged]:
        for stem, path in truth.items():
            with warnings_of(path):
                trimap = reading.read_trimap(trimaps[stem]) if trimaps else None
                image = reading.read_image(images[stem]) if images else None
                true = reading.read_mask(path)[0]
                if given.pred is None:
                    found = _by_net(net, image, trimap, f"{images[stem]} with {trimaps[stem]}")
                else:
                    found = reading.read_mask(mattes[stem])[0]
                yield Judged(stem, path.name, found, true, trimap, str(trimaps.get(stem)), image,
                             str(images.get(stem)))

    return len(truth), pictures


def of_clip(given: Given) -> tuple[int, Pictures]:
    """How many frames there are, and what gives them: those of video files, folders and patterns, in order. One frame
    of each is held.

    Raises:
        FileNotFoundError, ValueError: no such clip, or counts or sizes that differ, before any is judged; while they
            are read, what is damaged or ends early. RuntimeError: a video, and no PyAV.
    """
    with warnings_of(given.alpha):
        truth = Planes(given.alpha, "mattes")
        found = None if given.pred is None else Planes(given.pred, "mattes")
        trimaps = None if given.trimap is None else Planes(given.trimap, "trimaps")
        images = None if given.image is None else Planes(given.image, "pictures")
    for other in (found, trimaps, images):
        if other is not None and other.count != truth.count:
            raise ValueError(f"{other.path} has {other.count} frames and {truth.path} {truth.count}; expected as many: "
                             "they belong together in order")
        if other is not None and other.size != truth.size:
            raise ValueError(unequal(str(other.path), other.size, str(truth.path), truth.size))

    def frames(net: Net | None) -> Iterator[Judged]:
        with ExitStack() as stack, warnings_of(given.alpha, once=True):
            def begun(planes: Planes | None) -> Iterator[tuple[str, Tensor | None]]:
                return repeat(("", None)) if planes is None else stack.enter_context(closing(planes.frames()))

            for (name, true), (_, matte), (_, trimap), (_, image) in zip(
                    begun(truth), begun(found), begun(trimaps), begun(images), strict=False):
                assert true is not None
                where = f"{given.alpha}, frame {name}"
                if matte is None:
                    matte = _by_net(net, image, trimap, where).unsqueeze(0)
                yield Judged(name, where, matte[0], true[0], trimap, str(given.trimap), image, str(given.image))

    return truth.count, frames


def _by_net(net: Net | None, image: Tensor | None, trimap: Tensor | None, where: str) -> Tensor:
    assert net is not None and image is not None and trimap is not None
    try:
        return net(image, trimap)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
