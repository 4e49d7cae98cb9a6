"""The program's flags for devices and machines. Results do not depend on them."""

import os
from collections.abc import Mapping
from typing import TextIO

from absl import flags

from dlth_tf.experiment.hardware import Hardware, check_batches
from dlth_tf.experiment.quiet import start_tensorflow_quietly
from official.common.choices import choose
from official.distribution.cluster import SOURCES, find_cluster
from official.distribution.strategies import (
    ALGORITHMS,
    STRATEGIES,
    check_backend,
    make_strategy,
)

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "distribution_strategy",
    "off",
    f"What trainings run on: {', '.join(STRATEGIES)}. mirrored: all GPUs of this "
    "machine (on JAX all devices that it sees); multi_worker_mirrored: several machines, "
    "each running this command.",
)
flags.DEFINE_integer(
    "num_gpus", None, "GPUs of this machine to use; 0: its CPU. Default: all."
)
flags.DEFINE_string(
    "all_reduce_alg",
    "auto",
    f"How gradients are summed: {', '.join(ALGORITHMS)}.",
)
flags.DEFINE_string(
    "cluster",
    None,
    f"Where the workers are found: {', '.join(SOURCES)}. Default: in --worker_hosts, or "
    "in TF_CONFIG if it is set.",
)
flags.DEFINE_list(
    "worker_hosts",
    [],
    "Addresses of all workers, host:port, separated by commas, the same on each.",
)
flags.DEFINE_integer(
    "task_index", None, "Place of this worker in --worker_hosts, from 0; 0 is the chief."
)
flags.DEFINE_bool(
    "jit_compile",
    False,
    "Let XLA compile the training step: mostly faster on GPUs, slower on CPUs. Several "
    "replicas need a process and a GPU each.",
)


def hardware(batch_sizes: Mapping[str, int]) -> Hardware:
    """What trainings run on. Workers connect here.

    Args:
        batch_sizes: of the trainings, by flag.

    Raises:
        ValueError: flags that make no sense together or on this machine.
    """
    name = choose("distribution strategy", FLAGS.distribution_strategy, STRATEGIES)
    clustered = FLAGS.worker_hosts or FLAGS.cluster or FLAGS.task_index is not None
    if name == "off" and not clustered:
        return Hardware(jit_compile=FLAGS.jit_compile)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    check_backend(name, backend)
    if clustered and backend != "tensorflow":
        raise ValueError(
            "--cluster, --worker_hosts and --task_index need Keras on TensorFlow "
            f"(KERAS_BACKEND=tensorflow). The backend is {backend}."
        )
    look = clustered or name == "multi_worker_mirrored"
    # The standard error is turned off meanwhile.
    with os.fdopen(os.dup(2), "w") as messages:
        strategy = start_tensorflow_quietly(
            lambda: _strategy(name, look, messages, batch_sizes)
        )
    # On JAX every step is compiled.
    found = Hardware(strategy, FLAGS.jit_compile and backend == "tensorflow")
    check_batches(batch_sizes, found.replicas)
    return found


def _strategy(
    name: str, look_for_workers: bool, messages: TextIO, batch_sizes: Mapping[str, int]
):
    cluster = None
    if look_for_workers:
        cluster = find_cluster(FLAGS.cluster, FLAGS.worker_hosts, FLAGS.task_index)
    if cluster and FLAGS.shard:
        raise ValueError(
            "--shard shares runs out among single programs, not among workers that train "
            f"together. Received: --shard={FLAGS.shard} with {len(cluster.hosts)} workers"
        )
    if cluster:
        # Before anybody is waited for.
        from official.distribution.tensorflow_strategies import usable_gpus

        devices = len(usable_gpus(FLAGS.num_gpus)) or 1
        check_batches(batch_sizes, devices * len(cluster.hosts))
    return make_strategy(name, FLAGS.num_gpus, FLAGS.all_reduce_alg, cluster, messages)
