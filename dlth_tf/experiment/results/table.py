"""The table of results."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import mean, stdev

from dlth_tf.experiment.plan.methods import METHODS, written
from dlth_tf.experiment.results.row import Row

_HEAD = (
    "method",
    "sparsity",
    "test accuracy %",
    "weights left",
    "FLOPs left",
    "images seen",
    "train FLOPs",
    "seeds",
)


def table(results: Iterable[Row]) -> str:
    """Accuracy, size and cost, by method and sparsity, as Markdown.

    All numbers are means over seeds, accuracy with the sample standard deviation. Weights
    left counts the kernels; FLOPs left is for one image, zeros skipped. Images seen and
    FLOPs of the training are relative to training the dense network once; there, too,
    the steps of a fixed ticket skip its zeros, while pretraining and transformation are
    dense. A run that failed has a row of its own, and counts in no mean.
    """
    cells: dict[tuple, list[Row]] = defaultdict(list)
    for result in results:
        cells[result.sparsity, result.method].append(result)
    order = list(METHODS)
    rows = []
    for sparsity, method in sorted(cells, key=lambda c: (c[0], order.index(c[1]))):
        runs = cells[sparsity, method]
        finished = [run for run in runs if run.failed is None]
        rows += [_row(sparsity, method, finished)] if finished else []
        rows += [_failed_row(run) for run in runs if run.failed is not None]
    return aligned([_HEAD, *rows])


def _row(sparsity: float, method: str, runs: Sequence[Row]) -> tuple[str, ...]:
    accuracies = [100 * run.test_accuracy for run in runs]
    accuracy = f"{mean(accuracies):.2f}"
    if len(runs) > 1:
        accuracy += f" ± {stdev(accuracies):.2f}"
    dense = runs[0].dense_multiply_adds or math.nan
    return (
        method,
        written(sparsity),
        accuracy,
        f"{100 * _mean(run.weights_left for run in runs):.1f}%",
        f"{100 * _mean(run.multiply_adds_left for run in runs) / dense:.1f}%",
        f"{_mean(run.train_cost for run in runs):.2f}x",
        f"{_mean(run.train_flops_cost for run in runs):.2f}x",
        str(len(runs)),
    )


def _mean(values: Iterable[float | None]) -> float:
    return mean(math.nan if value is None else value for value in values)


def _failed_row(run: Row) -> tuple[str, ...]:
    unknown = ("-",) * (len(_HEAD) - 4)
    return (
        run.method,
        written(run.sparsity),
        str(run.failed),
        *unknown,
        f"seed {run.seed}",
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row being its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
