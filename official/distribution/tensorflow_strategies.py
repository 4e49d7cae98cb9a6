"""The strategies of `tf.distribute`; see `official.distribution.strategies`."""

from typing import TextIO

import tensorflow as tf

from official.distribution.cluster import Cluster
from official.distribution.missing_workers import (
    naming_dead_workers,
    telling_of_missing_workers,
)


def tensorflow_strategy(
    name: str,
    num_gpus: int | None,
    algorithm: str,
    cluster: Cluster | None,
    messages: TextIO | None,
) -> tf.distribute.Strategy:
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
) -> tf.distribute.Strategy:
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
    with (
        naming_dead_workers(cluster.hosts, cluster.index),
        telling_of_missing_workers(cluster.hosts, cluster.index, messages),
    ):
        return tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=resolver, communication_options=options
        )


def _tpu(num_gpus: int | None) -> tf.distribute.Strategy:
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
