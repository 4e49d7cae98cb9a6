"""Early-Bird: knowing the winning ticket long before training ends."""

import math
from typing import Literal

import keras
import numpy as np
from keras import ops

from dlth_tf.network.kernels import kernel_shapes
from dlth_tf.step.callback import StepCallback
from dlth_tf.tickets.selection import magnitude_ticket
from dlth_tf.tickets.sparsity import Sparsity
from dlth_tf.tickets.ticket import Ticket


class EarlyBird(StepCallback):
    """Stops dense training as soon as its magnitude ticket has settled.

    At the end of every epoch the ticket is drawn; when its distance from each of those
    of the last `window` epochs, the fraction of the weights on which the two masks
    differ, is under `threshold`, `fit` stops. `logs` gains `mask_distance`, the largest
    of these distances.

    Two unrelated masks of sparsity s differ on 2 s (1 - s) of the weights, which is
    under 0.1 from sparsity 0.95 on: there the first full window is enough.

    Args:
        sparsity: of the ticket, as for `random_ticket`.
        threshold: distance under which two masks count as the same, in (0, 1].
        window: epochs that must agree, at least 2.
        unit, round_to, importance: as for `magnitude_ticket`.

    Attributes:
        ticket: the latest ticket.
        settled_epoch: the epoch, counted from 1, at whose end the ticket had settled;
            None if it has not.

    Raises:
        ValueError: a value out of its range.

    Example:

    >>> early_bird = dlth.EarlyBird(sparsity=0.7)
    >>> model.fit(train, epochs=160, callbacks=[early_bird])
    >>> model.fit(train, epochs=160, callbacks=[dlth.FixedTicket(early_bird.ticket)])

    Source: You et al., "Drawing Early-Bird Tickets", ICLR 2020, section 3.2.
    """

    is_saved = True
    needs_fit = True

    def __init__(
        self,
        sparsity: Sparsity,
        threshold: float = 0.1,
        window: int = 5,
        unit: str = "weight",
        round_to: int = 1,
        importance: Literal["filter", "group"] = "filter",
    ):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"`threshold` must be in (0, 1]. Received: {threshold}")
        if window < 2:
            raise ValueError(f"`window` must be at least 2. Received: {window}")
        self.sparsity = sparsity
        self.threshold = threshold
        self.window = window
        self.unit = unit
        self.round_to = round_to
        self.importance = importance
        self.ticket: Ticket | None = None
        self.settled_epoch: int | None = None

    def build(self, model: keras.Model) -> None:
        weights = sum(math.prod(shape) for shape in kernel_shapes(model).values())
        nothing = np.zeros((self.window, weights), np.bool_)
        self._masks = self.variable(nothing, "bool", "masks", saved=True)
        self._drawn = self.variable(0, "int32", "drawn", saved=True)
        self.ticket = self.settled_epoch = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        how = self.unit, self.round_to, self.importance
        ticket = self.ticket = magnitude_ticket(self.model, self.sparsity, *how)
        kernels = kernel_shapes(self.model)
        latest = np.concatenate([ticket.masks[name].ravel() for name in kernels])
        masks = np.vstack([ops.convert_to_numpy(self._masks)[1:], latest])
        drawn = int(ops.convert_to_numpy(self._drawn)) + 1
        self._masks.assign(masks), self._drawn.assign(drawn)
        earlier = masks[-drawn:-1] if drawn < self.window else masks[:-1]
        distances = [np.mean(latest != mask) for mask in earlier]
        if logs is not None and distances:
            logs["mask_distance"] = float(max(distances))
        if drawn >= self.window and max(distances) < self.threshold:
            self.settled_epoch = epoch + 1
            self._trained.stop_training = True
