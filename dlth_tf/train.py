"""Trains and compares sparse networks: from flags to a table of results.

    python -m dlth_tf.train --flagfile=configs/quickstart.flags

Killed at any moment, the same command goes on where it stopped. Exit codes: 0 all is
done; 1 something failed; 2 wrong usage; 75 to be started again: stopped by SIGTERM, or
another worker has died.
"""

import contextlib
import os
import sys
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
    show,
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
from dlth_tf.experiment.stages import StageFailed
from dlth_tf.experiment.stop_signals import Stopped, StopSignals
from dlth_tf.experiment.training_stages import FitStage
from dlth_tf.experiment.workbench import PlanBench, Workbench
from dlth_tf.files import WriteFailed
from official.distribution.dead_workers import DeadWorker, naming_dead_workers
from official.modeling import networks

program_flags.register()
flags.adopt_module_key_flags(program_flags)
flags.adopt_module_key_flags(hardware_flags)

_BACKENDS = ("tensorflow", "jax")
_LOOK_AGAIN_SECONDS = 1.0
_NO_FLAGS = (
    "No flags were given. To begin with: python -m dlth_tf.train "
    "--flagfile=configs/quickstart.flags. All flags: --help."
)


def main(argv: list[str]) -> int:
    with contextlib.closing(Reporter()) as reporter, StopSignals() as stop:
        return _ended(argv, reporter, stop)


def _ended(argv: list[str], reporter: Reporter, stop: StopSignals) -> int:
    """How the program ended, as an exit code; why, if not well, is said in a line."""
    try:
        reject_arguments(argv)
        _check_backend()
        settings = program_flags.settings()
        if flags.FLAGS.dry_run:
            hardware = ONE_DEVICE
        else:
            hardware = hardware_flags.hardware(_batch_sizes(runs_of(settings)))
        stop.listen()
        workers = hardware.workers
        with naming_dead_workers(workers.hosts, workers.shard[0]):
            return _experiment(settings, reporter, stop, hardware)
    except DeadWorker as error:
        return say(error, os.EX_TEMPFAIL)
    except (ValueError, FileNotFoundError) as error:
        return say(error, USAGE)
    except (OSError, InUse, ImportError) as error:
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
        start_tensorflow_quietly()
        _check(settings, runs, bench)
        show(describe(runs, bench))
        show(layer_tables(runs, bench))
        return 0
    workers = hardware.workers
    done = workers.from_chief([workers.is_chief and results.is_done(r) for r in runs])
    left = [run for run, is_done in zip(runs, done, strict=True) if not is_done]
    if left:
        start_tensorflow_quietly()
        _check(settings, left, bench)
        if workers.is_chief:
            with results.in_use(shard, reporter.line):
                results.claim(settings)
                failure = _run_all(left, bench, results, reporter)
        else:
            failure = _run_all(left, bench, results, reporter)
        if failure:
            return failure
    if not workers.is_chief:
        return 0
    show(results.publish())
    reporter.line(f"Results: {output_dir}/results.jsonl, {output_dir}/table.md")
    shown = Path(output_dir, "report.html").exists()
    if flags.FLAGS.report and (left or not shown):
        _report(output_dir, reporter)
    exported = _export(runs, bench, results, reporter) if flags.FLAGS.export else 0
    return _say_failures(runs, results, reporter) or exported


def _say_failures(runs: Sequence[Run], results: Results, reporter: Reporter) -> int:
    failures = {run.name: said for run in runs if (said := results.failure(run))}
    for name, failure in failures.items():
        reporter.line(f"Failed: {name}: {failure}")
    if not failures:
        return 0
    return say(
        f"{len(failures)} of {len(runs)} runs failed. They would end alike: the same "
        "command tries one again only after its folder, named above, was removed.",
        FAILURE,
    )


def _export(
    runs: list[Run], bench: Workbench, results: Results, reporter: Reporter
) -> int:
    """Exports each run that is not exported yet, less those that failed."""
    from dlth_tf.experiment.run_export import FOLDER, export_run

    start_tensorflow_quietly()
    for run in runs:
        folder = results.folder(run)
        if (folder / FOLDER).exists() or results.failure(run):
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
    for flag, size in _batch_sizes(runs).items():
        if not 1 <= size <= bench.data.train_size:
            raise ValueError(
                f"--{flag} must be from 1 to the {bench.data.train_size} training images "
                f"of {settings.task.dataset!r}. Received: {size}"
            )
    for stage in stages_of(runs):
        stage.check(bench)


def _batch_sizes(runs: Sequence[Run]) -> dict[str, int]:
    """The batch sizes of the trainings that runs need, by flag."""
    trainings = (stage for stage in stages_of(runs) if isinstance(stage, FitStage))
    return {stage.batch_flag: stage.recipe.batch_size for stage in trainings}


def _run_all(
    runs: Sequence[Run], bench: Workbench, results: Results, reporter: Reporter
) -> int:
    """Makes all runs, those last that need a stage another program is at."""
    waiting = list(enumerate(runs, 1))
    told = ""
    while waiting:
        tried, waiting = waiting, []
        for number, run in tried:
            reporter.run(number, len(runs), run.name)
            flags_given = program_flags.as_dict()
            try:
                bench.obtain(run.stage)
                result = results.finish(run, bench, flags_given)
            except InUse as error:
                waiting.append((number, run))
                in_use = str(error)
                continue
            except StageFailed as failure:
                results.fail(run, bench, flags_given, failure)
                reporter.line(f"    {failure}")
            except OSError as error:
                return say(f"{run.name}: {_with_advice(error)}", FAILURE)
            else:
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
    if len(sys.argv) == 1:
        sys.exit(say(_NO_FLAGS, USAGE))
    start(main)


if __name__ == "__main__":
    run()
