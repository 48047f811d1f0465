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

from .blocks import BLOCK, MARGIN

EPSILON = 1e-6
AREA = 9  # pixels of a window
# (rows, columns) from a pixel to its neighbours behind it in reading order
OFFSETS = ((0, 1), (0, 2), *((row, column) for row in (1, 2) for column in (-2, -1, 0, 1, 2)))
CORNERS = [(row, column) for row in range(3) for column in range(3)]  # of a window's pixels, in reading order
SIDE = BLOCK + 2  # of the centres of all windows that hold a pixel of the block


def stencil(colours: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """The matting Laplacian's entries for m blocks.

    Args:
        colours: [m, BLOCK + 4, BLOCK + 4, 3], of the blocks and of two pixels around.
        whole: [m, BLOCK + 2, BLOCK + 2], bool: around which pixels a window lies whole in the picture; others count
            for nothing.

    Returns:
        (weights [12, m, BLOCK + 2, BLOCK + 4], diagonal [m, BLOCK, BLOCK]). weights[k] at a pixel is its entry with the
        neighbour that lies OFFSETS[k] from it; its first pixel is two rows above and two columns left of the block's.
    """
    scaled = _whitened(colours.permute(3, 0, 1, 2))
    counts = whole.to(colours.dtype).div_(AREA)
    side = BLOCK + 2 * MARGIN
    weights = colours.new_zeros(len(OFFSETS), len(colours), side, side)
    diagonal = colours.new_zeros(len(colours), side, side)
    for i, first in enumerate(CORNERS):
        rows, columns = slice(first[0], first[0] + SIDE), slice(first[1], first[1] + SIDE)
        for j, second in enumerate(CORNERS[i:], i):
            product = scaled[i][0] * scaled[j][0]
            product.addcmul_(scaled[i][1], scaled[j][1]).addcmul_(scaled[i][2], scaled[j][2])
            if i == j:  # 1 - (1 + y.y) / 9
                diagonal[:, rows, columns] += product.neg_().add_(AREA - 1).mul_(counts)
            else:
                offset = OFFSETS.index((second[0] - first[0], second[1] - first[1]))
                weights[offset, :, rows, columns] -= product.add_(1).mul_(counts)
    own = slice(MARGIN, MARGIN + BLOCK)
    return weights[:, :, :BLOCK + MARGIN].contiguous(), diagonal[:, own, own].contiguous()


def _whitened(colours: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """y of the nine pixels of each window, three planes [m, SIDE, SIDE] each; colours [3, m, BLOCK + 4, BLOCK + 4]."""
    shifted = [colours[..., row:row + SIDE, column:column + SIDE] for row, column in CORNERS]
    mean = torch.stack(shifted).mean(dim=0)
    centred = [plane - mean for plane in shifted]

    def covariance(i: int, j: int) -> Tensor:
        total = centred[0][i] * centred[0][j]
        for plane in centred[1:]:
            total.addcmul_(plane[i], plane[j])
        return (total + EPSILON if i == j else total).div_(AREA)

    first = covariance(0, 0).sqrt_()
    second_first, third_first = covariance(1, 0).div_(first), covariance(2, 0).div_(first)
    second = (covariance(1, 1) - second_first.square()).clamp_min_(EPSILON / AREA).sqrt_()
    third_second = (covariance(2, 1) - third_first * second_first).div_(second)
    third = (covariance(2, 2) - third_first.square() - third_second.square()).clamp_min_(EPSILON / AREA).sqrt_()
    found = []
    for plane in centred:
        y = plane[0] / first
        z = (plane[1] - second_first * y).div_(second)
        found.append((y, z, (plane[2] - third_first * y).sub_(third_second * z).div_(third)))
    return found


def apply(weights: Tensor, diagonal: Tensor, plane: Tensor) -> Tensor:
    """The product [m, BLOCK, BLOCK] of the matrix with a plane [m, BLOCK + 4, BLOCK + 4]."""
    own = slice(MARGIN, MARGIN + BLOCK)
    total = diagonal * plane[:, own, own]
    for (row, column), weight in zip(OFFSETS, weights, strict=True):
        after = slice(MARGIN + row, MARGIN + row + BLOCK), slice(MARGIN + column, MARGIN + column + BLOCK)
        before = slice(MARGIN - row, MARGIN - row + BLOCK), slice(MARGIN - column, MARGIN - column + BLOCK)
        total.addcmul_(weight[:, own, own], plane[:, after[0], after[1]])
        total.addcmul_(weight[:, before[0], before[1]], plane[:, before[0], before[1]])
    return total
