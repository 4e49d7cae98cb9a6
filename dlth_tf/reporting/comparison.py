"""The comparison that the runs of an experiment add up to."""

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Iterable

from scipy.stats import ttest_ind_from_stats

from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, written
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting.records import cell_key


@dataclasses.dataclass(frozen=True)
class Cell:
    """The runs of one method at one sparsity, one for each seed; all in percent."""

    method: str
    sparsity: float
    runs: tuple[Row, ...]

    @property
    def key(self) -> str:
        return cell_key(self.method, self.sparsity)

    @property
    def title(self) -> str:
        if self.method in WITHOUT_SPARSITY:
            return self.method
        return f"{self.method} at sparsity {written(self.sparsity)}"

    @functools.cached_property
    def percents(self) -> list[float]:
        """Test accuracy of each seed."""
        return [100 * run.test_accuracy for run in self.runs]

    @property
    def mean(self) -> float:
        return statistics.mean(self.percents)

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; NaN for one seed."""
        return statistics.stdev(self.percents) if len(self.runs) > 1 else math.nan

    @property
    def reach(self) -> tuple[float, float]:
        """One spread below the mean, and one above."""
        spread = self.spread if len(self.runs) > 1 else 0.0
        return self.mean - spread, self.mean + spread

    @property
    def accuracy(self) -> str:
        """As it is written: mean ± spread."""
        spread = f" ± {self.spread:.2f}" if len(self.runs) > 1 else ""
        return f"{self.mean:.2f}{spread}"

    @property
    def cost(self) -> float | None:
        """Mean cost of its runs in images seen, relative to dense."""
        return _mean(run.train_cost for run in self.runs)

    @property
    def weights_left(self) -> float | None:
        return _mean(run.weights_left for run in self.runs)

    @property
    def sampling_error(self) -> float:
        """Standard error that the number of test images leaves in each run, or 0.0."""
        images = self.runs[0].test_images
        share = min(max(self.mean / 100, 0.0), 1.0)
        return 100 * math.sqrt(share * (1 - share) / images) if images else 0.0

    def close_to(self, other: "Cell") -> bool:
        """Whether two means could as well stand the other way round.

        So it is if Welch's t-test over the seeds can't tell the two apart, or if they
        differ by less than the standard error of a difference measured on so many test
        images. One seed has no spread to test.
        """
        a, b = ((cell.mean, cell.spread, len(cell.runs)) for cell in (self, other))
        test = ttest_ind_from_stats(*a, *b, equal_var=False)
        errors = math.hypot(self.sampling_error, other.sampling_error)
        return bool(test.pvalue > 0.05) or abs(self.mean - other.mean) <= errors


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All cells of an experiment, dense and the methods that have a sparsity apart."""

    cells: tuple[Cell, ...]

    @classmethod
    def of(cls, runs: Iterable[Row]) -> "Comparison":
        ordered = sorted(runs, key=lambda r: (r.sparsity, method_place(r.method), r.seed))
        grouped = itertools.groupby(ordered, lambda run: (run.method, run.sparsity))
        return cls(tuple(Cell(*cell, tuple(runs)) for cell, runs in grouped))

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

    def close(self, sparsity: float) -> list[Cell]:
        """The cells that the best at a sparsity can't be told from."""
        best = self.best(sparsity)
        others = [cell for cell in self.at(sparsity) if cell is not best]
        return [cell for cell in others if best and cell.close_to(best)]

    def weights_left(self, sparsity: float) -> str:
        """The share of weights left at a sparsity, if all methods leave the same."""
        left = {f"{c.weights_left:.1%}" for c in self.at(sparsity) if c.weights_left}
        return left.pop() if len(left) == 1 else ""

    def range(self) -> tuple[float, float]:
        """Accuracies between which all means, spreads and seeds lie."""
        reached = [v for cell in self.cells for v in (*cell.reach, *cell.percents)]
        return min(reached, default=0.0), max(reached, default=100.0)


def method_place(method: str) -> tuple[int, str]:
    """Where a method stands in every list."""
    known = list(METHODS)
    return (known.index(method) if method in known else len(known), method)


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
