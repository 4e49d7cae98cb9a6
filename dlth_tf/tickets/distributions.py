"""How a network's sparsity is shared out among its layers."""

import dataclasses
import math
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from dlth_tf.tickets.masks import removed_count
from dlth_tf.tickets.sparsity import (
    Distribution,
    OverallSparsity,
    Pool,
    Shapes,
    check_sparsity,
)

_STAGE = re.compile(r"stage_?(\d+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclasses.dataclass(frozen=True)
class Uniform(OverallSparsity):
    """The same sparsity in every chosen layer, as a plain number means it.

    Args:
        sparsity: fraction of each layer's weights that is removed, in [0, 1).
        layers: name patterns of the kernels that are chosen; the others stay dense.

    Raises:
        ValueError: `sparsity` is outside [0, 1), or there is no pattern.

    Example:

    >>> ticket = dlth.random_ticket(model, dlth.Uniform(0.9, layers=("stage*",)), seed=0)
    """

    def _shared_out(self, chosen: Shapes) -> list[Pool]:
        return [Pool((name,), self.sparsity) for name in chosen]


@dataclasses.dataclass(frozen=True)
class Global(OverallSparsity):
    """One threshold over all chosen layers: their weights compete with one another.

    Of their n weights in k kernels min(ceil(sparsity * n), n - k) are removed, those of
    the lowest scores, except that the highest score of each kernel stays: no kernel
    loses all its weights. A random ticket draws from all of the weights at once; a
    kernel that would lose all gets one back, at the cost of another kernel.

    Where whole filters go, the channels of all groups of coupled layers compete in the
    same way, and no group loses all of its channels: the network stays as deep as it is.

    Args:
        sparsity: fraction of the layers' weights taken together that is removed.
        layers: name patterns of the kernels that are chosen; the others stay dense.

    Raises:
        ValueError: `sparsity` is outside [0, 1), or there is no pattern.

    Example: magnitude pruning with one threshold for the whole network.

    >>> ticket = dlth.magnitude_ticket(model, dlth.Global(0.9))

    Source: Blalock et al., "What is the State of Neural Network Pruning?", MLSys 2020,
    section 2.2.
    """

    def _shared_out(self, chosen: Shapes) -> list[Pool]:
        return [Pool(tuple(chosen), self.sparsity)]


@dataclasses.dataclass(frozen=True)
class ErdosRenyi(OverallSparsity):
    """Density of a layer in proportion to (n_in + n_out) / (n_in * n_out).

    A layer that would have to keep more than it has becomes dense, and the others keep
    more by one factor, so that over all chosen layers the number removed is exact,
    min(ceil(sparsity * n), n - k) of n weights in k kernels. Each kernel keeps at least
    one weight, and none of them more at a higher sparsity.

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

    def _shared_out(self, chosen: Shapes) -> list[Pool]:
        sizes = [math.prod(shape) for shape in chosen.values()]
        keep = sum(sizes) - removed_count(sum(sizes), self.sparsity, len(sizes))
        shares = [self._share(shape) for shape in chosen.values()]
        kept = apportioned(keep, shares, sizes)
        return [
            Pool((name,), Fraction(size - count, size))
            for name, size, count in zip(chosen, sizes, kept, strict=True)
        ]

    def _share(self, shape: tuple[int, ...]) -> int:
        """What the number of weights that a kernel keeps is proportional to."""
        *window, n_in, n_out = (1, *shape)  # A vector has one input.
        return math.prod(window) * (n_in + n_out)


@dataclasses.dataclass(frozen=True)
class ErdosRenyiKernel(ErdosRenyi):
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

    def _share(self, shape: tuple[int, ...]) -> int:
        return sum(shape)


@dataclasses.dataclass(frozen=True)
class PerLayer(Distribution):
    """Sparsities by the number of a layer, for networks that are one chain of layers.

    Args:
        ratios: `"0-4:0.5,5:0.6"` removes half of the weights of the layers 0 to 4, both
            included, and 0.6 of those of layer 5. Kernels count from 0, in the order of
            `dlth_tf.maskable_kernels`: a recurrent layer counts twice, an embedding not
            at all. What is not named stays dense.

    Raises:
        ValueError: a text of another form, a sparsity outside [0, 1), or a layer that is
            named twice; later on, a model without such a layer.

    Example:

    >>> ticket = dlth.random_ticket(model, dlth.PerLayer("0-3:0.5,4:0.6"), seed=0)

    Source: Bai et al., ICLR 2022, appendix (VGG and MLP).
    """

    ratios: str

    def __post_init__(self) -> None:
        self._by_layer()

    def pools(self, shapes: Shapes) -> list[Pool]:
        by_layer = self._by_layer()
        if max(by_layer) >= len(shapes):
            raise ValueError(
                f"'{self.ratios}' names layer {max(by_layer)}. The model's layers are 0 "
                f"to {len(shapes) - 1}: {', '.join(shapes)}"
            )
        return [
            Pool((name,), by_layer.get(place, 0.0)) for place, name in enumerate(shapes)
        ]

    def _by_layer(self) -> dict[int, float]:
        by_layer: dict[int, float] = {}
        for part in self.ratios.split(","):
            layers, _, number = part.partition(":")
            found = _RANGE.fullmatch(layers.strip())
            try:
                value = float(number)
            except ValueError:
                found = None
            if not found:
                raise ValueError(
                    "Ratios per layer must look like '0-4:0.5,5:0.6'. "
                    f"Received: {self.ratios!r}"
                )
            first, last = int(found[1]), int(found[2] or found[1])
            check_sparsity(value, f" for layer {layers.strip()}")
            if last < first or not by_layer.keys().isdisjoint(range(first, last + 1)):
                raise ValueError(
                    "Ratios per layer must name each layer once, the first of a range "
                    f"before the last. Received: {self.ratios!r}"
                )
            by_layer.update(dict.fromkeys(range(first, last + 1), value))
        return by_layer


@dataclasses.dataclass(frozen=True)
class PerStage(Distribution):
    """Sparsities of a residual network's first layers, its stages, and its classifier.

    The stage of a kernel is the number in its name ("stage2_block0_conv1"). What comes
    before the first stage is the stem, what comes after the last one the classifier.

    Args:
        ratios: stem, each stage, classifier. The paper's setting for a network of three
            stages is (0, s, s, s, 0).

    Raises:
        ValueError: a sparsity outside [0, 1); later on, a model with another number of
            stages, or one whose kernels' names have none.

    Example:

    >>> ticket = dlth.random_ticket(model, dlth.PerStage([0, 0.9, 0.9, 0.9, 0]), 0)

    Source: Bai et al., ICLR 2022, section 4.1.
    """

    ratios: Sequence[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        for value in self.ratios:
            check_sparsity(value, f" in {list(self.ratios)}")

    def pools(self, shapes: Shapes) -> list[Pool]:
        stages = _stages(list(shapes))
        groups = list(dict.fromkeys(stages))
        if len(groups) != len(self.ratios):
            raise ValueError(
                f"Ratios per stage must be {len(groups)} for this model "
                f"({', '.join(groups)}). Received: {list(self.ratios)}"
            )
        by_group = dict(zip(groups, self.ratios, strict=True))
        return [
            Pool((name,), by_group[stage])
            for name, stage in zip(shapes, stages, strict=True)
        ]


def apportioned(total: int, shares: ArrayLike, limits: ArrayLike) -> list[int]:
    """Whole numbers in proportion to shares, from 1 up to limits, with an exact sum.

    By Webster's method, in which a larger total never gives anyone less.
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


def _stages(names: Sequence[str]) -> list[str]:
    """What each kernel belongs to: the stem, a stage, or the classifier."""
    found = [_STAGE.search(name) for name in names]
    if not any(found):
        raise ValueError(
            "Ratios per stage need kernels with names such as 'stage1_conv'. "
            f"Received: a model with {', '.join(names)}"
        )
    stages = ["stem"]
    for stage in found:
        # One between stages, such as one that only changes the width, is of the earlier.
        stages.append(f"stage{int(stage[1])}" if stage else stages[-1])
    after = next(place for place, stage in enumerate(reversed(found)) if stage)
    return stages[1 : len(stages) - after] + ["classifier"] * after
