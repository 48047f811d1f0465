"""How far the tokens of global blocks attend: to all, among every second one, or within a reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ..checks import check_choice
from ..model.config import MattingConfig

Strategy = Literal["exact", "grid", "local", "auto"]
# Tokens look so many times as far as most of them must to see known ones: FURTHER in pictures of at most MEDIUM tokens
# (a megapixel), FURTHER_IN_LARGE in larger ones, where more is worse and takes longer. They look at least the share
# LEAST of the longest reach: the shortest that the bundled net learned with. Pictures of at most SMALL tokens that the
# longest reach spans take that: all tokens at once take two thirds of the time of cells. Chosen on validation
# composites (benchmarks/results/reach.md).
FURTHER, FURTHER_IN_LARGE, LEAST = 2.5, 1.0, 0.4
SMALL, MEDIUM = 1024, 4096
STRATEGIES: tuple[Strategy, ...] = ("exact", "grid", "local", "auto")


@dataclass(frozen=True)
class Scope:
    """What global blocks attend to, and which tokens there are at all.

    Args:
        strided: they attend among every second token of every second row, in four groups, as Matte-Anything does.
        reach: they attend to keys at most so many tokens away in rows and in columns, with their tables as trained;
            None: to all, with tables stretched to the picture.
        margin: with a reach, tokens further than this from every token that an unknown pixel sees do not exist; None:
            all exist that are seen.
        trained_tables: they attend to all, with their tables as trained: what a reach is that spans the picture.
    """

    strided: bool = False
    reach: int | None = None
    margin: int | None = None
    trained_tables: bool = False

    def spans(self, grid: tuple[int, int]) -> bool:
        """Whether there is a reach, and within it every token of a grid (H, W) attends to all."""
        across = max(grid) - 1
        return self.reach is not None and self.reach >= across and (self.margin is None or self.margin >= across)


EVERYWHERE = Scope(trained_tables=True)


@dataclass(frozen=True)
class ScopeRule:
    """How the scope of a frame follows from its trimap.

    Args:
        widest: the scope of a frame whose unknown area is as wide as can be; the only one where `least` is None.
        least: the reach of a frame whose unknown area is a narrow band, in tokens. Between this and the widest reach, a
            frame has `further` times the reach that its unknown area is wide (see `needed.distance_to_known`).
        margin: as given by the caller; None: `default_margin` of the frame's reach.
    """

    widest: Scope
    least: int | None = None
    margin: int | None = None

    def of(self, distance: int, grid: tuple[int, int]) -> Scope:
        """The scope of a frame of a grid (H, W) whose unknown tokens are so many tokens away from known ones."""
        if self.least is None or self.widest.reach is None:
            return self.widest
        reach = min(self.widest.reach, max(self.least, math.ceil(further(grid) * distance)))
        return Scope(reach=reach, margin=default_margin(reach) if self.margin is None else self.margin)

    def of_all(self, grid: tuple[int, int]) -> Scope | None:
        """The one scope of all frames of a grid (H, W), so that they can be computed together; None: each has its own.

        Where the shortest reach spans the grid, or the longest one a small grid, every token attends to all.
        """
        if self.widest.reach is None:
            return self.widest
        spanning = self.widest if grid[0] * grid[1] <= SMALL else self.of(0, grid)
        return EVERYWHERE if spanning.spans(grid) else None


def further(grid: tuple[int, int]) -> float:
    """How many times as far as its unknown area is wide a frame of a grid (H, W) looks."""
    return FURTHER if grid[0] * grid[1] <= MEDIUM else FURTHER_IN_LARGE


def scope_of(
    strategy: Strategy, architecture: MattingConfig, *, reach: int | None = None, margin: int | None = None
) -> ScopeRule:
    """The scope that a strategy means for a net.

    Args:
        strategy: "exact", "grid", "local", or "auto": local where the net's configuration has an `attention_reach`,
            else exact. For a net with an `attention_reach`, "exact" is its `forward`: all of that reach without a
            margin; and "grid" is "local", which is faster and closer to it.
        architecture: the net's.
        reach: for "local", in tokens, the same for every frame. None: of a net with an `attention_reach`, `further`
            times as far as the frame's unknown area is wide, from the share LEAST of it to all, and all of it in small
            pictures; of others, half of the side that their global blocks' tables were trained on.
        margin: for "local", in tokens; None for `default_margin` of the frame's reach.

    Raises:
        ValueError: for another strategy, a reach or margin that is no whole number of at least 1 (margin: 0) or comes
            without local attention, or local attention for another library's backbone; grid or local for a net that
            routes tokens.
    """
    check_choice("strategy", strategy, STRATEGIES)
    reach, margin = _whole("reach", reach, 1), _whole("margin", margin, 0)
    transformer = architecture.transformer
    if strategy in ("local", "grid") and architecture.routes_tokens:
        raise ValueError(f"strategy is {strategy!r}, but this net is a MEMatte, whose routers look at the whole "
                         "picture and let some tokens attend to each other wherever they are; expected exact or auto")
    own = None if transformer is None else transformer.attention_reach
    if strategy not in ("local", "auto" if own is not None else "local") and (reach is not None or margin is not None):
        raise ValueError("reach and margin are for strategy 'local'; give that, or leave them out")
    if own is None and strategy != "local":
        return ScopeRule(Scope(strided=strategy == "grid"))
    if strategy == "exact":
        return ScopeRule(Scope(reach=own))
    if transformer is None:
        raise ValueError("strategy is 'local', but this net's backbone is another library's; expected exact or auto")
    widest = reach or own or max(1, min(transformer.grid) // 2)
    least = max(1, int(LEAST * own)) if own is not None and reach is None else None
    return ScopeRule(Scope(reach=widest, margin=default_margin(widest) if margin is None else margin), least, margin)


def _whole(name: str, value: int | None, low: int) -> int | None:
    """A number of tokens, also of NumPy's; ValueError unless it is whole and at least so many."""
    if value is None:
        return None
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} is {value!r}; expected a whole number of tokens, at least {low}")
    return int(value)


def default_margin(reach: int) -> int:
    """The margin in tokens for a reach: with twice as much, composites come out the same and take a quarter longer."""
    return reach
