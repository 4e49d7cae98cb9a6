"""Random Sparse Network Transformation: the penalty that extrudes, as a callback."""

import logging
from typing import Any

import keras
import numpy as np
from keras import ops

from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update
from dlth_tf.tickets.ticket import Ticket, as_ticket

_log = logging.getLogger(__name__)


class RandomSparseTransformation(StepCallback):
    """Transforms a network so that a ticket of it trains like a winning one.

    While the dense network trains, a growing L2 penalty on exactly the weights about to
    be removed, lambda_t / 2 * ||(1 - m) * W||^2, pushes what they know into the weights
    that stay. Begin with a randomly initialised network, not a trained one; go on with
    `FixedTicket`. The penalty acts through its gradient: the loss that `fit` reports
    stays the data's.

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

    Raises:
        ValueError: a value out of its range, or, in `fit`, a ticket that does not fit.

    Example:

    >>> ticket = dlth.random_ticket(model, sparsity=0.9, seed=0)
    >>> model.fit(train, epochs=30, callbacks=[dlth.RandomSparseTransformation(ticket)])
    >>> model.fit(train, epochs=60, callbacks=[dlth.FixedTicket(ticket)])

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.3.
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
    ):
        super().__init__(initial_step)
        self.ticket = as_ticket(ticket)
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

    def before_update(self, update: Update) -> None:
        """Adds lambda * (1 - m) * W, the gradient of lambda / 2 * ||(1 - m) * W||^2."""
        values = self.schedule.values
        place = (update.step + self.initial_step) // self.schedule.every
        penalty = ops.take(values, ops.minimum(place, len(values) - 1))
        for kernel, mask in self._kept:

            def extrusion(weights: Any, mask: Any = mask.value) -> Any:
                removed = ops.where(mask, ops.zeros((), weights.dtype), weights)
                return ops.cast(penalty, weights.dtype) * removed

            update.add_to_gradient(kernel, extrusion)

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
