"""What `matte` is given, checked: pictures and trimaps, the device, and how many tokens a frame takes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..checks import NO_WEIGHTS, as_device, check_image, check_plane, unequal
from .decode import decoder_shape, features_needed
from .model import MattingModel
from .needed import Areas, areas, distance_to_known, tokens_by_block
from .scope import EVERYWHERE, Scope, ScopeRule, further


def frame_scopes(model: MattingModel, trimap: Tensor, rule: ScopeRule) -> tuple[list[Scope], Scope, int | None]:
    """The scope of each frame of trimaps [B, H, W], and what the memory of any of them follows from.

    Returns:
        (the frames' scopes, EVERYWHERE where all of them reach over the whole grid; that with the longest reach; the
        largest number of tokens that a frame stores, at least 1, None where all are stored).
    """
    transformer, preprocessing = model.net.architecture.transformer, model.preprocessing
    shape = decoder_shape(model.net.architecture)
    height, width = preprocessing.contract.padded_size(*trimap.shape[1:])
    grid = height >> shape.levels, width >> shape.levels
    if (common := rule.of_all(grid)) is not None:
        return [common] * len(trimap), common, None
    assert transformer is not None
    known = _within(rule.of(0, grid), grid)  # of a frame in which nothing is computed
    scopes, most = [known] * len(trimap), 1
    computed = []
    for i, frame in enumerate(trimap):
        found = areas(frame, 1 << shape.levels)
        if not bool(found.unknown.any()):
            continue
        needed = features_needed(model.net.architecture, found.pixels, grid)
        scopes[i] = scope = _frame_scope(rule, found, grid)
        assert scope.reach is not None
        computed.append(scope)
        most = max(most, int(tokens_by_block(needed, transformer, scope.reach, scope.margin)[0].seen.sum()))
    if all(scope.spans(grid) for scope in computed):
        return [EVERYWHERE] * len(trimap), EVERYWHERE, None
    return scopes, max(scopes, key=lambda scope: scope.reach or 0), most


def _frame_scope(rule: ScopeRule, found: Areas, grid: tuple[int, int]) -> Scope:
    """The scope of a frame of `grid` tokens by its areas."""
    scope = rule.widest
    if rule.least is not None and scope.reach is not None:
        least, most = (int(reach / further(grid)) for reach in (rule.least, scope.reach))  # beyond, nothing changes
        scope = rule.of(distance_to_known(found, least, most + 1), grid)
    return _within(scope, grid)


def _within(scope: Scope, grid: tuple[int, int]) -> Scope:
    """A scope with a reach no longer than the grid, beyond which there is nothing."""
    assert scope.reach is not None
    return replace(scope, reach=min(scope.reach, max(grid) - 1))


def place_of(
    model: MattingModel, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision the net runs; TypeError or ValueError unless it can."""
    if not isinstance(model, MattingModel):
        raise TypeError(f"model is a {type(model).__name__}; expected a MattingModel, which load_model gives")
    net = model.net
    if net.training:
        raise ValueError("the net is in training mode, in which pictures change its statistics: call model.net.eval()")
    if net.device.type == "meta":
        raise ValueError(NO_WEIGHTS)
    where, precision = as_device(device) or net.device, dtype or net.dtype
    if not net.casts and (where.type, precision) != (net.device.type, net.dtype):
        raise ValueError(f"the net's weights are {net.dtype} on {net.device}, and it is to run in "
                         f"{precision} on {where}: load it so, with load_model(..., device=..., dtype=...)")
    return where, precision


def checked_frames(image: Tensor, trimap: Tensor) -> tuple[Tensor, int]:
    """(trimap as [B, H, W], number of frames that image and trimap make together); TypeError or ValueError if they
    are not as `matte` takes them."""
    check_image(image)
    trimap = check_plane(trimap, "trimap")
    trimap = trimap.unsqueeze(0) if trimap.ndim == 2 else trimap
    sizes = tuple(image.shape[1:3]), tuple(trimap.shape[1:3])
    if sizes[0] != sizes[1]:
        raise ValueError(unequal("image", sizes[0], "trimap", sizes[1], trimap))
    counts = image.shape[0], trimap.shape[0]
    if counts[0] != counts[1] and 1 not in counts:
        raise ValueError(f"{counts[0]} images and {counts[1]} trimaps; expected equal numbers, or one of either")
    return trimap, max(counts)
