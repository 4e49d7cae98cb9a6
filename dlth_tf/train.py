"""Trains and compares sparse networks: from flags to a table of results.

    python -m dlth_tf.train --flagfile=configs/quickstart.flags

Killed at any moment, the same command goes on where it stopped.
"""

import sys

from absl import app, flags, logging

from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.plan import Run, Settings, describe, runs_of
from dlth_tf.experiment.progress import Reporter
from dlth_tf.experiment.quiet import start_tensorflow_quietly
from dlth_tf.experiment.results import Results
from dlth_tf.experiment.workbench import Workbench

_USAGE, _FAILURE, _INTERRUPTED = 2, 1, 130

flags.adopt_module_key_flags(program_flags)


def main(argv: list[str]) -> int:
    reporter = Reporter()
    try:
        if len(argv) > 1:
            raise ValueError(f"Flags begin with --. Received: {' '.join(argv[1:])}")
        settings = program_flags.settings()
        return _experiment(settings, reporter)
    except (ValueError, FileNotFoundError) as error:
        return _say(error, _USAGE)
    except KeyboardInterrupt:
        reporter.line("\nStopped. The same command goes on from the last epoch.")
        return _INTERRUPTED


def _experiment(settings: Settings, reporter: Reporter) -> int:
    output_dir = flags.FLAGS.output_dir
    bench = Workbench(settings.task, output_dir, flags.FLAGS.data_dir, reporter)
    results = Results(output_dir)
    runs = runs_of(settings)
    results.check(settings)
    left = [run for run in runs if not results.is_done(run)]
    if left or flags.FLAGS.dry_run:
        start_tensorflow_quietly()
    if flags.FLAGS.dry_run:
        print(describe(runs, bench))
        return 0
    if left:
        _check(settings, bench)
        results.claim(settings)
        failure = _run_all(left, bench, results, reporter)
        if failure:
            return failure
    print(results.publish())
    reporter.line(f"Results: {output_dir}/results.jsonl, {output_dir}/table.md")
    return 0


def _check(settings: Settings, bench: Workbench) -> None:
    """Finds what is wrong with the settings before anything is trained."""
    model = bench.build_network(seed=0)
    bench.sparsity_by_kernel(model, max(settings.sparsities), settings.placement)
    for recipe in (settings.recipe, settings.transformation):
        bench.data.steps_per_epoch(recipe.batch_size)


def _run_all(
    runs: list[Run], bench: Workbench, results: Results, reporter: Reporter
) -> int:
    from dlth_tf.experiment.callbacks import TrainingFailed

    for number, run in enumerate(runs, 1):
        reporter.run(number, len(runs), run.name)
        try:
            bench.obtain(run.stage)
        except (TrainingFailed, OSError) as error:
            return _say(f"{run.name}: {error}", _FAILURE)
        result = results.finish(run, bench, program_flags.as_dict())
        reporter.line(f"    test accuracy {100 * result['test_accuracy']:.2f}%")
    return 0


def _say(error: object, code: int) -> int:
    print(f"Error: {error}", file=sys.stderr)
    return code


def _parse_flags(argv: list[str]) -> list[str]:
    """Like absl's own, but usage errors exit with 2, and asking for help is none."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(_say(error, _USAGE))
    except SystemExit:
        sys.exit(0)


def run() -> None:
    """The command's entry point."""
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    run()
