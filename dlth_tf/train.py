"""Trains and compares sparse networks: from flags to a table of results.

    dlth-train --flagfile=quickstart.flags

Killed at any moment, the same command goes on where it stopped. Exit codes: 0 all is
done; 1 something failed; 2 wrong usage; 75 to be started again: stopped by SIGTERM, or
another worker has died.
"""

import contextlib
import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from dlth_tf import plugins
from dlth_tf.experiment import command_line, hardware
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.command_line import FAILURE, USAGE, say
from dlth_tf.experiment.engine.folder import REPORT, RESULTS, TABLE, ExperimentFolder
from dlth_tf.experiment.engine.lock import InUse
from dlth_tf.experiment.engine.progress import Reporter
from dlth_tf.experiment.engine.stop_signals import Stopped, StopSignals
from dlth_tf.experiment.help import called
from dlth_tf.experiment.plan.protocol import Interval
from dlth_tf.experiment.plan.runs import Experiment, Run, Shard, batch_sizes
from dlth_tf.experiment.results import claim
from dlth_tf.experiment.results.comparison import fitting
from dlth_tf.experiment.results.results import Results
from official.distribution.missing_workers import DeadWorker, naming_dead_workers

if TYPE_CHECKING:
    from dlth_tf.experiment.engine.context import Context

program_flags.register()
flags.adopt_module_key_flags(program_flags)
flags.adopt_module_key_flags(hardware)

FLAGS = flags.FLAGS
_BACKENDS = ("tensorflow", "jax")
_OTHER_BACKEND = (
    "KERAS_BACKEND must be tensorflow or jax for this program. Received: {}. (The "
    "library, in a program of your own, runs on torch too.)"
)
_NO_FLAGS = (
    "No flags were given. To begin with: {} --flagfile=quickstart.flags (five methods on "
    "real data, a few minutes). All flags: --help."
)


def main(argv: list[str]) -> int:
    with contextlib.closing(Reporter()) as reporter, StopSignals() as stop:
        return _ended(argv, reporter, stop)


def _ended(argv: list[str], reporter: Reporter, stop: StopSignals) -> int:
    """How the program ended, as an exit code; why, if not well, is said in a line."""
    try:
        command_line.reject_arguments(argv)
        backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
        if backend not in _BACKENDS:
            raise ValueError(_OTHER_BACKEND.format(backend))
        experiment = program_flags.experiment()
        used = hardware.ONE_DEVICE
        if not FLAGS.dry_run:
            used = hardware.parsed_hardware(batch_sizes(experiment.runs()))
        stop.listen()
        workers = used.workers
        with naming_dead_workers(workers.hosts, workers.shard[0]):
            return _Program(experiment, reporter, stop, used).run()
    except DeadWorker as error:
        return say(error, os.EX_TEMPFAIL)
    except (ValueError, FileNotFoundError) as error:
        return say(error, USAGE)
    except (OSError, InUse, ImportError) as error:
        return say(command_line.with_advice(error), FAILURE)
    except Stopped as stopped:
        reporter.line(f"\nStopped by {stopped}. The same command goes on from here.")
        return stopped.exit_code


@dataclasses.dataclass
class _Program:
    """The program, once its flags are known to make sense.

    TensorFlow, and all that needs it, is imported where something is left to be done.
    """

    experiment: Experiment
    reporter: Reporter
    stop: StopSignals
    hardware: hardware.Hardware

    def __post_init__(self) -> None:
        self.folder = ExperimentFolder(FLAGS.output_dir)
        self.results = Results(self.folder)
        self.shard = Shard.parse(FLAGS.shard) if FLAGS.shard else None
        self.checkpoint_every = Interval.parse(FLAGS.checkpoint_every)
        runs = self.experiment.runs()
        self.runs = self.shard.of(runs) if self.shard else runs

    def run(self) -> int:
        workers, reporter = self.hardware.workers, self.reporter
        if not workers.is_chief:
            reporter.silence()
        claim.check_free(self.folder.path, self.experiment)
        if FLAGS.dry_run:
            return self._show_plan()
        done = [workers.is_chief and self.results.is_done(run) for run in self.runs]
        pairs = zip(self.runs, workers.from_chief(done), strict=True)
        left = [run for run, is_done in pairs if not is_done]
        failure = self._make(left) if left else 0
        if failure or not workers.is_chief:
            return failure
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        command_line.show(fitting(self.results.publish(), columns))
        path = self.folder.path
        reporter.line(f"Results: {path / RESULTS}, {path / TABLE}")
        if FLAGS.report and (left or not (path / REPORT).exists()):
            self._report()
        exported = self._export() if FLAGS.export else 0
        return self._say_failures() or exported

    @functools.cached_property
    def context(self) -> "Context":
        command_line.start_tensorflow_quietly()
        from dlth_tf.experiment.engine.context import Context, PlanContext

        return (PlanContext if FLAGS.dry_run else Context)(
            self.experiment.protocol.task,
            self.folder,
            FLAGS.data_dir,
            self.reporter,
            self.checkpoint_every,
            self.stop,
            self.hardware,
            [plugins.named(text, "--callback") for text in FLAGS.callback],
        )

    def _show_plan(self) -> int:
        runs, context = self.runs, self.context
        from dlth_tf.experiment.results.dry_run import describe, layer_tables
        from dlth_tf.experiment.running import check_runs

        check_runs(runs, context)
        command_line.show(f"Recipe: {self.experiment.protocol.recipe.title}.")
        command_line.show(describe(runs, context))
        command_line.show(layer_tables(runs, context))
        return 0

    def _make(self, runs: Sequence[Run]) -> int:
        context, path = self.context, self.folder.path
        from dlth_tf.experiment.running import check_runs, make_runs, tell_of_bfloat16

        check_runs(runs, context)
        tell_of_bfloat16(runs, context)
        with contextlib.ExitStack() as held:
            if self.hardware.workers.is_chief:
                tell = self.reporter.line
                held.enter_context(claim.in_use(path, self.shard, tell))
                claim.claim(path, self.experiment)
            return make_runs(runs, context, self.results, program_flags.as_dict())

    def _export(self) -> int:
        context = self.context
        from dlth_tf.experiment.running import export_runs

        return export_runs(self.runs, context, self.results)

    def _report(self) -> None:
        """Writes the page; the results are safe already, whatever becomes of it."""
        try:
            from dlth_tf.reporting import write_report

            written = write_report(FLAGS.output_dir)
        except Exception as error:
            self.reporter.line(f"The report could not be written: {error!r}")
        else:
            self.reporter.line(f"Report: {written.page}")

    def _say_failures(self) -> int:
        told = {run.name: self.results.failure(run) for run in self.runs}
        failures = {name: failure for name, failure in told.items() if failure}
        for name, failure in failures.items():
            self.reporter.line(f"Failed: {name}: {failure}")
        if not failures:
            return 0
        return say(
            f"{len(failures)} of {len(self.runs)} runs failed. They would end alike: "
            "the same command tries one again only after its folder, named above, was "
            "removed.",
            FAILURE,
        )


def run() -> None:
    """The program, with the command line's flags."""
    if len(sys.argv) == 1:
        sys.exit(say(_NO_FLAGS.format(called()), USAGE))
    command_line.start(main, program_flags.HEADINGS)


if __name__ == "__main__":
    run()
