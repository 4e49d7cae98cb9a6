"""The comparison that the runs of an experiment add up to."""

import dataclasses
import functools
import math
import re
import statistics
from collections.abc import Iterable

from scipy.stats import ttest_ind_from_stats

from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, cell_name, written
from dlth_tf.reporting.records import RunRecord


@dataclasses.dataclass(frozen=True)
class Cell:
    """The runs of one method at one sparsity, one for each seed."""

    method: str
    sparsity: float
    runs: tuple[RunRecord, ...]

    @property
    def key(self) -> str:
        """A name for it, fit for files and anchors."""
        return cell_key(self.method, self.sparsity)

    @property
    def title(self) -> str:
        if self.method in WITHOUT_SPARSITY:
            return self.method
        return f"{self.method} at sparsity {written(self.sparsity)}"

    @functools.cached_property
    def percents(self) -> list[float]:
        """Test accuracy of each seed, in percent."""
        return [100 * run.accuracy for run in self.runs]

    @property
    def mean(self) -> float:
        return statistics.mean(self.percents)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds, in points; None for one seed."""
        return statistics.stdev(self.percents) if len(self.runs) > 1 else None

    @property
    def accuracy(self) -> str:
        """As it is written: mean ± spread."""
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        return f"{self.mean:.2f}{spread}"

    @property
    def cost(self) -> float | None:
        """Mean cost of its runs, relative to dense; None if none is known."""
        costs = [run.cost for run in self.runs if run.cost is not None]
        return statistics.mean(costs) if costs else None

    @property
    def weights_left(self) -> float | None:
        """Mean over its runs; None if it is not known."""
        known = [r.weights_left for r in self.runs if r.weights_left is not None]
        return statistics.mean(known) if known else None

    @property
    def sampling_error(self) -> float:
        """Standard error, in points, that the number of test images leaves in each run.

        0.0 if that number is not known.
        """
        images = self.runs[0].test_images
        share = min(max(self.mean / 100, 0.0), 1.0)
        return 100 * math.sqrt(share * (1 - share) / images) if images else 0.0

    def close_to(self, other: "Cell") -> bool:
        """Whether two means could as well stand the other way round.

        So it is if Welch's t-test over the seeds can't tell the two apart, or if they
        differ by less than the standard error of a difference measured on so many test
        images. One seed has no spread to test.
        """
        samples = [
            (c.mean, math.nan if c.spread is None else c.spread, len(c.runs))
            for c in (self, other)
        ]
        test = ttest_ind_from_stats(*samples[0], *samples[1], equal_var=False)
        errors = math.hypot(self.sampling_error, other.sampling_error)
        return bool(test.pvalue > 0.05) or abs(self.mean - other.mean) <= errors


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All cells of an experiment, dense and the methods that have a sparsity apart."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, runs: Iterable[RunRecord]) -> "Comparison":
        grouped: dict[tuple[float, str], list[RunRecord]] = {}
        for run in sorted(runs, key=_place):
            grouped.setdefault((run.sparsity, run.method), []).append(run)
        return cls(
            tuple(Cell(method, s, tuple(runs)) for (s, method), runs in grouped.items())
        )

    @property
    def methods(self) -> list[str]:
        """In the order of the program's list; ones it does not know come last."""
        return sorted({cell.method for cell in self.cells}, key=method_place)

    @property
    def sparsities(self) -> list[float]:
        return sorted({cell.sparsity for cell in self.sparse})

    @property
    def dense(self) -> Cell | None:
        return next((c for c in self.cells if c.method in WITHOUT_SPARSITY), None)

    @property
    def sparse(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.method not in WITHOUT_SPARSITY]

    def at(self, sparsity: float) -> list[Cell]:
        """The cells of one sparsity, in the order of the methods."""
        return [cell for cell in self.sparse if cell.sparsity == sparsity]

    def of_method(self, method: str) -> list[Cell]:
        """The cells of one method, by sparsity."""
        return [cell for cell in self.cells if cell.method == method]

    def best(self, sparsity: float) -> Cell | None:
        """The highest mean at a sparsity, if there are others to compare it with."""
        cells = self.at(sparsity)
        return max(cells, key=lambda cell: cell.mean) if len(cells) > 1 else None

    def verdict(self, sparsity: float) -> str:
        """What the comparison at one sparsity can claim; nothing of a single method."""
        best = self.best(sparsity)
        if best is None:
            return ""
        others = [cell for cell in self.at(sparsity) if cell is not best]
        close = [cell.method for cell in others if cell.close_to(best)]
        lead = f"At sparsity {written(sparsity)} the highest mean is {best.method}'s"
        if len(close) == len(others):
            return f"{lead}, and none of the others is clearly below it."
        if close:
            return f"{lead}; as good, as far as can be told: {', '.join(close)}."
        return f"{lead}, clearly above the others."

    def weights_left(self, sparsity: float) -> str:
        """The share of weights left at a sparsity, if all methods leave the same."""
        left = {f"{c.weights_left:.1%}" for c in self.at(sparsity) if c.weights_left}
        return left.pop() if len(left) == 1 else ""

    def range(self) -> tuple[float, float]:
        """Accuracies in percent between which all means, spreads and seeds lie."""
        low, high = [], []
        for cell in self.cells:
            low += [cell.mean - (cell.spread or 0.0), *cell.percents]
            high += [cell.mean + (cell.spread or 0.0), *cell.percents]
        return min(low, default=0.0), max(high, default=100.0)


def cell_key(method: str, sparsity: float) -> str:
    """A name for a method at a sparsity, fit for files and anchors."""
    return re.sub(r"[^\w.-]+", "-", cell_name(method, sparsity))


def method_place(method: str) -> tuple[int, str]:
    """Where a method stands in every list."""
    known = list(METHODS)
    return (known.index(method) if method in known else len(known), method)


def _place(run: RunRecord) -> tuple:
    return run.sparsity, method_place(run.method), run.seed
