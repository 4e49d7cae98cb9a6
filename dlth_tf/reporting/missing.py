"""What an experiment was asked for and has not yet."""

import itertools

from dlth_tf.reporting.comparison import cell_key
from dlth_tf.reporting.reading import Begun, Experiment
from dlth_tf.reporting.records import RunRecord


def missing_seeds(experiment: Experiment) -> dict[str, list[int]]:
    """Seeds that are asked for and neither finished nor failed, by cell.

    What was asked for is what the experiment has noted, and what the commands behind the
    finished runs asked for: each all combinations of its methods, sparsities and seeds.
    """
    runs = experiment.runs
    ended = [*runs, *experiment.failed]
    there = {(cell_key(run.method, run.sparsity), run.seed) for run in ended}
    grids = [_grid(noted) for noted in experiment.asked] + [_asked(run) for run in runs]
    commands = {str(asked): asked for asked in grids if asked}
    wanted: dict[tuple[str, int], None] = {}
    for asked in commands.values():
        for method, sparsity, seed in itertools.product(*asked):
            wanted.setdefault((cell_key(method, sparsity), seed))
    missing: dict[str, list[int]] = {}
    for key, seed in wanted:
        if (key, seed) not in there:
            missing.setdefault(key, []).append(seed)
    return missing


def notices(experiment: Experiment) -> list[tuple[str, list[str]]]:
    """What failed, lacks, is in progress or unreadable: leads, each with its lines."""
    found = {
        "Runs that failed, and count in no mean": [
            f"{run.name}: {run.reason}" for run in experiment.failed
        ],
        "Runs that were asked for and are not finished": [
            f"{key}: seed {', '.join(map(str, sorted(seeds)))}"
            for key, seeds in missing_seeds(experiment).items()
        ],
        "Begun and not finished": [_how_far(begun) for begun in experiment.begun],
        "Could not be read and was passed over": experiment.skipped,
    }
    return [(lead, lines) for lead, lines in found.items() if lines]


def _how_far(begun: Begun) -> str:
    if begun.epochs is None:
        return begun.title
    return f"{begun.title} ({begun.epochs} epoch{'s' * (begun.epochs != 1)} done)"


Grid = tuple[list[str], list[float], list[int]]


def _asked(run: RunRecord) -> Grid:
    return _grid(run.flags) or ([run.method], [run.sparsity], [run.seed])


def _grid(flags: object) -> Grid | None:
    """Methods, sparsities and seeds by the flags' names; None if they are not there."""
    try:
        methods, sparsities, seeds = (
            list(flags[flag]) for flag in ("method", "sparsity", "seed")
        )
        methods = [str(method) for method in methods]
        return methods, [float(s) for s in sparsities], [int(s) for s in seeds]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
