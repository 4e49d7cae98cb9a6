"""From names and numbers to a strategy, of `tf.distribute` or on JAX Keras's own.

There is no parameter server. It trains asynchronously: each worker's gradient is applied
when it arrives, to weights that others have changed meanwhile, so that a result depends
on the moment, not on seed and recipe alone, and what happens once per step (a penalty
that grows, a mask that moves) has no one step to happen at. Keras 3 does not support it
either.
"""

from typing import Any, TextIO

from official.common import choose
from official.distribution.cluster import Cluster

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
) -> Any:
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
        messages: where workers that do not come are named.

    Returns:
        A `tf.distribute.Strategy`, or on JAX a `keras.distribution.DataParallel`.

    Raises:
        ValueError: a name that is unknown, or not for this backend, an algorithm or a
            cluster that the strategy has no use for, or more GPUs than there are.
    """
    _check(name, all_reduce_alg, cluster)
    if name == "off":
        return None
    # Only the names are known without them.
    import keras

    backend = keras.backend.backend()
    check_backend(name, backend)
    if backend == "jax":
        if num_gpus is not None or all_reduce_alg != "auto":
            raise ValueError(
                "--num_gpus and --all_reduce_alg need Keras on TensorFlow: JAX uses all "
                "devices that it sees (CUDA_VISIBLE_DEVICES, JAX_PLATFORMS). Received: "
                f"--num_gpus={num_gpus} --all_reduce_alg={all_reduce_alg}"
            )
        return keras.distribution.DataParallel() if name == "mirrored" else None
    from official.distribution.replicas import tensorflow_strategy

    return tensorflow_strategy(name, num_gpus, all_reduce_alg, cluster, messages)


def check_backend(name: str, backend: str) -> None:
    """Raises `ValueError` if Keras's backend can't train under a strategy."""
    known = STRATEGIES_ON.get(backend, ("off",))
    if name not in known:
        raise ValueError(
            f"--distribution_strategy must be one of {', '.join(known)} with Keras on "
            f"{backend}; others need KERAS_BACKEND=tensorflow. Received: {name}"
        )


def _check(name: str, algorithm: str, cluster: Cluster | None) -> None:
    choose("distribution strategy", name, STRATEGIES)
    choose("all-reduce algorithm", algorithm, ALGORITHMS)
    known = ("auto", *_ALGORITHMS.get(name, ()))
    if algorithm not in known:
        raise ValueError(
            f"--all_reduce_alg must be one of {', '.join(known)} with "
            f"--distribution_strategy={name}. Received: {algorithm}"
        )
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
