"""Loss scaling for float16 on several replicas."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="official")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Keras's loss scaling, whose replicas agree on whether a step overflowed.

    Keras asks one replica about its own gradients, which are not summed yet: an overflow
    on another one would get into the weights, and workers that answer differently would
    wait for each other for ever.
    """

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        if keras.backend.backend() != "tensorflow":
            return finite
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return finite
        overflows = 1.0 - ops.cast(finite, "float32")
        return context.all_reduce(tf.distribute.ReduceOp.SUM, overflows) == 0.0
