"""How composites are made: the probabilities and sizes of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..values import Rule, at_least, check_values, is_number

PROBABILITY = Rule(lambda v: is_number(v) and 0 <= v <= 1, "a probability from 0 to 1")


@dataclass(frozen=True)
class Mixture:
    """How composites are made; each number but `enlargement` and `unknown` is a probability.

    Args:
        strands, sheer: a procedural foreground instead of one from the folders: hair and fur; glass, veils and smoke.
        borrowed_colour: a foreground takes its colours from a photograph and keeps its alpha.
        second: two foregrounds are fused to one (Tang et al., arXiv 1909.09725; Li and Lu, GCA, arXiv 2001.04069).
        defocus, motion: the foreground is blurred together with its alpha.
        background_blur: the background is out of focus.
        alike: the background is given the foreground's mean colour.
        noise, jpeg, gamma: of the finished picture.
        rough: the trimap comes from a hard mask, as users make it, and not from the alpha.
        wide: further areas of the trimap are unknown.
        mesh: a net, fence, lattice or cloth instead of a foreground from the folders.
        natural: procedural hair has a hair's colour and not a photograph's.
        patterned: of the other foregrounds, instead of their own colours: several, in stripes, checks or patches.
        linear: soft pixels are mixed in linear light.
        enlargement: foregrounds are enlarged at most so many times.
        unknown: the wanted mean share of unknown pixels in crops of 512 pixels; smaller crops have more, by the root
            of the ratio of the sides. 0: bands of random widths, whatever share comes of them.
        parts: whole parts of an object are unknown, those of other colours or one of two foregrounds; needs `unknown`.
    """

    strands: float = 0.18
    sheer: float = 0.10
    borrowed_colour: float = 0.25
    second: float = 0.2
    defocus: float = 0.15
    motion: float = 0.08
    background_blur: float = 0.5
    alike: float = 0.12
    noise: float = 0.5
    jpeg: float = 0.4
    gamma: float = 0.3
    rough: float = 0.3
    wide: float = 0.12
    mesh: float = 0.0
    natural: float = 0.0
    patterned: float = 0.0
    linear: float = 0.0
    enlargement: float = 2.5
    unknown: float = 0.0
    parts: float = 0.0

    def __post_init__(self) -> None:
        rules = {f.name: PROBABILITY for f in fields(self)} | {"enlargement": at_least(1)}
        check_values("Mixture", vars(self), rules)
