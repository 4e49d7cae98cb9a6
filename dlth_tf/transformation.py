"""Random Sparse Network Transformation: the penalty that extrudes, as a callback."""

import contextlib
import logging
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from dlth_tf.attachment import StepCallback, known_to_model, regularized
from dlth_tf.magnitudes import mean_magnitudes
from dlth_tf.schedules import PenaltyGrowth
from dlth_tf.ticket import Ticket

_log = logging.getLogger(__name__)


class RandomSparseTransformation(StepCallback):
    """Transforms a network so that a ticket of it trains like a winning one.

    While the dense network trains, a growing L2 penalty on exactly the weights about to
    be removed, lambda_t / 2 * ||(1 - m) * W||^2, pushes what they know into the weights
    that stay. Begin with a randomly initialised network, not a trained one; go on with
    `FixedTicket`.

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
        self._pairs = self.ticket.pairs(model)
        super().set_model(model)
        self._first_iteration = int(model.optimizer.iterations) - self.initial_step
        self._batches = 0
        self._removed = [ops.convert_to_tensor(~mask) for _, _, mask in self._pairs]
        if keras.backend.backend() != "tensorflow":
            self._coefficient = keras.Variable(0.0, trainable=False, name="penalty")

    def on_train_begin(self, logs=None):
        # A checkpoint may just have been restored: the optimizer knows how far we are.
        accumulation = _accumulation_steps(self._model.optimizer)
        self._batches = (
            int(self._model.optimizer.iterations) - self._first_iteration
        ) * accumulation

    @property
    def step(self) -> int:
        """Optimizer steps of the transformation done so far."""
        if keras.backend.backend() == "tensorflow":
            return int(self._model.optimizer.iterations) - self._first_iteration
        return self._batches // _accumulation_steps(self._model.optimizer)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if keras.backend.backend() == "tensorflow":
                coefficient = self._coefficient_in_step()
            else:
                coefficient = self._coefficient
                stack.enter_context(known_to_model(self._model, [coefficient]))
            for (_, kernel, _), removed in zip(self._pairs, self._removed, strict=True):
                penalty = ExtrusionPenalty(removed, coefficient)
                stack.enter_context(regularized(kernel, penalty))
            yield

    def _coefficient_in_step(self):
        step = self._model.optimizer.iterations - self._first_iteration
        values = self.schedule.values
        return ops.take(values, ops.minimum(step // self.schedule.every, len(values) - 1))

    def inputs(self):
        if keras.backend.backend() == "tensorflow":
            return []
        value = ops.convert_to_tensor(np.float32(self.schedule.at(self.step)))
        return [(self._coefficient, value)]

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() != "tensorflow":
            self._batches += 1
        if self.schedule.steps is not None and self.step >= self.schedule.steps:
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


class ExtrusionPenalty:
    """lambda / 2 * ||(1 - m) * W||^2, whose gradient is lambda * (1 - m) * W.

    Args:
        removed: boolean tensor, True where a weight is about to be removed (1 - m).
        coefficient: lambda, a scalar tensor or variable.
    """

    def __init__(self, removed, coefficient):
        self.removed = removed
        self.coefficient = coefficient

    def __call__(self, kernel):
        extruded = ops.where(self.removed, kernel, 0.0)
        return 0.5 * self.coefficient * ops.sum(ops.square(extruded))


def _accumulation_steps(optimizer) -> int:
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer.gradient_accumulation_steps or 1
