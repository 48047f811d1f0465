"""The matting Laplacian of blocks of pixels, as a stencil.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting", IEEE TPAMI 30(2), 2008,
equation 12, for windows of 3x3 pixels. With c_i the colour of pixel i less the window's mean, and S the covariance of
the window's nine colours, a window adds to the entry of its pixels i and j

    delta_ij - (1 + c_i' (S + epsilon / 9)^-1 c_j) / 9.

With the Cholesky factor C C' = S + epsilon / 9 and y_i = C^-1 c_i the product is y_i . y_j: the matrix stays symmetric
and without negative eigenvalues also in float32, where an inverse by determinants would lose all digits.

No sparse matrix is made. Pixels that share a window are at most two apart, so that a pixel has 12 neighbours behind it
in reading order, and the same 12 before it: twelve planes hold all entries off the diagonal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .blocks import BLOCK, MARGIN, OWN

EPSILON = 1e-6
AREA = 9  # pixels of a window
# (rows, columns) from a pixel to its neighbours behind it in reading order
OFFSETS = ((0, 1), (0, 2), *((row, column) for row in (1, 2) for column in (-2, -1, 0, 1, 2)))
CORNERS = [(row, column) for row in range(3) for column in range(3)]  # of a window's pixels, in reading order
SIDE = BLOCK + 2  # of the centres of all windows that hold a pixel of the block


def stencil(colours: Tensor, whole: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The matting Laplacian's entries for m blocks.

    Args:
        colours: [3, BLOCK + 4, BLOCK + 4, m], of the blocks and of two pixels around. They are whitened in their own
            dtype, in which a window of one colour must show a variance of epsilon.
        whole: [BLOCK + 2, BLOCK + 2, m], bool: around which pixels a window lies whole in the picture; others count
            for nothing.
        dtype: of the entries, and of the products that are summed to them.

    Returns:
        (weights [12, BLOCK + 2, BLOCK + 4, m], diagonal [BLOCK, BLOCK, m]). weights[k] at a pixel is its entry with the
        neighbour that lies OFFSETS[k] from it; its first pixel is two rows above and two columns left of the block's.
    """
    scaled, counts = [tuple(plane.to(dtype) for plane in y) for y in _whitened(colours)], whole.to(dtype)
    if not bool(whole.all()):
        for plane in scaled:
            for values in plane:
                values.mul_(counts)
    weights = counts.new_zeros(len(OFFSETS), *colours.shape[1:])
    diagonal = counts.new_zeros(colours.shape[1:])
    for i, first in enumerate(CORNERS):
        rows, columns = slice(first[0], first[0] + SIDE), slice(first[1], first[1] + SIDE)
        for j, second in enumerate(CORNERS[i:], i):
            product = torch.addcmul(counts, scaled[i][0], scaled[j][0])  # 1 + y.y, or 0
            product.addcmul_(scaled[i][1], scaled[j][1]).addcmul_(scaled[i][2], scaled[j][2])
            if i == j:  # 1 - (1 + y.y) / 9
                diagonal[rows, columns] += product.sub_(counts, alpha=AREA)
            else:
                offset = OFFSETS.index((second[0] - first[0], second[1] - first[1]))
                weights[offset, rows, columns] += product
    weights.div_(-AREA)
    diagonal.div_(-AREA)
    return weights[:, :BLOCK + MARGIN].contiguous(), diagonal[OWN, OWN].contiguous()


def _whitened(colours: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """y of the nine pixels of each window, three planes [SIDE, SIDE, m] each; colours [3, BLOCK + 4, BLOCK + 4, m]."""
    shifted = [colours[:, row:row + SIDE, column:column + SIDE] for row, column in CORNERS]
    mean = shifted[0] + shifted[1]
    for plane in shifted[2:]:
        mean += plane
    mean.div_(AREA)
    centred = [plane - mean for plane in shifted]

    def covariance(i: int, j: int) -> Tensor:
        total = centred[0][i] * centred[0][j]
        for plane in centred[1:]:
            total.addcmul_(plane[i], plane[j])
        return (total + EPSILON if i == j else total).div_(AREA)

    def inverse_root(square: Tensor) -> Tensor:
        return square.clamp_min_(EPSILON / AREA).rsqrt_()

    first = inverse_root(covariance(0, 0))  # the factor's diagonal is kept inverted
    second_first, third_first = covariance(1, 0).mul_(first), covariance(2, 0).mul_(first)
    second = inverse_root(covariance(1, 1) - second_first.square())
    third_second = covariance(2, 1).addcmul_(third_first, second_first, value=-1).mul_(second)
    third = inverse_root(covariance(2, 2) - third_first.square() - third_second.square())
    found = []
    for plane in centred:
        y = plane[0] * first
        z = torch.addcmul(plane[1], second_first, y, value=-1).mul_(second)
        x = torch.addcmul(plane[2], third_first, y, value=-1).addcmul_(third_second, z, value=-1).mul_(third)
        found.append((y, z, x))
    return found


def between(weights: Tensor, where: Tensor) -> None:
    """Sets the entries of a stencil to 0 whose two pixels are not both in `where` [BLOCK + 4, BLOCK + 4, m], which is 1
    or 0."""
    side = BLOCK + 2 * MARGIN
    for (row, column), weight in zip(OFFSETS, weights, strict=True):
        columns = slice(max(0, -column), side - max(0, column))  # of those with a neighbour; others are never asked for
        beside = slice(columns.start + column, columns.stop + column)
        weight[:, columns] *= where[:BLOCK + MARGIN, columns] * where[row:BLOCK + MARGIN + row, beside]


def terms(weights: Tensor, plane: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The pairs (entries, values), views [BLOCK, BLOCK, m] of both, whose 24 products are all that the matrix's entries
    off the diagonal make of a plane [BLOCK + 4, BLOCK + 4, m]."""
    found = []
    for (row, column), weight in zip(OFFSETS, weights, strict=True):
        after = slice(MARGIN + row, MARGIN + row + BLOCK), slice(MARGIN + column, MARGIN + column + BLOCK)
        before = slice(MARGIN - row, MARGIN - row + BLOCK), slice(MARGIN - column, MARGIN - column + BLOCK)
        found += [(weight[OWN, OWN], plane[after]), (weight[before], plane[before])]
    return found


def apply(weights: Tensor, diagonal: Tensor, plane: Tensor) -> Tensor:
    """The product [BLOCK, BLOCK, m] of the matrix with a plane [BLOCK + 4, BLOCK + 4, m]."""
    total = diagonal * plane[OWN, OWN]
    for entries, values in terms(weights, plane):
        total.addcmul_(entries, values)
    return total
