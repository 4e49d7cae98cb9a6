"""Random Sparse Network Transformation: the penalty that extrudes, as a callback."""

import logging

from keras import ops

from dlth_tf.callbacks.magnitudes import mean_magnitudes
from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.step.callback import StepCallback
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

    def build(self, model):
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

    def before_update(self, update):
        """Adds lambda * (1 - m) * W, the gradient of lambda / 2 * ||(1 - m) * W||^2."""
        values = self.schedule.values
        place = (update.step + self.initial_step) // self.schedule.every
        penalty = ops.take(values, ops.minimum(place, len(values) - 1))
        for kernel, mask in self._kept:

            def extrusion(weights, mask=mask.value):
                removed = ops.where(mask, ops.zeros((), weights.dtype), weights)
                return ops.cast(penalty, weights.dtype) * removed

            update.pull(kernel, extrusion)

    def on_epoch_begin(self, epoch, logs=None):
        self._steps_at_most = self.step

    def on_train_batch_end(self, batch, logs=None):
        if self.schedule.steps is None:
            return
        # Asking the optimizer how far it is means waiting for it: only near the end.
        self._steps_at_most += self._model.steps_per_execution
        if (
            self._steps_at_most >= self.schedule.steps
            and self.step >= self.schedule.steps
        ):
            self._model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["penalty"] = self.schedule.at(max(self.step - 1, 0))
            kept, removed = mean_magnitudes(self.model, self.ticket)
            logs["kept_magnitude"], logs["removed_magnitude"] = kept, removed

    def on_train_end(self, logs=None):
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
