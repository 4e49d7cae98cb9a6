"""From names and numbers to a `tf.distribute` strategy: the only place that knows them.

There is no parameter server. It trains asynchronously: each worker's gradient is applied
when it arrives, to weights that others have changed meanwhile, so that a result depends
on the moment, not on seed and recipe alone, and what happens once per step (a penalty
that grows, a mask that moves) has no one step to happen at. Keras 3 does not support it
either.
"""

from typing import TYPE_CHECKING, TextIO

from official.common.choices import choose
from official.distribution.cluster import Cluster
from official.distribution.connecting import telling_of_missing_workers
from official.distribution.dead_workers import naming_dead_workers

if TYPE_CHECKING:
    import tensorflow as tf

STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored", "tpu")

_ALGORITHMS = {
    "mirrored": ("nccl", "hierarchical_copy", "reduction_to_one_device"),
    "multi_worker_mirrored": ("nccl", "ring"),
}
ALGORITHMS = ("auto", *dict.fromkeys(sum(_ALGORITHMS.values(), ())))


def make_strategy(
    name: str,
    num_gpus: int | None = None,
    all_reduce_alg: str = "auto",
    cluster: Cluster | None = None,
    messages: TextIO | None = None,
) -> "tf.distribute.Strategy | None":
    """Makes the strategy called `name`; None if it is `"off"`.

    Call it before anything else is done with TensorFlow: workers connect here.

    Args:
        name: one of `STRATEGIES`. `one_device` and `mirrored` use this machine,
            `multi_worker_mirrored` those of the cluster, `tpu` the TPU of this machine.
        num_gpus: GPUs of this machine to use; 0: its CPU (`mirrored`: all of its logical
            CPU devices); None: all GPUs that are there.
        all_reduce_alg: how gradients are summed. `auto` leaves it to TensorFlow;
            `mirrored` also takes nccl, hierarchical_copy and reduction_to_one_device,
            `multi_worker_mirrored` nccl and ring.
        cluster: the workers, for `multi_worker_mirrored` only.
        messages: where workers that do not come are named, see
            `official.distribution.connecting`.

    Raises:
        ValueError: an unknown name, an algorithm or a cluster that the strategy has no
            use for, or more GPUs than there are.

    Example:

        >>> strategy = make_strategy("mirrored", num_gpus=2)
        >>> with strategy.scope():
        ...     model = build_network("resnet20", input_shape=(32, 32, 3), classes=10)
    """
    choose("distribution strategy", name, STRATEGIES)
    _check_algorithm(name, all_reduce_alg)
    if cluster and name != "multi_worker_mirrored":
        raise ValueError(
            f"Several workers ({len(cluster.hosts)} are named) need "
            "--distribution_strategy=multi_worker_mirrored. Received: "
            f"--distribution_strategy={name}"
        )
    if name == "multi_worker_mirrored" and not cluster:
        raise ValueError(
            "--distribution_strategy=multi_worker_mirrored needs to know its workers: by "
            "TF_CONFIG, --cluster=slurm, or --worker_hosts and --task_index."
        )
    if name == "off":
        return None
    if name == "tpu":
        return _tpu(num_gpus)
    gpus = usable_gpus(num_gpus)
    if name == "one_device":
        return _one_device(gpus)
    if name == "mirrored":
        return _mirrored(gpus, all_reduce_alg)
    return _multi_worker(gpus, all_reduce_alg, cluster, messages)


def _check_algorithm(name: str, algorithm: str) -> None:
    choose("all-reduce algorithm", algorithm, ALGORITHMS)
    known = ("auto", *_ALGORITHMS.get(name, ()))
    if algorithm not in known:
        raise ValueError(
            f"--all_reduce_alg must be one of {', '.join(known)} with "
            f"--distribution_strategy={name}. Received: {algorithm}"
        )


def usable_gpus(number: int | None) -> list[str]:
    """The GPUs of this machine to use, by name.

    Args:
        number: how many; None: all.

    Raises:
        ValueError: there are not so many.
    """
    import tensorflow as tf

    there = len(tf.config.list_physical_devices("GPU"))
    number = there if number is None else number
    if not 0 <= number <= there:
        raise ValueError(
            f"--num_gpus must be from 0 to {there}, the GPUs of this machine. "
            f"Received: {number}"
        )
    return [f"GPU:{place}" for place in range(number)]


def _one_device(gpus: list[str]) -> "tf.distribute.Strategy":
    import tensorflow as tf

    return tf.distribute.OneDeviceStrategy(gpus[0] if gpus else "CPU:0")


def _mirrored(gpus: list[str], algorithm: str) -> "tf.distribute.Strategy":
    import tensorflow as tf

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


def _multi_worker(
    gpus: list[str], algorithm: str, cluster: Cluster, messages: TextIO | None
) -> "tf.distribute.Strategy":
    import tensorflow as tf

    implementation = tf.distribute.experimental.CommunicationImplementation(
        algorithm.upper()
    )
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementation
    )
    with (
        naming_dead_workers(cluster.hosts, cluster.index),
        telling_of_missing_workers(cluster.hosts, cluster.index, messages),
    ):
        return tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=cluster.resolver(len(gpus)), communication_options=options
        )


def _tpu(num_gpus: int | None) -> "tf.distribute.Strategy":
    import tensorflow as tf

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
