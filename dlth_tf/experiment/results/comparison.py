"""The comparison that the runs of an experiment add up to, and the table of it."""

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Sequence

from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, cell_name, written
from dlth_tf.experiment.results.row import Row

_HEAD = (
    *("method", "sparsity", "test accuracy %", "weights left", "FLOPs left"),
    *("images seen", "train FLOPs", "seeds"),
)


class Cell:
    """The runs of one method at one sparsity, one for each seed; all in percent.

    `spread` is the sample standard deviation over seeds, NaN for one seed, `reach` goes
    from one spread below the mean to one above, `cost` is that in images seen.
    """

    def __init__(self, method: str, sparsity: float, runs: Sequence[Row]):
        self.method, self.sparsity, self.runs = method, sparsity, runs
        self.key = cell_key(method, sparsity)
        at = f" at sparsity {written(sparsity)}" * (method not in WITHOUT_SPARSITY)
        self.title = f"{method}{at}"
        self.percents = [100 * run.test_accuracy for run in runs]
        self.mean = statistics.mean(self.percents)
        self.reach, self.spread = (self.mean, self.mean), math.nan
        self.accuracy = f"{self.mean:.2f}"
        if len(runs) > 1:
            self.spread = statistics.stdev(self.percents)
            self.reach = self.mean - self.spread, self.mean + self.spread
            self.accuracy += f" ± {self.spread:.2f}"
        self.cost = self.average("train_cost")

    def average(self, number: str) -> float | None:
        """The mean of what its runs' records say of a number, if they do."""
        values = [getattr(run, number) for run in self.runs]
        known = [value for value in values if value is not None]
        return statistics.mean(known) if known else None

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
        from scipy.stats import ttest_ind_from_stats  # It takes its time, unlike a table.

        a, b = ((cell.mean, cell.spread, len(cell.runs)) for cell in (self, other))
        test = ttest_ind_from_stats(*a, *b, equal_var=False)
        errors = math.hypot(self.sampling_error, other.sampling_error)
        return bool(test.pvalue > 0.05) or abs(self.mean - other.mean) <= errors


class Comparison:
    """All cells of an experiment, dense and the methods that have a sparsity apart."""

    def __init__(self, runs: Iterable[Row]):
        ordered = sorted(runs, key=lambda r: (r.sparsity, method_place(r.method), r.seed))
        grouped = itertools.groupby(ordered, lambda run: (run.method, run.sparsity))
        self.cells = [Cell(*cell, tuple(runs)) for cell, runs in grouped]
        self.sparse = [c for c in self.cells if c.method not in WITHOUT_SPARSITY]
        self.dense = next((c for c in self.cells if c not in self.sparse), None)
        self.methods = sorted({cell.method for cell in self.cells}, key=method_place)
        self.sparsities = sorted({cell.sparsity for cell in self.sparse})

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
        shares = [cell.average("weights_left") for cell in self.at(sparsity)]
        left = {f"{share:.1%}" for share in shares if share}
        return left.pop() if len(left) == 1 else ""


def reached(cells: Iterable[Cell]) -> tuple[float, float]:
    """Accuracies between which all means, spreads and seeds lie."""
    values = [value for cell in cells for value in (*cell.reach, *cell.percents)]
    return min(values, default=0.0), max(values, default=100.0)


def method_place(method: str) -> tuple[int, str]:
    """Where a method stands in every list; ones that are not known come last."""
    known = list(METHODS)
    return (known.index(method) if method in known else len(known), method)


def cell_key(method: str, sparsity: float) -> str:
    """A name for a method at a sparsity, fit for files and anchors."""
    return re.sub(r"[^\w.-]+", "-", cell_name(method, sparsity))


def table(rows: Iterable[Row]) -> str:
    """Accuracy, size and cost, by method and sparsity, as Markdown.

    All numbers are means over seeds, accuracy with the sample standard deviation. Weights
    left counts the kernels; FLOPs left is for one image, zeros skipped. Images seen and
    train FLOPs are relative to training the dense network once; the steps of a fixed
    ticket skip its zeros, pretraining and transformation are dense. A run that failed has
    a row of its own, and counts in no mean.
    """
    rows = list(rows)
    finished = Comparison(row for row in rows if row.failed is None).cells
    lines = [(cell.sparsity, cell.method, _numbers(cell)) for cell in finished]
    for row in rows:
        if row.failed is not None:
            numbers = [row.failed, *"----", f"seed {row.seed}"]
            lines.append((row.sparsity, row.method, numbers))
    lines.sort(key=lambda line: (line[0], method_place(line[1])))
    return aligned([_HEAD, *((m, written(s), *numbers) for s, m, numbers in lines)])


def _numbers(cell: Cell) -> list[str]:
    def average(number: str) -> float:
        known = cell.average(number)
        return math.nan if known is None else known

    dense = average("dense_multiply_adds") or math.nan
    return [
        cell.accuracy,
        f"{100 * average('weights_left'):.1f}%",
        f"{100 * average('multiply_adds_left') / dense:.1f}%",
        f"{average('train_cost'):.2f}x",
        f"{average('train_flops_cost'):.2f}x",
        str(len(cell.runs)),
    ]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row being its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [map(str.ljust, row, widths) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def fitting(table: str, columns: int | None) -> str:
    """A Markdown table; without its frame, its head on two lines, if that is too wide."""
    lines = table.splitlines()
    if columns is None or len(lines[0]) <= columns:
        return table
    del lines[1]
    cells = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    heads = [title.rpartition(" ")[::2] for title in cells[0]]
    cells = [*map(list, zip(*heads, strict=True)), *cells[1:]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
