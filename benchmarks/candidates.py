"""Random tickets that never change: which training beats scratch for as many images?

    python -m benchmarks.candidates --flagfile=configs/candidates.flags \
        --data_dir=~/data --candidate=scratch,dense_1 --sparsity=0.98 --seed=100

ResNet-20 by the reduced protocol of `configs/evidence.flags`, measured on training images
that it does not train on: the test images are not touched. A ticket is drawn before the
first step. Images that go through the network, for whatever purpose, are taken from the
training, whose rates change at the same parts of what is left: every candidate sees as
many as scratch. Whatever is no transformation (initial scale, small batches, no L2) is a
candidate with scratch, too. With `--epochs=25 --learning_rate=0:0.1,13:0.01,20:0.001` all
see as many images as rst does in that protocol.

Every run is a line of `candidates.jsonl` in `--output_dir`; the same command goes on. At
the end a table of differences to scratch from the same weights, ticket and batches.
"""

import dataclasses
import fnmatch
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from absl import flags
from keras import ops
from keras.optimizers import schedules

import dlth_tf as dlth
from benchmarks import short_training
from benchmarks.candidate_list import CANDIDATES, Candidate, Part, settings
from benchmarks.evidence import of_names
from benchmarks.removal import remove, statistics_anew
from benchmarks.short_training import Record, ShortTraining
from dlth_tf.experiment import command_line
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.plan.protocol import Protocol
from dlth_tf.step.update import Update
from official.common import choose
from official.training.optimizers import SGD

short_training.program_flags.register()
FLAGS = flags.FLAGS
flags.DEFINE_list("candidate", list(CANDIDATES), "What to try, separated by commas.")


@command_line.ends_in_a_line
def main() -> None:
    experiment, context = short_training.described()
    protocol = experiment.protocol
    if not protocol.task.validation_fraction:
        raise ValueError(
            "Candidates are compared on held-out training images: give "
            "--validation_fraction, as configs/candidates.flags does. Received: none"
        )
    names = [choose("candidate", name, CANDIDATES) for name in FLAGS.candidate]
    common = {
        "split": "validation",
        "epochs": protocol.recipe.epochs,
        "precision": protocol.task.mixed_precision or "float32",
    }
    runs = [
        {"name": name, "sparsity": sparsity, "seed": seed, **common}
        | {"settings": settings(CANDIDATES[name])}
        for seed in experiment.seeds
        for sparsity in experiment.sparsities
        for name in names
    ]

    def measured(run: Record) -> Record:
        search = Search(protocol, context, run["sparsity"], run["seed"])
        return search.measured(CANDIDATES[run["name"]])

    file = Path(FLAGS.output_dir, "candidates.jsonl")
    command_line.show(of_names(short_training.make(file, runs, measured)))


class Search:
    """One training by a candidate, from the initial weights of a seed."""

    def __init__(self, protocol: Protocol, context: Context, sparsity: float, seed: int):
        self.recipe, self.placement = protocol.recipe, protocol.placement
        self.context, self.sparsity, self.seed = context, sparsity, seed
        self.training = ShortTraining(context, seed, seed)
        self.momenta: list[np.ndarray] = []

    def measured(self, candidate: Candidate) -> Record:
        training, model = self.training, self.training.model
        distribution = candidate.distribution
        placement = dataclasses.replace(self.placement, distribution=distribution)
        ticket = self.context.random_ticket(self.seed, self.sparsity, placement)
        initial = {name: _numpy(kernel) for name, kernel, _ in ticket.pairs(model)}
        for part in candidate.before:
            self._train_part(part, ticket)
        remove(training, ticket, candidate, initial)
        self._train_rest(candidate, ticket)
        accuracy = training.accuracy("validation")
        return {"accuracy": accuracy, "images": training.seen}

    def _train_part(self, part: Part, ticket: dlth.Ticket) -> None:
        steps = round(part.epochs * self.context.data.train_size / part.batch)
        rate = schedules.CosineDecay(part.rate, steps) if part.cosine else part.rate
        removed = _within(ticket, part.layers)
        callbacks: list[dlth.StepCallback] = [
            dlth.CoupledL2(self.recipe.l2 * part.l2),
            dlth.FixedTicket(self._wider(ticket, part)),
        ]
        if part.penalty:
            growth = part.penalty / max(round(part.grown * steps) - 1, 1)
            growing = growth, 1, part.penalty
            callbacks.append(dlth.RandomSparseTransformation(removed, *growing))
        if part.fade != 1:
            callbacks.append(Fading(removed, steps, part.fade, part.scaffold))
        optimizer = SGD(rate, self.recipe.momentum)
        self.training.fit(optimizer, part.batch, steps, callbacks)
        self.momenta = list(map(_numpy, optimizer.momentums))

    def _wider(self, ticket: dlth.Ticket, part: Part) -> dlth.Ticket:
        """What a part trains: of wider tickets the narrower is within the other."""
        if part.sparsity is None:
            return ticket
        # The same numbers for every part, so that the tickets are nested.
        chance = np.random.default_rng(self.seed)
        gone = _within(ticket, part.gone).masks
        masks = {}
        for name, mask in ticket.masks.items():
            gone_too = chance.random(mask.shape) < part.sparsity / self.sparsity
            masks[name] = gone[name] & (mask | ~gone_too)
        return dlth.Ticket(masks)

    def _train_rest(self, candidate: Candidate, ticket: dlth.Ticket) -> None:
        training, recipe, batch = self.training, self.recipe, candidate.batch
        per_epoch = self.context.data.steps_per_epoch(recipe.batch_size)
        images = recipe.epochs * per_epoch * recipe.batch_size
        estimated = candidate.statistics * recipe.batch_size
        steps = (images - training.seen - estimated) // batch
        if steps < 1:
            raise ValueError(
                "--epochs must leave images to train the ticket on. Received: "
                f"{images:,} images, of which {training.seen + estimated:,} are taken"
            )
        before = training.seen // batch if candidate.absolute else 0
        optimizer = SGD(self._rate(candidate, before, steps), recipe.momentum)
        if candidate.carried:
            optimizer.build(training.model.trainable_variables)
            for gathered, value in zip(optimizer.momentums, self.momenta, strict=True):
                gathered.assign(value)
        l2 = dlth.CoupledL2(recipe.l2 * candidate.l2)
        training.fit(optimizer, batch, steps, [l2, dlth.FixedTicket(ticket)])
        if candidate.statistics:
            statistics_anew(training, recipe.batch_size, candidate.statistics)

    def _rate(
        self, candidate: Candidate, before: int, steps: int
    ) -> schedules.LearningRateSchedule:
        """The recipe's rates at the same shares of all steps, so many of them before."""
        rates = [rate for _, rate in self.recipe.learning_rate]
        if candidate.cosine:
            return schedules.CosineDecay(rates[0], steps)
        shares = [epoch / self.recipe.epochs for epoch, _ in self.recipe.learning_rate]
        ends = [round(share * (before + steps)) - before for share in shares[1:]]
        # Keras keeps the earlier value at a boundary itself.
        return schedules.PiecewiseConstantDecay([end - 1 for end in ends], rates)


class Fading(dlth.StepCallback):
    """Multiplies what a ticket removes until little is left, along a cosine.

    The cosine is in the logarithm; after `steps` steps weights are `to` times what they
    were, but for what gradients have added, or exactly so if they are a `scaffold`.
    """

    def __init__(self, ticket: dlth.Ticket, steps: int, to: float, scaffold: bool):
        super().__init__()
        self.ticket, self.scaffold = ticket, scaffold
        logarithms = np.log(to) * (1 - np.cos(np.pi * np.arange(steps + 1) / steps)) / 2
        self._left = np.exp(logarithms[1:]).astype("float32")
        self._factors = np.exp(np.diff(logarithms)).astype("float32")

    def build(self, model: keras.Model) -> None:
        self._fading = [
            (
                kernel,
                self.variable(mask, "bool", "mask", like=kernel),
                self.variable(_numpy(kernel), "float32", "before", like=kernel),
            )
            for _, kernel, mask in self.ticket.pairs(model)
            if not mask.all()
        ]

    def after_update(self, update: Update) -> None:
        place = ops.minimum(update.step, len(self._left) - 1)
        factor = ops.take(self._left if self.scaffold else self._factors, place)
        for kernel, mask, before in self._fading:
            weights = ops.stop_gradient(kernel)
            fading = before.value if self.scaffold else weights
            kernel.assign(ops.where(mask.value, weights, factor * fading))


def _within(ticket: dlth.Ticket, layers: Sequence[str]) -> dlth.Ticket:
    """A ticket that removes of some layers what it does, and of others nothing."""

    def named(name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in layers)

    masks = ticket.masks.items()
    return dlth.Ticket({n: mask | (not named(n)) for n, mask in masks})


def _numpy(variable: keras.Variable) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))


if __name__ == "__main__":
    command_line.start(main)
