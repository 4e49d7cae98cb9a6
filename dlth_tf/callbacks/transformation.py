"""Random Sparse Network Transformation: the penalty that extrudes, as a callback."""

import contextlib
import logging
from collections.abc import Iterator

import keras
from keras import ops

from dlth_tf.callbacks.attachment import StepCallback, regularized
from dlth_tf.callbacks.magnitudes import mean_magnitudes
from dlth_tf.callbacks.penalties import Pull
from dlth_tf.callbacks.replicas import copied_to_replicas, steps_done
from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.tickets.ticket import Ticket

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
        super().__init__()
        self.ticket = ticket
        self.schedule = PenaltyGrowth(growth, every, bound, hold, power)
        if initial_step < 0:
            raise ValueError(
                f"`initial_step` must be 0 or more. Received: {initial_step}"
            )
        self.initial_step = initial_step

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._removed = [
            (kernel, copied_to_replicas(model, ~mask))
            for _, kernel, mask in self.ticket.pairs(model)
            if not mask.all()
        ]
        self._first_iteration = steps_done(model.optimizer) - self.initial_step
        self._steps_at_most = 0

    @property
    def step(self) -> int:
        """Optimizer steps of the transformation done so far."""
        return steps_done(self.model.optimizer) - self._first_iteration

    @contextlib.contextmanager
    def attached(self, iterations) -> Iterator[None]:
        coefficient = self._coefficient(iterations - self._first_iteration)
        with contextlib.ExitStack() as stack:
            for kernel, removed in self._removed:
                pull = Pull(Extrusion(removed, coefficient))
                stack.enter_context(regularized(kernel, pull))
            yield

    def _coefficient(self, step):
        values = self.schedule.values
        return ops.take(values, ops.minimum(step // self.schedule.every, len(values) - 1))

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


class Extrusion:
    """lambda * (1 - m) * W, the gradient of lambda / 2 * ||(1 - m) * W||^2.

    Args:
        removed: True where a weight is about to be removed (1 - m); a boolean tensor, or
            a variable.
        coefficient: lambda, a scalar tensor.
    """

    def __init__(self, removed, coefficient):
        self.removed = removed
        self.coefficient = coefficient

    def __call__(self, kernel):
        removed = ops.convert_to_tensor(self.removed)
        return self.coefficient * ops.where(removed, kernel, 0.0)
