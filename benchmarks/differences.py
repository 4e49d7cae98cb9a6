"""Differences of accuracies, in points, with the interval that their seeds leave."""

import dataclasses
import math
import statistics
from collections.abc import Mapping

from scipy import stats

BySeed = Mapping[int, float]
"""Accuracies in percent by seed."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean difference, and its 95% interval where more than one seed tells of it.

    `values` are the pairs' differences, in the order of their seeds; none if what is
    compared comes in no pairs.
    """

    mean: float
    values: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan

    @property
    def interval(self) -> str:
        if math.isnan(self.low):
            return "one seed"
        return f"{self.low:+.2f} to {self.high:+.2f}"

    @property
    def pairs(self) -> str:
        return ", ".join(f"{value:+.2f}" for value in self.values) or "no pairs"


def paired(ones: BySeed, others: BySeed) -> Difference | None:
    """Of what began from the same weights, and saw the same batches, seed by seed."""
    values = tuple(ones[seed] - others[seed] for seed in sorted(ones.keys() & others))
    if len(values) < 2:
        return Difference(values[0], values) if values else None
    found = stats.ttest_1samp(values, 0.0).confidence_interval()
    return Difference(statistics.mean(values), values, found.low, found.high)


def unpaired(ones: BySeed, others: BySeed) -> Difference | None:
    """Of what shares nothing, by Welch's interval."""
    if not ones or not others:
        return None
    samples = list(ones.values()), list(others.values())
    mean = statistics.mean(samples[0]) - statistics.mean(samples[1])
    if min(map(len, samples)) < 2:
        return Difference(mean)
    found = stats.ttest_ind(*samples, equal_var=False).confidence_interval()
    return Difference(mean, (), found.low, found.high)
