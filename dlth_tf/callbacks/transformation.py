"""Random Sparse Network Transformation: the penalty that extrudes, as a callback."""

import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from dlth_tf import keras_internals
from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update
from dlth_tf.tickets.ticket import Ticket, as_ticket

_log = logging.getLogger(__name__)

_ADAPTIVE = (
    *(keras.optimizers.Adadelta, keras.optimizers.Adafactor, keras.optimizers.Adagrad),
    *(keras.optimizers.Adam, keras.optimizers.Adamax, keras.optimizers.Lamb),
    *(keras.optimizers.Lion, keras.optimizers.Muon, keras.optimizers.Nadam),
    keras.optimizers.RMSprop,
)
"""Those that would normalise a penalty's gradient away with the rest."""


class RandomSparseTransformation(StepCallback):
    """Transforms a network so that a ticket of it trains like a winning one.

    While the dense network trains, a growing L2 penalty on exactly the weights about to
    be removed, lambda_t / 2 * ||(1 - m) * W||^2, pushes what they know into the weights
    that stay. Begin with a randomly initialised network for a dual lottery ticket, or
    with a trained one to prune it; go on with `FixedTicket`, or with `shrink` where whole
    filters go. The loss that `fit` reports stays the data's: the penalty acts

    - coupled: lambda * (1 - m) * W is added to the gradient, as in the paper, whose
      optimizer is SGD; or
    - decoupled: min(rate * lambda, 1) * (1 - m) * W, at the learning rate of that step,
      is subtracted beside the optimizer's own step, as AdamW does for weight decay. An
      adaptive optimizer would divide a gradient by its size, and with it the penalty.

    At the end of each epoch `logs` gains `penalty` (lambda), `kept_magnitude` and
    `removed_magnitude` (mean absolute values): the second goes to zero. With `hold`
    given, `fit` stops when the transformation is complete; ask for enough epochs. A `fit`
    that ends before lambda has reached its bound is warned of.

    Args:
        ticket: the weights that stay; must fit the model.
        growth: what lambda gains at a time (eta).
        every: optimizer steps between two gains (v).
        bound: lambda at which growth stops.
        hold: optimizer steps to go on after growth has stopped. None: until `fit` ends.
        power: lambda grows like x, x^2 or x^3.
        initial_step: optimizer steps of this transformation that were done before, when
            a transformation goes on from a checkpoint.
        decoupled: which of the two forms. None follows the optimizer: decoupled with
            Keras's Adam, AdamW, Adamax, Nadam, Lamb, Lion, Muon, RMSprop, Adagrad,
            Adadelta, Adafactor and their subclasses, coupled with any other. (Ftrl and
            ScheduleFreeAdamW compute weights anew from what they remember, and undo what
            is subtracted.)

    Raises:
        ValueError: a value out of its range, or, in `fit`, a ticket that does not fit.

    Example:

    >>> ticket = dlth.random_ticket(model, sparsity=0.9, seed=0)
    >>> model.fit(train, epochs=30, callbacks=[dlth.RandomSparseTransformation(ticket)])
    >>> model.fit(train, epochs=60, callbacks=[dlth.FixedTicket(ticket)])

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.3;
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2
    (the decoupled form).
    """

    is_saved = True

    def __init__(
        self,
        ticket: Ticket,
        growth: float = 1e-4,
        every: int = 5,
        bound: float = 1.0,
        hold: int | None = None,
        power: int = 1,
        initial_step: int = 0,
        decoupled: bool | None = None,
    ):
        super().__init__(initial_step)
        self.ticket = as_ticket(ticket)
        self.decoupled = decoupled
        self.schedule = PenaltyGrowth(growth, every, bound, hold, power)

    def build(self, model: keras.Model) -> None:
        self._steps_at_most = 0
        trainable = {id(variable) for variable in model.trainable_variables}
        self._kept = []
        for name, kernel, mask in self.ticket.pairs(model):
            if mask.all():
                continue
            if id(kernel) not in trainable:
                raise ValueError(
                    f"Kernel '{name}' is frozen (`trainable=False`) and can't be "
                    "transformed. Use a ticket that keeps it whole, or unfreeze it."
                )
            self._kept.append((kernel, self.variable(mask, "bool", "mask", like=kernel)))

    @property
    def form(self) -> str:
        """The penalty's form in this training, in words: coupled or decoupled.

        It is both, "coupled and decoupled", with a `MultiOptimizer` of both kinds.
        """
        optimizer = keras_internals.innermost(self._trained.optimizer)
        apart = {self._is_decoupled(kernel, optimizer) for kernel, _ in self._kept}
        return " and ".join("decoupled" if one else "coupled" for one in sorted(apart))

    def begin(self) -> None:
        if self._kept:
            _log.info("The penalty on what the ticket removes is %s.", self.form)

    def before_update(self, update: Update) -> None:
        """Adds lambda * (1 - m) * W, the gradient of lambda / 2 * ||(1 - m) * W||^2."""
        penalty = self._penalty(update)
        for kernel, mask in self._kept:
            if not self._is_decoupled(kernel, update.optimizer):
                update.add_to_gradient(kernel, _removed(mask, times=penalty))

    def around_update(self, update: Update, optimize: Callable) -> Callable:
        """Subtracts rate * lambda * (1 - m) * W, beside an adaptive optimizer's step."""
        parts = [
            (kernel, _removed(mask, times=self._fraction(update, kernel)))
            for kernel, mask in self._kept
            if self._is_decoupled(kernel, update.optimizer)
        ]

        def subtract_and_optimize(gradients: list) -> None:
            # Before the step, so that averages of the weights take it in.
            for kernel, part in parts:
                update.subtract(kernel, part)
            optimize(gradients)

        return subtract_and_optimize

    def _is_decoupled(self, kernel: keras.Variable, optimizer: Any) -> bool:
        if self.decoupled is not None:
            return self.decoupled
        return isinstance(keras_internals.optimizer_of(optimizer, kernel), _ADAPTIVE)

    def _fraction(self, update: Update, kernel: keras.Variable) -> Any:
        """What the decoupled form takes of a weight: all of it, at the most."""
        rate = ops.cast(update.learning_rate(kernel), "float32")
        return ops.minimum(rate * self._penalty(update), 1.0)

    def _penalty(self, update: Update) -> Any:
        values = self.schedule.values
        place = (update.step + self.initial_step) // self.schedule.every
        return ops.take(values, ops.minimum(place, len(values) - 1))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._steps_at_most = self.step

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        steps = self.schedule.steps
        if steps is None:
            return
        # Asking the optimizer how far it is means waiting for it: only near the end.
        self._steps_at_most += self._trained.steps_per_execution
        if self._steps_at_most >= steps and self.step >= steps:
            self._trained.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["penalty"] = self.schedule.at(max(self.step - 1, 0))
            kept, removed = _mean_magnitudes(self.model, self.ticket)
            logs["kept_magnitude"], logs["removed_magnitude"] = kept, removed

    def on_train_end(self, logs: dict | None = None) -> None:
        super().on_train_end(logs)
        if self.step <= self.schedule.growth_steps:
            _log.warning(
                "The transformation ended after %d steps at a penalty of %.3g, before "
                "it reached its bound of %.3g (after %d steps). Train longer, or raise "
                "`growth`.",
                self.step,
                self.schedule.at(max(self.step - 1, 0)),
                self.schedule.bound,
                self.schedule.growth_steps + 1,
            )


def _removed(mask: keras.Variable, times: Any) -> Callable:
    """The weights that a mask removes, times a number, as a function of all weights."""
    kept = mask.value

    def removed(weights: Any) -> Any:
        zero = ops.zeros((), weights.dtype)
        return ops.cast(times, weights.dtype) * ops.where(kept, zero, weights)

    return removed


def _mean_magnitudes(model: keras.Model, ticket: Ticket) -> tuple[float, float]:
    """Mean absolute values of kept and removed weights, of kernels that lose some."""
    sums, counts = np.zeros(2), np.zeros(2)
    for _, kernel, mask in ticket.pairs(model):
        if mask.all():
            continue
        magnitude = ops.abs(ops.stop_gradient(kernel))
        of_kept = float(ops.sum(ops.where(mask, magnitude, 0.0)))
        sums += of_kept, float(ops.sum(magnitude)) - of_kept
        counts += mask.sum(), (~mask).sum()
    kept, removed = sums / np.maximum(counts, 1)
    return float(kept), float(removed)
