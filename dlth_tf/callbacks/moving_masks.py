"""Masks that move while a network trains: a kernel drops weights and grows others.

Made for the inside of a compiled step on TensorFlow.
"""

import keras
import numpy as np
import tensorflow as tf

_NO_SLOTS = {"_model_variables_moving_average", "_accumulated_gradients"}


class MovingMask:
    """The mask of one kernel, as a variable of the compiled step.

    The number of kept weights never changes.

    Args:
        name: stable name of the kernel.
        kernel: the kernel.
        mask: the mask to begin with.
        drop_fractions: what part of the kept weights changes places, time by time.
    """

    def __init__(
        self,
        name: str,
        kernel: keras.Variable,
        mask: np.ndarray,
        drop_fractions: np.ndarray,
    ):
        self.name = name
        self.kernel = kernel
        self.variable = keras.Variable(mask, dtype="bool", trainable=False)
        self._counts = (np.count_nonzero(mask) * drop_fractions).astype(np.int32)

    def drop_and_grow(self, time, growth_score, optimizer) -> None:
        """Moves the mask: drops the smallest magnitudes, grows the highest scores.

        Weights grow among all that are not kept then, those just dropped included: one
        that is dropped and grown at once stays as it is. The others begin at zero, in the
        optimizer's memory too. (The dropped ones are set to zero by whoever applies the
        mask after the step.) Of equals, those first in memory order come first.

        Args:
            time: which of the drop fractions counts, an integer tensor.
            growth_score: 0 or more for each weight, of the kernel's shape.
            optimizer: the one that updates the kernel.
        """
        time = tf.minimum(tf.cast(time, tf.int32), len(self._counts) - 1)
        count, most = tf.gather(self._counts, time), int(self._counts.max())
        weights, mask = self.kernel.value, tf.convert_to_tensor(self.variable)
        dropped = _highest(tf.where(mask, -tf.abs(weights), -np.inf), count, most)
        stayed = mask & ~dropped
        grown = _highest(tf.where(stayed, -np.inf, growth_score), count, most)
        new = grown & ~mask
        for variable in [self.kernel, *_slots(optimizer, self.kernel)]:
            value = tf.convert_to_tensor(variable)
            variable.assign(tf.where(new, tf.zeros_like(value), value))
        self.variable.assign(stayed | grown)


def sum_over_replicas(gradients: list) -> list:
    """The gradients of a replica's step, added to those of the other replicas."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)


def _highest(scores, count, most: int):
    """Marks the `count` highest scores, of equals the first in memory order.

    `most` is a bound of `count` that XLA can know; a full sort would take much longer.
    """
    flat = tf.reshape(scores, [-1])
    _, places = tf.math.top_k(flat, most)
    chosen = tf.cast(tf.range(most) < count, tf.int32)
    marks = tf.scatter_nd(places[:, None], chosen, tf.shape(flat))
    return tf.reshape(tf.cast(marks, tf.bool), tf.shape(scores))


def _slots(optimizer, kernel: keras.Variable) -> list[keras.Variable]:
    """What an optimizer remembers of each of a kernel's weights: momentum and the like.

    Keras's optimizers hold it in lists with one entry for each trainable variable.
    """
    place = optimizer._get_variable_index(kernel)
    own = {id(variable) for variable in optimizer._variables}
    return [
        held[place]
        for name, held in vars(optimizer).items()
        if isinstance(held, list)
        and len(held) == len(optimizer._trainable_variables)
        and name not in _NO_SLOTS
        and id(held[place]) in own
        and held[place].shape == kernel.shape
    ]
