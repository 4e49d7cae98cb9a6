"""What an experiment was asked for and has not yet."""

import itertools
from collections.abc import Sequence

from dlth_tf.reporting.comparison import cell_key
from dlth_tf.reporting.reading import Begun
from dlth_tf.reporting.records import RunRecord


def missing_seeds(runs: Sequence[RunRecord]) -> dict[str, list[int]]:
    """Seeds that are asked for and not finished, by cell.

    What was asked for is what the commands behind the finished runs did, each for every
    combination of its methods, sparsities and seeds.
    """
    there = {(cell_key(run.method, run.sparsity), run.seed) for run in runs}
    commands = {str(asked): asked for asked in map(_asked, runs)}
    wanted: dict[tuple[str, int], None] = {}
    for asked in commands.values():
        for method, sparsity, seed in itertools.product(*asked):
            wanted.setdefault((cell_key(method, sparsity), seed))
    missing: dict[str, list[int]] = {}
    for key, seed in wanted:
        if (key, seed) not in there:
            missing.setdefault(key, []).append(seed)
    return missing


def missing_lines(runs: Sequence[RunRecord]) -> list[str]:
    """What is missing, a line for each cell."""
    return [
        f"{key}: seed {', '.join(map(str, sorted(seeds)))}"
        for key, seeds in missing_seeds(runs).items()
    ]


def begun_line(begun: Begun) -> str:
    """A stage in progress, and how far it is."""
    if begun.epochs is None:
        return begun.title
    return f"{begun.title} ({begun.epochs} epoch{'s' * (begun.epochs != 1)} done)"


def _asked(run: RunRecord) -> tuple[list[str], list[float], list[int]]:
    try:
        methods, sparsities, seeds = (
            list(run.flags[flag]) for flag in ("method", "sparsity", "seed")
        )
        methods = [str(method) for method in methods]
        return methods, [float(s) for s in sparsities], [int(s) for s in seeds]
    except (KeyError, TypeError, ValueError, OverflowError):
        return [run.method], [run.sparsity], [run.seed]
