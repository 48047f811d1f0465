"""How far the tokens of global blocks attend: to all, among every second one, or within a reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..checks import check_choice
from ..model.config import MattingConfig

Strategy = Literal["exact", "grid", "local", "auto"]
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
    """

    strided: bool = False
    reach: int | None = None
    margin: int | None = None


def scope_of(
    strategy: Strategy, architecture: MattingConfig, *, reach: int | None = None, margin: int | None = None
) -> Scope:
    """The scope that a strategy means for a net.

    Args:
        strategy: "exact", "grid", "local", or "auto": local where the net's configuration has an `attention_reach`,
            because it was trained so or is more accurate so, else exact, as it was published.
        architecture: the net's.
        reach: for "local", in tokens; None for the net's own: its `attention_reach`, else half of the side that its
            global blocks' tables were trained on.
        margin: for "local", in tokens; None for `default_margin`.

    Raises:
        ValueError: for another strategy, a reach or margin that is no whole number of at least 1 (margin: 0) or comes
            without local attention, or local attention for another library's backbone.
    """
    check_choice("strategy", strategy, STRATEGIES)
    for name, value, low in (("reach", reach, 1), ("margin", margin, 0)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
            raise ValueError(f"{name} is {value!r}; expected a whole number of tokens, at least {low}")
    transformer = architecture.transformer
    if strategy == "auto":
        strategy = "local" if transformer is not None and transformer.attention_reach is not None else "exact"
    if strategy != "local":
        if reach is not None or margin is not None:
            raise ValueError("reach and margin are for strategy 'local'; give that, or leave them out")
        return Scope(strided=strategy == "grid")
    if transformer is None:
        raise ValueError("strategy is 'local', but this net's backbone is another library's; expected exact or auto")
    own = transformer.attention_reach or max(1, min(transformer.grid) // 2)
    return Scope(reach=reach or own, margin=default_margin(own) if margin is None else margin)


def default_margin(reach: int) -> int:
    """The margin in tokens for a reach."""
    return 2 * reach
