"""How far two computations of the same function may be apart: bounds that follow from the arithmetic.

Tests do not ask for what one machine gave: which instructions a processor has, how many threads there are and which
library does a product decide in which order sums are taken, and with that the last bits. What holds for every order is

    |fl(sum of n products a b) - sum a b| <= gamma(n) sum |a b|,    gamma(n) = n u / (1 - n u)

(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), with u = 2^-24 in float32, n also counting
what is added afterwards. `products_bound` and `attention_bound` are that, entry by entry; a test that compares two
float32 results adds both sides' errors, `2 *`.

For a whole net such bounds, taken through all its layers, say nothing: each layer would take the worst of the one
before it. There `rounding_of` measures in float64 how far alpha moves when every output of every layer is off, with
random sign, by what the sum of n products p is off by if they are added one after another and each sum on the way
rounds by u at random: sqrt(n) u times the size of those sums, which lie between 0 and the whole one, give or take a
random walk of the products, |sum p| + sqrt(sum p^2). (Higham and Mary, SIAM J. Sci. Comput. 41, 2019, have the theory;
libraries add in blocks, which is better.) `ALPHA` is what is allowed between two results, each off by so much, and
`test_rounding` holds it against that for the nets that are used with it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from vitmatte.model.attention import RelativePositions

U = 2.0**-24  # of float32, rounding to nearest
U64 = 2.0**-53

# Of two alphas by float32, whatever the order of their sums: of the tests' nets and the bundled one, and of random nets
# of the published sizes, whose sums are longer.
ALPHA, ALPHA_LARGE = 2.0**-13, 2.0**-11
# The same of values that are no alphas (tokens, feature maps), as a share of the largest of them.
FEATURES = 2.0**-14


def features_bound(expected: Tensor) -> float:
    """Of two such results, the second of which is given."""
    return FEATURES * float(expected.abs().max())


def gamma(n: int) -> float:
    """Of sums of n products in float32."""
    return n * U / (1 - n * U)


def products_bound(layer: nn.Module, x: Tensor, extra: int = 0) -> Tensor:
    """Of a linear or convolutional layer's result, in its shape; `extra` further roundings come in between."""
    absolute = copy.deepcopy(layer).double()
    absolute._forward_hooks.clear()
    with torch.no_grad():
        for parameter in absolute.parameters():
            parameter.abs_()
        length = absolute.weight[0].numel() + 1
        return gamma(length + extra) * absolute(x.double().abs())


def attention_bound(queries: Tensor, keys: Tensor, values: Tensor, relative: RelativePositions | None) -> Tensor:
    """[G, M, d], of the result for queries that are all tokens of the grid.

    Scores s of d products (and two additions) are off by at most e = gamma(d + 3) times the sum of their products'
    magnitudes. exp(s - max) then is off by 2 e of itself besides its own rounding (4 u), their sum of N by gamma(N),
    and the mean of the values by gamma(N + 1) more: all relative to the mean of the values' magnitudes.
    """
    q, k, v = (x.double().abs() for x in (queries, keys, values))
    dim, tokens = q.shape[-1], k.shape[1]
    sizes = q @ k.transpose(1, 2) * dim**-0.5
    signed = queries.double() @ keys.double().transpose(1, 2) * dim**-0.5
    if relative is not None:
        doubled = RelativePositions(relative.rows.double(), relative.columns.double())
        sizes = sizes + RelativePositions(doubled.rows.abs(), doubled.columns.abs()).scores(q)
        signed = signed + doubled.scores(queries.double())
    off = gamma(dim + 3) * sizes.amax(dim=-1, keepdim=True)
    return (2 * off + 4 * U + gamma(tokens) + gamma(tokens + 1)) * (signed.softmax(dim=-1) @ v) * (1 + 1e-3)


def _disturb(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor, generator: torch.Generator) -> Tensor:
    """The output, off by what float32 makes of it at most, with random sign."""
    x, = given
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        squares = copy.deepcopy(layer)
        squares._forward_hooks.clear()
        for parameter in squares.parameters():
            parameter.square_()
        size = U * layer.weight[0].numel() ** 0.5 * (squares(x.square()).sqrt() + output.abs())
    elif isinstance(layer, nn.LayerNorm):
        # Of x - mean and the deviation: as far as x is larger than what is left of it.
        spread = x.var(dim=-1, unbiased=False, keepdim=True).add(layer.eps).sqrt()
        size = 4 * U * (layer.weight.abs() * (x.abs() + x.mean(-1, keepdim=True).abs()) / spread + output.abs())
    else:
        scale = (layer.weight / (layer.running_var + layer.eps).sqrt()).abs()
        size = 4 * U * ((x.abs() + layer.running_mean.abs().view(-1, 1, 1)) * scale.view(-1, 1, 1) + output.abs())
    return output + size * (torch.randint(0, 2, output.shape, generator=generator) * 2 - 1)


@torch.no_grad()
def rounding_of(net: nn.Module, read: Callable[[nn.Module], Iterable[Tensor]], runs: int = 3) -> float:
    """How far the tensors move that `read` gets of a net in float64, at most, in all places and `runs` draws.

    Each as a share of its largest value; of alphas, which reach nearly 1, that is nearly the move itself.
    """
    net = copy.deepcopy(net).double().eval()
    exact = list(read(net))
    generator = torch.Generator().manual_seed(0)
    hooks = [part.register_forward_hook(lambda *x: _disturb(*x, generator)) for part in net.modules()
             if isinstance(part, (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.BatchNorm2d))]
    moved = 0.0
    for _ in range(runs):
        for found, expected in zip(read(net), exact, strict=True):
            moved = max(moved, float((found - expected).abs().max() / expected.abs().max()))
    for hook in hooks:
        hook.remove()
    return moved
