"""Training a ticket: what is removed stays at zero."""

import keras
import numpy as np
from keras import ops

from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update
from dlth_tf.tickets.ticket import Ticket, as_ticket


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
        self.ticket = as_ticket(ticket)

    def build(self, model: keras.Model) -> None:
        self._masked = [
            (kernel, self.variable(mask, "bool", "mask", like=kernel))
            for _, kernel, mask in self.ticket.pairs(model)
            if not mask.all()
        ]

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.ticket.apply(self._trained)

    def before_update(self, update: Update) -> None:
        if update.optimizer.clipnorm or update.optimizer.global_clipnorm:
            # Removed weights have a gradient, too, which is no part of the network's.
            for kernel, mask in self._masked:
                update.mask_gradient(kernel, mask)

    def after_update(self, update: Update) -> None:
        for kernel, mask in self._masked:
            update.keep_zero(kernel, mask)

    def on_train_end(self, logs: dict | None = None) -> None:
        super().on_train_end(logs)
        check_zeros(self.ticket, self._trained, type(self).__name__)


def check_zeros(ticket: Ticket, model: keras.Model, who: str) -> None:
    """Makes sure that what a ticket removes of a model is zero."""
    for name, kernel, mask in ticket.pairs(model):
        alive = np.count_nonzero(ops.convert_to_numpy(kernel)[~mask])
        if alive:
            raise RuntimeError(
                f"`{who}` had no effect on kernel '{name}': {alive:,} of its "
                f"{mask.size - np.count_nonzero(mask):,} removed weights are not zero."
            )
