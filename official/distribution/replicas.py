"""What replicas, which see a part of a batch each, agree on: statistics, overflows."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from official.common.backend import ON_TENSORFLOW, tf
from official.private_keras import all_layers

# By model: it is called at every checkpoint, and tracing takes seconds.
_averages: Any = weakref.WeakKeyDictionary()


def average_statistics(model: keras.Model) -> None:
    """Gives every replica the mean of all replicas' moving statistics.

    Under Mirrored strategies each replica follows the statistics of its own part of the
    batches. Average them before the model is evaluated, saved or exported, which would
    take those of one replica. All workers must call it together. It does nothing to a
    model on one device.

    Example:

        >>> model.fit(train)
        >>> average_statistics(model)
        >>> model.save("model.keras")
    """
    if not ON_TENSORFLOW:
        return
    strategy = model.distribute_strategy
    moving = [
        variable
        for variable in model.non_trainable_variables
        if keras.backend.is_float_dtype(variable.dtype)
    ]
    if strategy.num_replicas_in_sync == 1 or not moving:
        return
    if model not in _averages:
        _averages[model] = _compiled_average(strategy, moving)
    _averages[model]()


def _compiled_average(
    strategy: Any, moving: Sequence[keras.Variable]
) -> Callable[[], None]:
    def on_replica() -> None:
        context = tf.distribute.get_replica_context()
        own = [tf.identity(variable.value) for variable in moving]
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, own)
        for variable, mean in zip(moving, means, strict=True):
            variable.assign(mean)

    return tf.function(lambda: strategy.run(on_replica))


def synchronize_batch_norm(model: keras.Model) -> None:
    """Makes BatchNorm normalize by the whole batch, not by each replica's part of it.

    Replicas then exchange means and variances in every such layer of every step. Call it
    before `fit`. On other backends than TensorFlow it always does: a step computes with
    the whole batch.
    """
    if not ON_TENSORFLOW:
        return
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@keras.saving.register_keras_serializable(package="official")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, whose replicas agree on whether a step overflowed.

    Keras asks one replica about its own gradients, which are not summed yet: an overflow
    on another one would get into the weights, and workers that answer differently would
    wait for each other for ever.
    """

    def check_finite(self, grads: Sequence[Any]) -> Any:
        finite = super().check_finite(grads)
        if not ON_TENSORFLOW:
            return finite
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        overflows = 1.0 - ops.cast(finite, "float32")
        return context.all_reduce(tf.distribute.ReduceOp.SUM, overflows) == 0.0
