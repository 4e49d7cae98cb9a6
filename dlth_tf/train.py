"""Trains and compares sparse networks: from flags to a table of results.

    python -m dlth_tf.train --flagfile=configs/quickstart.flags

Killed at any moment, the same command goes on where it stopped. Exit codes: 0 all is
done; 1 something failed; 2 wrong usage; 75 to be started again: stopped by SIGTERM, or
another worker has died.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment import hardware_flags
from dlth_tf.experiment.command_line import (
    FAILURE,
    USAGE,
    reject_arguments,
    say,
    start,
)
from dlth_tf.experiment.finished_run import FinishedRun
from dlth_tf.experiment.hardware import ONE_DEVICE, Hardware
from dlth_tf.experiment.layer_table import layer_tables
from dlth_tf.experiment.lock import InUse
from dlth_tf.experiment.plan import Run, Settings, describe, runs_of, stages_of
from dlth_tf.experiment.progress import Reporter
from dlth_tf.experiment.quiet import start_tensorflow_quietly
from dlth_tf.experiment.results import Results
from dlth_tf.experiment.stop_signals import Stopped, StopSignals
from dlth_tf.experiment.workbench import PlanBench, Workbench
from dlth_tf.storage.files import WriteFailed
from official.distribution.dead_workers import DeadWorker, naming_dead_workers
from official.modeling import networks

flags.adopt_module_key_flags(program_flags)
flags.adopt_module_key_flags(hardware_flags)

_BACKENDS = ("tensorflow", "jax")
_LOOK_AGAIN_SECONDS = 1.0


def main(argv: list[str]) -> int:
    reporter = Reporter()
    try:
        with StopSignals() as stop:
            reject_arguments(argv)
            _check_backend()
            settings = program_flags.settings()
            hardware = ONE_DEVICE if flags.FLAGS.dry_run else hardware_flags.hardware()
            stop.listen()
            workers = hardware.workers
            with naming_dead_workers(workers.hosts, workers.shard[0]):
                return _experiment(settings, reporter, stop, hardware)
    except DeadWorker as error:
        return say(error, os.EX_TEMPFAIL)
    except (ValueError, FileNotFoundError) as error:
        return say(error, USAGE)
    except (OSError, InUse) as error:
        return say(_with_advice(error), FAILURE)
    except Stopped as stopped:
        reporter.line(f"\nStopped by {stopped}. The same command goes on from here.")
        return stopped.exit_code


def _check_backend() -> None:
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in _BACKENDS:
        raise ValueError(
            f"KERAS_BACKEND must be {' or '.join(_BACKENDS)} for this program. Received: "
            f"{backend}. (The library, in a program of your own, runs on torch too.)"
        )


def _experiment(
    settings: Settings, reporter: Reporter, stop: StopSignals, hardware: Hardware
) -> int:
    output_dir = flags.FLAGS.output_dir
    if not hardware.workers.is_chief:
        reporter.silence()
    bench = (PlanBench if flags.FLAGS.dry_run else Workbench)(
        settings.task,
        output_dir,
        flags.FLAGS.data_dir,
        reporter,
        program_flags.checkpoint_every(),
        stop,
        hardware,
    )
    results = Results(output_dir)
    shard = program_flags.shard()
    runs = runs_of(settings) if shard is None else shard.of(runs_of(settings))
    results.check(settings)
    if flags.FLAGS.dry_run:
        print(describe(runs, bench))
        start_tensorflow_quietly()
        networks.check_exists(settings.task.network)
        print(layer_tables(runs, bench))
        return 0
    workers = hardware.workers
    done = workers.from_chief([workers.is_chief and results.is_done(r) for r in runs])
    left = [run for run, is_done in zip(runs, done, strict=True) if not is_done]
    if left:
        start_tensorflow_quietly()
        _check(settings, left, bench)
        if workers.is_chief:
            with results.in_use(shared=shard is not None):
                results.claim(settings)
                failure = _run_all(left, bench, results, reporter)
        else:
            failure = _run_all(left, bench, results, reporter)
        if failure:
            return failure
    if not workers.is_chief:
        return 0
    print(results.publish())
    reporter.line(f"Results: {output_dir}/results.jsonl, {output_dir}/table.md")
    shown = Path(output_dir, "report.html").exists()
    if flags.FLAGS.report and (left or not shown):
        _report(output_dir, reporter)
    return _export(runs, bench, results, reporter) if flags.FLAGS.export else 0


def _export(
    runs: list[Run], bench: Workbench, results: Results, reporter: Reporter
) -> int:
    """Exports each run that is not exported yet."""
    from dlth_tf.experiment.run_export import FOLDER, export_run

    start_tensorflow_quietly()
    for run in runs:
        folder = results.folder(run)
        if (folder / FOLDER).exists():
            continue
        try:
            export_run(FinishedRun.read(folder), folder / FOLDER, bench.data)
        except (RuntimeError, OSError) as error:
            return say(f"{run.name}: {error}", FAILURE)
        reporter.line(f"Exported: {folder / FOLDER}")
    return 0


def _report(output_dir: str, reporter: Reporter) -> None:
    """Writes the page; the results are safe already, whatever becomes of it."""
    from dlth_tf.reporting import write_report

    try:
        written = write_report(output_dir)
    except Exception as error:
        reporter.line(f"The report could not be written: {error!r}")
    else:
        reporter.line(f"Report: {written.page}")


def _check(settings: Settings, runs: list[Run], bench: Workbench) -> None:
    """Finds what is wrong with the settings before anything is trained."""
    networks.check_exists(settings.task.network)
    recipes = {
        "batch_size": settings.recipe,
        "transform_batch_size": settings.transformation,
    }
    for flag, recipe in recipes.items():
        bench.hardware.check_batch(flag, recipe.batch_size)
        bench.data.steps_per_epoch(recipe.batch_size)
    for stage in stages_of(runs):
        stage.check(bench)


def _run_all(
    runs: Sequence[Run], bench: Workbench, results: Results, reporter: Reporter
) -> int:
    """Makes all runs, those last that need a stage another program is at."""
    from dlth_tf.experiment.callbacks import TrainingFailed

    waiting = list(enumerate(runs, 1))
    told = ""
    while waiting:
        tried, waiting = waiting, []
        for number, run in tried:
            reporter.run(number, len(runs), run.name)
            try:
                bench.obtain(run.stage)
            except InUse as error:
                waiting.append((number, run))
                in_use = str(error)
                continue
            except (TrainingFailed, OSError) as error:
                return say(f"{run.name}: {_with_advice(error)}", FAILURE)
            result = results.finish(run, bench, program_flags.as_dict())
            reporter.line(f"    test accuracy {100 * result['test_accuracy']:.2f}%")
        if len(waiting) == len(tried):
            if in_use != told:
                reporter.line(f"Waiting: {in_use}")
            told = in_use
            time.sleep(_LOOK_AGAIN_SECONDS)
    return 0


def _with_advice(error: Exception) -> str:
    full = isinstance(error, WriteFailed)
    return f"{error}{' The same command goes on once there is room.' * full}"


def run() -> None:
    """The command's entry point."""
    start(main)


if __name__ == "__main__":
    run()
