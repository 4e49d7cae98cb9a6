"""From names and numbers to a strategy: the only place that knows them.

On TensorFlow it is one of `tf.distribute`, on JAX one of `keras.distribution`.

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
    import keras
    import tensorflow as tf

STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
STRATEGIES_ON = {"tensorflow": STRATEGIES, "jax": ("off", "one_device", "mirrored")}
"""Those that Keras can train under, by its backend; others have `"off"` alone."""

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
) -> "tf.distribute.Strategy | keras.distribution.DataParallel | None":
    """Makes the strategy called `name`; None if it is `"off"`, or `"one_device"` on JAX.

    Call it before anything else is done with TensorFlow: workers connect here.

    Args:
        name: one of `STRATEGIES`. `one_device` and `mirrored` use this machine,
            `multi_worker_mirrored` those of the cluster, `tpu` the TPU of this machine.
            On JAX `mirrored` uses all devices that JAX sees.
        num_gpus: GPUs of this machine to use; 0: its CPU (`mirrored`: all of its logical
            CPU devices); None: all GPUs that are there. None on JAX.
        all_reduce_alg: how gradients are summed. `auto` leaves it to TensorFlow;
            `mirrored` also takes nccl, hierarchical_copy and reduction_to_one_device,
            `multi_worker_mirrored` nccl and ring.
        cluster: the workers, for `multi_worker_mirrored` only.
        messages: where workers that do not come are named, see
            `official.distribution.connecting`.

    Raises:
        ValueError: a name that is unknown, or not for this backend, an algorithm or a
            cluster that the strategy has no use for, or more GPUs than there are.

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
    check_backend(name, _backend())
    if _backend() == "jax":
        return _on_jax(name, num_gpus, all_reduce_alg)
    if name == "tpu":
        return _tpu(num_gpus)
    gpus = usable_gpus(num_gpus)
    if name == "one_device":
        return _one_device(gpus)
    if name == "mirrored":
        return _mirrored(gpus, all_reduce_alg)
    return _multi_worker(gpus, all_reduce_alg, cluster, messages)


def replicas_of(strategy) -> int:
    """How many devices share each batch under a strategy, those of all workers.

    Args:
        strategy: what `make_strategy` returned.
    """
    if strategy is None:
        return 1
    if _backend() == "jax":
        return strategy.num_model_replicas
    return strategy.num_replicas_in_sync


def check_backend(name: str, backend: str) -> None:
    """Makes sure that Keras can train under a strategy.

    Args:
        name: one of `STRATEGIES`.
        backend: Keras's.

    Raises:
        ValueError: it can't.
    """
    known = STRATEGIES_ON.get(backend, ("off",))
    if name not in known:
        raise ValueError(
            f"--distribution_strategy must be one of {', '.join(known)} with Keras on "
            f"{backend}; others need KERAS_BACKEND=tensorflow. Received: {name}"
        )


def _backend() -> str:
    import keras

    return keras.backend.backend()


def _on_jax(
    name: str, num_gpus: int | None, algorithm: str
) -> "keras.distribution.DataParallel | None":
    import keras

    if num_gpus is not None or algorithm != "auto":
        raise ValueError(
            "--num_gpus and --all_reduce_alg need Keras on TensorFlow: JAX uses all "
            "devices that it sees (CUDA_VISIBLE_DEVICES, JAX_PLATFORMS). Received: "
            f"--num_gpus={num_gpus} --all_reduce_alg={algorithm}"
        )
    return keras.distribution.DataParallel() if name == "mirrored" else None


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
