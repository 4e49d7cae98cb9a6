"""From what a user says of sparsity to how much each kernel loses."""

import abc
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from fractions import Fraction
from numbers import Integral, Real

Shapes = Mapping[str, tuple[int, ...]]
"""Names of the maskable kernels and their shapes, in the order of the model."""


@dataclasses.dataclass(frozen=True)
class Pool:
    """Kernels whose weights compete for what may stay; most distributions: one."""

    names: tuple[str, ...]
    sparsity: float | Fraction


class Distribution(abc.ABC):
    """Base of what says how a network's sparsity is shared out among its kernels."""

    @abc.abstractmethod
    def pools(self, shapes: Shapes) -> list[Pool]:
        """Shares the sparsity out: each kernel is in one pool."""


Sparsity = float | Mapping[str, float] | Distribution
"""One number for every kernel, numbers by name pattern, or a distribution."""


def name_patterns(sparsity: Sparsity) -> tuple[str, ...]:
    """The patterns by which a sparsity names kernels; `"*"` names none."""
    patterns: Iterable[str] = sparsity if isinstance(sparsity, Mapping) else ()
    if isinstance(sparsity, OverallSparsity):
        patterns = sparsity.layers
    return tuple(pattern for pattern in patterns if pattern != "*")


def sparsity_pools(shapes: Shapes, sparsity: Sparsity) -> list[Pool]:
    """Resolves a sparsity for given kernels: the first pattern that matches counts."""
    if isinstance(sparsity, Distribution):
        return sparsity.pools(shapes)
    by_pattern = sparsity if isinstance(sparsity, Mapping) else {"*": sparsity}
    for pattern, value in by_pattern.items():
        check_sparsity(value, "" if pattern == "*" else f" for '{pattern}'")
    first = first_matches(shapes, by_pattern)
    return [
        Pool((name,), by_pattern[first[name]] if name in first else 0.0)
        for name in shapes
    ]


def sparsity_per_kernel(
    shapes: Shapes, sparsity: Sparsity
) -> dict[str, float | Fraction]:
    """Resolves a sparsity to a number for each kernel; refuses one where they compete."""
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
    """Base of the distributions of one sparsity of the layers chosen by name pattern."""

    sparsity: float
    layers: Sequence[str] = ("*",)

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        if isinstance(self.layers, str) or not self.layers:
            raise ValueError(
                "`layers` must be a sequence of one or more name patterns, such as "
                f"('stage*',). Received: {self.layers!r}"
            )
        object.__setattr__(self, "layers", tuple(self.layers))

    def pools(self, shapes: Shapes) -> list[Pool]:
        chosen = {name: shapes[name] for name in first_matches(shapes, self.layers)}
        dense = [Pool((name,), 0.0) for name in shapes if name not in chosen]
        return self._shared_out(chosen) + dense

    @abc.abstractmethod
    def _shared_out(self, chosen: Shapes) -> list[Pool]:
        """The pools of the chosen kernels."""


def check_sparsity(value: float | Fraction, where: str = "") -> None:
    """Refuses what is no number in [0, 1); `where` ends the message."""
    if not isinstance(value, Real) or not 0.0 <= value < 1.0:
        raise ValueError(f"`sparsity` must be in [0, 1). Received: {value}{where}")


def first_matches(kernels: Iterable[str], patterns: Iterable[str]) -> dict[str, str]:
    """The first pattern that matches a kernel's name, of those that one matches."""
    first: dict[str, str] = {}
    for pattern in patterns:
        matched = [name for name in kernels if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"The layer pattern '{pattern}' matches no kernel. "
                f"Kernels: {', '.join(kernels)}"
            )
        first = dict.fromkeys(matched, pattern) | first
    return {name: first[name] for name in kernels if name in first}


def n_of_m(unit: str) -> tuple[int, int] | None:
    """N and M of a unit such as `"2:4"`; None for `"weight"` and `"filter"`."""
    if unit in ("weight", "filter"):
        return None
    found = re.fullmatch(r"(\d+):(\d+)", unit)
    if not found:
        raise ValueError(
            f"`unit` must be 'weight', 'filter' or N:M such as '2:4'. Received: {unit!r}"
        )
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise ValueError(f"`unit` N:M must have 1 <= N < M. Received: {n}:{m}")
    return n, m


def check_filters(unit: str, round_to: int, importance: str = "filter") -> None:
    """Refuses what is said of whole filters and makes no sense, or of another unit."""
    if not isinstance(round_to, Integral) or round_to < 1:
        raise ValueError(
            f"`round_to` must be a whole number of 1 or more. Received: {round_to}"
        )
    if importance not in ("filter", "group"):
        raise ValueError(
            f"`importance` must be 'filter' or 'group'. Received: {importance!r}"
        )
    if unit != "filter" and (round_to > 1 or importance != "filter"):
        said = f"round_to={round_to}" if round_to > 1 else f"importance='{importance}'"
        raise ValueError(
            "`round_to` and `importance` are for unit 'filter'. Received: "
            f"{said} with unit '{unit}'"
        )
