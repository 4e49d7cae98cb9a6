"""How large the kept and the removed weights of a network are."""

import keras
import numpy as np
from keras import ops

from dlth_tf.tickets.ticket import Ticket


def mean_magnitudes(model: keras.Model, ticket: Ticket) -> tuple[float, float]:
    """Mean absolute value of the kept and of the removed weights.

    Counts the kernels from which the ticket removes something.

    Returns:
        (kept, removed); 0.0 where there is none.
    """
    sums = np.zeros(2)
    counts = np.zeros(2)
    for _, kernel, mask in ticket.pairs(model):
        kept = np.count_nonzero(mask)
        if kept == mask.size:
            continue
        magnitude = ops.abs(ops.stop_gradient(kernel))
        of_kept = float(ops.sum(ops.where(mask, magnitude, 0.0)))
        sums += of_kept, float(ops.sum(magnitude)) - of_kept
        counts += kept, mask.size - kept
    means = sums / np.maximum(counts, 1)
    return float(means[0]), float(means[1])
