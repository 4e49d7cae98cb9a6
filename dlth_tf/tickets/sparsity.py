"""Where the sparsity goes: from what a user says to how much each kernel loses."""

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from numbers import Real

Shapes = Mapping[str, tuple[int, ...]]
"""Names of the maskable kernels and their shapes, in the order of the model."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """Kernels whose weights compete for what may stay.

    Attributes:
        names: the kernels; one alone in most distributions.
        sparsity: fraction of their weights that is removed, in [0, 1). A `Fraction`
            where it stands for a whole number of weights.
    """

    names: tuple[str, ...]
    sparsity: float | Fraction


class Distribution(abc.ABC):
    """Base of what says how a network's sparsity is shared out among its kernels."""

    @abc.abstractmethod
    def pools(self, shapes: Shapes) -> list[Pool]:
        """Shares the sparsity out: each kernel is in one pool.

        Raises:
            ValueError: the distribution does not fit these kernels.
        """


Sparsity = float | Mapping[str, float] | Distribution
"""One number for every kernel, numbers by name pattern, or a distribution."""


def name_patterns(sparsity: Sparsity) -> tuple[str, ...]:
    """The patterns by which a sparsity names kernels: what is masked only on request.

    The catch-all `"*"` requests nothing.

    Example:

    >>> name_patterns({"*embedding": 0.5, "*": 0.9})
    ('*embedding',)
    """
    patterns = sparsity if isinstance(sparsity, Mapping) else ()
    if isinstance(sparsity, OverallSparsity):
        patterns = sparsity.layers
    return tuple(pattern for pattern in patterns if pattern != "*")


def sparsity_pools(shapes: Shapes, sparsity: Sparsity) -> list[Pool]:
    """Resolves a sparsity for given kernels.

    Args:
        shapes: the maskable kernels.
        sparsity: a number in [0, 1) for all of them; or a mapping from shell-style name
            patterns to numbers, where the first pattern that matches a name counts and
            kernels that none matches stay dense; or a distribution.

    Raises:
        ValueError: a number outside [0, 1), a pattern that matches no kernel, or a
            distribution that does not fit the kernels.

    Example:

    >>> sparsity_pools({"stem": (3, 8), "head": (8, 10)}, {"stem": 0.9})
    [Pool(names=('stem',), sparsity=0.9), Pool(names=('head',), sparsity=0.0)]
    """
    if isinstance(sparsity, Distribution):
        return sparsity.pools(shapes)
    by_pattern = sparsity if isinstance(sparsity, Mapping) else {"*": sparsity}
    for pattern, value in by_pattern.items():
        check_sparsity(value, "" if pattern == "*" else f" for '{pattern}'")
    matching(shapes, by_pattern)
    return [
        Pool(
            (name,), next((s for p, s in by_pattern.items() if fnmatchcase(name, p)), 0.0)
        )
        for name in shapes
    ]


def sparsity_per_kernel(
    shapes: Shapes, sparsity: Sparsity
) -> dict[str, float | Fraction]:
    """Resolves a sparsity to a number for each kernel; arguments as `sparsity_pools`.

    Raises:
        ValueError: as `sparsity_pools`, or kernels compete, so that how much each of
            them loses depends on scores.

    Example:

    >>> shapes = {"stem": (3, 8), "stage1_conv": (8, 8), "head": (8, 10)}
    >>> sparsity_per_kernel(shapes, {"stage*": 0.9})
    {'stem': 0.0, 'stage1_conv': 0.9, 'head': 0.0}
    """
    found = {}
    for pool in sparsity_pools(shapes, sparsity):
        if len(pool.names) > 1:
            raise ValueError(
                "`sparsity` must give each kernel a number of its own here. Received: "
                f"{sparsity}, in which kernels compete"
            )
        found[pool.names[0]] = pool.sparsity
    return {name: found[name] for name in shapes}


@dataclasses.dataclass(frozen=True)
class OverallSparsity(Distribution):
    """Base of the distributions of one overall sparsity.

    Attributes:
        sparsity: fraction of the weights of the chosen layers that is removed.
        layers: shell-style name patterns of the kernels that are chosen; the others
            stay dense.
    """

    sparsity: float
    layers: Sequence[str] = ("*",)

    def __post_init__(self):
        check_sparsity(self.sparsity)
        if isinstance(self.layers, str) or not self.layers:
            raise ValueError(
                "`layers` must be a sequence of one or more name patterns, such as "
                f"('stage*',). Received: {self.layers!r}"
            )
        object.__setattr__(self, "layers", tuple(self.layers))

    def pools(self, shapes):
        chosen = matching(shapes, self.layers)
        dense = [Pool((name,), 0.0) for name in shapes if name not in chosen]
        return self._shared_out(chosen) + dense

    @abc.abstractmethod
    def _shared_out(self, chosen: Shapes) -> list[Pool]:
        """The pools of the chosen kernels."""


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

    def _shared_out(self, chosen):
        return [Pool((name,), self.sparsity) for name in chosen]


@dataclasses.dataclass(frozen=True)
class Global(OverallSparsity):
    """One threshold over all chosen layers: their weights compete with one another.

    Of their n weights in k kernels min(ceil(sparsity * n), n - k) are removed, those of
    the lowest scores, except that the highest score of each kernel stays: no kernel
    loses all its weights. A random ticket draws from all of the weights at once; a
    kernel that would lose all gets one back, at the cost of another kernel.

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

    def _shared_out(self, chosen):
        return [Pool(tuple(chosen), self.sparsity)]


def check_sparsity(value: float, where: str = "") -> None:
    """Refuses what is no number in [0, 1); `where` ends the message.

    Raises:
        ValueError: the value is something else.
    """
    if not isinstance(value, Real) or not 0.0 <= value < 1.0:
        raise ValueError(f"`sparsity` must be in [0, 1). Received: {value}{where}")


def matching(shapes: Shapes, patterns: Iterable[str]) -> Shapes:
    """The kernels whose name one of the patterns matches.

    Raises:
        ValueError: a pattern matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in shapes):
            raise ValueError(
                f"The layer pattern '{pattern}' matches no kernel. "
                f"Kernels: {', '.join(shapes)}"
            )
    return {
        name: shape
        for name, shape in shapes.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
