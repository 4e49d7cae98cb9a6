"""One network's training, in parts, as an experiment's flags describe the whole.

For what is no method of the program: its settings, networks, tickets and batches are the
program's own, and no stage is kept. Results are lines of a file, which the same command
goes on with.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

import dlth_tf as dlth
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.command_line import show, start_tensorflow_quietly
from dlth_tf.experiment.engine.context import Context, evaluate
from dlth_tf.experiment.engine.folder import ExperimentFolder
from dlth_tf.experiment.engine.progress import Reporter
from dlth_tf.experiment.plan.protocol import Interval
from dlth_tf.experiment.plan.runs import Experiment
from dlth_tf.network.variables import get_weights, set_weights
from official.data.feed import feed
from official.data.image_data import Batch
from official.training.losses import cross_entropy

FLAGS = program_flags.FLAGS

Record = dict[str, Any]


def described() -> tuple[Experiment, Context]:
    """What the program's flags ask for, and what it is computed with."""
    start_tensorflow_quietly()
    experiment = program_flags.experiment()
    folder, never = ExperimentFolder(FLAGS.output_dir), Interval()
    task = experiment.protocol.task
    return experiment, Context(task, folder, FLAGS.data_dir, Reporter(), never)


def make(
    file: Path, runs: list[Record], measured: Callable[[Record], Record]
) -> list[Record]:
    """Adds a line for each run that the file has none of; returns all of the file's.

    A run is what its line begins with, and `measured` says how it goes on.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    for run in json.loads(json.dumps(runs)):
        if not any(run.items() <= line.items() for line in _read(file)):
            began = time.monotonic()
            found = measured(run)
            seconds = round(time.monotonic() - began)
            line = json.dumps({**run, **found, "seconds": seconds})
            show(line)
            with file.open("a") as lines:
                lines.write(f"{line}\n")
    return _read(file)


def _read(file: Path) -> list[Record]:
    return [json.loads(line) for line in file.read_text().splitlines()]


class ShortTraining:
    """A network that is trained part by part, and the images it has seen so far.

    The next batch is the one that so many images lead to, in the order of a seed. `seen`
    counts images that go through the network for whatever purpose: add those to it that
    no `fit` has seen.
    """

    def __init__(self, context: Context, weights_seed: int, batches_seed: int):
        keras.backend.clear_session()
        self._context, self._seed, self.seen = context, batches_seed, 0
        policy = keras.config.dtype_policy()
        if context.task.mixed_precision:
            keras.config.set_dtype_policy(f"mixed_{context.task.mixed_precision}")
        self.model = context.build_network(weights_seed)
        keras.config.set_dtype_policy(policy)

    def batches(self, batch_size: int, count: int) -> Iterator[Batch]:
        """The batches that come next, so many."""
        first = self.seen // batch_size
        data = self._context.data
        batches = data.train_batches(batch_size, seed=self._seed, first_step=first)
        return itertools.islice(batches, count)

    def fit(
        self,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        steps: int,
        callbacks: list[dlth.StepCallback],
    ) -> float:
        """Trains for so many steps; returns the mean loss."""
        loss = cross_entropy()
        self.model.compile(optimizer, loss, jit_compile=False)
        first = self.seen // batch_size
        self.seen += batch_size * steps
        fed = feed(self._context.data, batch_size, seed=self._seed, first_step=first)
        history = self.model.fit(
            fed, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks
        )
        return float(history.history["loss"][-1])

    def accuracy(self, split: str) -> float:
        """In percent, measured in float32 as the program does."""
        network = self._context.build_network(0)
        set_weights(network, get_weights(self.model))
        return 100 * evaluate(network, self._context.data, split).accuracy
