"""The replicas of `tf.distribute`: making them, and what they agree on in training."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TextIO

import keras
from keras import ops

from official.distribution import missing_workers
from official.distribution.cluster import Cluster
from official.private_keras import ON_TENSORFLOW, all_layers, tf

# By model: it is called at every checkpoint, and tracing takes seconds.
_averages: Any = weakref.WeakKeyDictionary()


def tensorflow_strategy(
    name: str,
    num_gpus: int | None,
    algorithm: str,
    cluster: Cluster | None,
    messages: TextIO | None,
) -> Any:
    """Makes a strategy of what `make_strategy` was given, and has checked."""
    if name == "tpu":
        return _tpu(num_gpus)
    gpus = usable_gpus(num_gpus)
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(gpus[0] if gpus else "CPU:0")
    if cluster:
        return _multi_worker(gpus, algorithm, cluster, messages)
    cpus = [f"CPU:{i}" for i in range(len(tf.config.list_logical_devices("CPU")))]
    operations = {
        "auto": lambda: None,
        "nccl": tf.distribute.NcclAllReduce,
        "hierarchical_copy": tf.distribute.HierarchicalCopyAllReduce,
        "reduction_to_one_device": tf.distribute.ReductionToOneDevice,
    }
    return tf.distribute.MirroredStrategy(
        gpus or cpus, cross_device_ops=operations[algorithm]()
    )


def usable_gpus(number: int | None) -> list[str]:
    """Names so many GPUs of this machine, or all; `ValueError` if it has not so many."""
    there = len(tf.config.list_physical_devices("GPU"))
    number = there if number is None else number
    if not 0 <= number <= there:
        raise ValueError(
            f"--num_gpus must be from 0 to {there}, the GPUs of this machine. "
            f"Received: {number}"
        )
    return [f"GPU:{place}" for place in range(number)]


def _multi_worker(
    gpus: list[str], algorithm: str, cluster: Cluster, messages: TextIO | None
) -> Any:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.hosts)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": len(gpus)} if gpus else {},
        rpc_layer="grpc",
    )
    communication = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=communication(algorithm.upper())
    )
    workers = cluster.hosts, cluster.index
    with (
        missing_workers.naming_dead_workers(*workers),
        missing_workers.telling_of_missing_workers(*workers, messages),
    ):
        return tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=resolver, communication_options=options
        )


def _tpu(num_gpus: int | None) -> Any:
    if num_gpus:
        raise ValueError(
            f"--num_gpus has no meaning with --distribution_strategy=tpu. Received: "
            f"{num_gpus}"
        )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="local")
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--distribution_strategy=tpu found no TPU on this machine: {reason}"
        ) from None
    return tf.distribute.TPUStrategy(resolver)


def average_statistics(model: keras.Model) -> None:
    """Gives every replica the mean of all replicas' moving statistics.

    Under Mirrored strategies each replica follows the statistics of its own part of the
    batches. Average them before the model is evaluated, saved or exported, which would
    take those of one replica. All workers must call it together. It does nothing to a
    model on one device.
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
