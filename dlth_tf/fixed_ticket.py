"""Training a ticket: what is removed stays at zero."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from dlth_tf.attachment import StepCallback, constrained
from dlth_tf.ticket import Ticket


class FixedTicket(StepCallback):
    """Trains only a ticket's weights: the removed ones are exactly zero at every step.

    They are set to zero when `fit` begins and again after every optimizer step, inside
    the compiled step, whatever the optimizer does. Averages that the optimizer keeps of
    the weights (`use_ema=True`) are masked likewise.

    Args:
        ticket: the weights that stay; must fit the model.

    Raises:
        ValueError: in `fit`, the ticket does not fit the model.

    Example:

    >>> ticket = dlth.random_ticket(model, sparsity=0.9, seed=0)
    >>> model.fit(train, epochs=60, callbacks=[dlth.FixedTicket(ticket)])

    Source: Bai et al., ICLR 2022, section 3.1 (finetuning of a sparse network).
    """

    def __init__(self, ticket: Ticket):
        super().__init__()
        self.ticket = ticket

    def set_model(self, model: keras.Model) -> None:
        self._pairs = self.ticket.pairs(model)
        super().set_model(model)
        self._masks = [ops.convert_to_tensor(mask) for _, _, mask in self._pairs]

    def on_train_begin(self, logs=None):
        self.ticket.apply(self._model)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for (_, kernel, _), mask in zip(self._pairs, self._masks, strict=True):
                average = _moving_average(self._model.optimizer, kernel)
                projection = _KeepZero(mask, average)
                stack.enter_context(constrained(kernel, projection))
            yield


class _KeepZero:
    def __init__(self, mask, average):
        self.mask = mask
        self.average = average

    def __call__(self, kernel):
        if self.average is not None:
            self.average.assign(ops.where(self.mask, self.average, 0.0))
        return ops.where(self.mask, kernel, 0.0)


def _moving_average(optimizer, kernel) -> keras.Variable | None:
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema or not kernel.trainable:
        return None
    return optimizer._model_variables_moving_average[
        optimizer._get_variable_index(kernel)
    ]
