"""Training a ticket: what is removed stays at zero."""

import contextlib
from collections.abc import Iterator

import keras
from keras import ops

from dlth_tf.callbacks.attachment import StepCallback, constrained
from dlth_tf.callbacks.replicas import copied_to_replicas
from dlth_tf.tickets.ticket import Ticket


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
        super().set_model(model)
        self._masks = [
            (kernel, copied_to_replicas(model, mask))
            for _, kernel, mask in self.ticket.pairs(model)
            if not mask.all()
        ]

    def on_train_begin(self, logs=None):
        self.ticket.apply(self._model)

    @contextlib.contextmanager
    def attached(self, iterations) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for kernel, mask in self._masks:
                projection = KeepZero(kernel, mask, self._model.optimizer)
                stack.enter_context(constrained(kernel, projection))
            yield


class KeepZero:
    """A constraint that sets what a mask removes to zero, in moving averages too.

    Args:
        kernel: the variable that it constrains.
        mask: True (or 1) where a weight is kept; a tensor, or a variable, which counts as
            it is at the end of a step.
        optimizer: the one that updates the kernel.
    """

    def __init__(self, kernel, mask, optimizer):
        self.kernel = kernel
        self.mask = mask
        self.optimizer = getattr(optimizer, "inner_optimizer", optimizer)

    def __call__(self, value):
        if self.optimizer.use_ema:
            place = self.optimizer._get_variable_index(self.kernel)
            average = self.optimizer._model_variables_moving_average[place]
            average.assign(self._masked(average))
        return self._masked(value)

    def _masked(self, value):
        mask, value = ops.cast(self.mask, "bool"), ops.convert_to_tensor(value)
        return ops.where(mask, value, 0.0)
