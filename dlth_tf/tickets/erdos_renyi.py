"""Erdős–Rényi: small layers lose less, as in a sparse random graph."""

import abc
import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from dlth_tf.tickets.masks import removed_count
from dlth_tf.tickets.sparsity import OverallSparsity, Pool


@dataclasses.dataclass(frozen=True)
class _Proportional(OverallSparsity):
    """Base of the distributions in which layers keep weights in proportion to something.

    A layer that would have to keep more than it has becomes dense, and the others keep
    more by one factor, so that over all chosen layers the number removed is exact,
    min(ceil(sparsity * n), n - k) of n weights in k kernels. Each kernel keeps at least
    one weight, and none of them more at a higher sparsity.
    """

    def _shared_out(self, chosen):
        sizes = [math.prod(shape) for shape in chosen.values()]
        keep = sum(sizes) - removed_count(sum(sizes), self.sparsity, len(sizes))
        shares = [self._share(shape) for shape in chosen.values()]
        return [
            Pool((name,), Fraction(size - kept, size))
            for name, size, kept in zip(
                chosen, sizes, apportioned(keep, shares, sizes), strict=True
            )
        ]

    @abc.abstractmethod
    def _share(self, shape: tuple[int, ...]) -> float:
        """What the number of weights that a kernel keeps is proportional to."""


@dataclasses.dataclass(frozen=True)
class ErdosRenyi(_Proportional):
    """Density of a layer in proportion to (n_in + n_out) / (n_in * n_out).

    Args:
        sparsity: fraction of the chosen layers' weights taken together that is removed.
        layers: name patterns of the kernels that are chosen; the others stay dense.

    Raises:
        ValueError: `sparsity` is outside [0, 1), or there is no pattern.

    Example:

    >>> ticket = dlth.random_ticket(model, dlth.ErdosRenyi(0.9), seed=0)

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity", Nature Communications 2018; for convolutions as in Evci et al.,
    "Rigging the Lottery", ICML 2020, section 3.
    """

    def _share(self, shape):
        *window, n_in, n_out = (1, *shape)  # A vector has one input.
        return math.prod(window) * (n_in + n_out)


@dataclasses.dataclass(frozen=True)
class ErdosRenyiKernel(_Proportional):
    """Density in proportion to (n_in + n_out + kh + kw) / (n_in * n_out * kh * kw).

    That is the sum of a kernel's dimensions over their product; for dense layers it is
    `ErdosRenyi`.

    Args:
        sparsity: fraction of the chosen layers' weights taken together that is removed.
        layers: name patterns of the kernels that are chosen; the others stay dense.

    Raises:
        ValueError: `sparsity` is outside [0, 1), or there is no pattern.

    Example:

    >>> erk = dlth.ErdosRenyiKernel(0.95, layers=("stage*",))
    >>> ticket = dlth.random_ticket(model, erk, seed=0)

    Source: Evci et al., "Rigging the Lottery", ICML 2020, section 3.
    """

    def _share(self, shape):
        return sum(shape)


def apportioned(total: int, shares: Sequence[float], limits: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to shares, from 1 up to limits, with an exact sum.

    Shares are scaled by one factor and rounded to nearest (Webster's method, in which a
    larger total never gives anyone less); the factor is the one that makes the sum
    right, ties at it going to the first.

    Args:
        total: the sum, from `len(limits)` to `sum(limits)`.

    Example:

    >>> apportioned(10, shares=[1, 1, 2], limits=[2, 9, 9])
    [2, 3, 5]
    """
    shares, limits = np.asarray(shares, np.float64), np.asarray(limits)

    def rounded(factor: float) -> np.ndarray:
        return np.clip(np.floor(factor * shares + 0.5), 1, limits).astype(np.int64)

    low, high = 0.0, float(np.max(limits / shares)) + 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if rounded(middle).sum() <= total:
            low = middle
        else:
            high = middle
    parts = rounded(low)
    tied = np.flatnonzero(rounded(high) > parts)
    parts[tied[: total - parts.sum()]] += 1
    return parts.tolist()
