"""What trainings run on: devices, machines, and how steps are compiled.

Results do not depend on it, but for rounding.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any, TextIO

from absl import flags

from dlth_tf.experiment.command_line import start_tensorflow_quietly
from official.common import choose
from official.distribution import strategies
from official.distribution.cluster import SOURCES, Workers, find_cluster

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "distribution_strategy",
    "off",
    f"What trainings run on: {', '.join(strategies.STRATEGIES)}. mirrored: all GPUs of "
    "this machine (on JAX all devices that it sees); multi_worker_mirrored: several "
    "machines, each running this command.",
)
flags.DEFINE_integer(
    "num_gpus", None, "GPUs of this machine to use; 0: its CPU. Default: all."
)
flags.DEFINE_string(
    "all_reduce_alg",
    "auto",
    f"How gradients are summed: {', '.join(strategies.ALGORITHMS)}.",
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


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What networks are trained under, and whether XLA compiles the training step."""

    strategy: Any = None  # Of tf.distribute, or of keras.distribution
    jit_compile: bool = False

    def __post_init__(self) -> None:
        replicas = self.workers.replicas
        if not self.jit_compile or self.strategy is None or replicas == 1:
            return
        devices = self.strategy.extended.worker_devices
        if len(devices) > 1 or "GPU" not in devices[0]:
            raise ValueError(
                "--jit_compile needs one device, or one GPU per process: XLA sums no "
                f"gradients otherwise. Received: {len(devices)} of {replicas} replicas "
                f"in this process, the first on {devices[0]}"
            )

    @property
    def workers(self) -> Workers:
        """The processes that train together."""
        return Workers(self.strategy)

    def scope(self) -> contextlib.AbstractContextManager:
        """Where networks that are to be trained are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()


ONE_DEVICE = Hardware()


def _check_batches(sizes: Mapping[str, int], replicas: int) -> None:
    """Raises a ValueError if so many replicas can't share batches of these sizes."""
    uneven = {flag: size for flag, size in sizes.items() if size % replicas}
    if uneven:
        received = " ".join(f"--{flag}={size}" for flag, size in uneven.items())
        raise ValueError(
            f"{' and '.join(f'--{flag}' for flag in uneven)} must be a multiple of the "
            f"{replicas} replicas that share a batch. Received: {received}"
        )


def parsed_hardware(batch_sizes: Mapping[str, int]) -> Hardware:
    """What trainings with batches of these sizes, by flag, run on. Workers connect here.

    A ValueError names flags that make no sense together or on this machine.
    """
    name = choose(
        "distribution strategy", FLAGS.distribution_strategy, strategies.STRATEGIES
    )
    clustered = FLAGS.worker_hosts or FLAGS.cluster or FLAGS.task_index is not None
    if name == "off" and not clustered:
        return Hardware(jit_compile=FLAGS.jit_compile)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    strategies.check_backend(name, backend)
    if clustered and backend != "tensorflow":
        raise ValueError(
            "--cluster, --worker_hosts and --task_index need Keras on TensorFlow "
            f"(KERAS_BACKEND=tensorflow). The backend is {backend}."
        )
    look = clustered or name == "multi_worker_mirrored"
    # The standard error is turned off meanwhile.
    with os.fdopen(os.dup(2), "w") as messages:
        begin = functools.partial(_strategy, name, look, messages, batch_sizes)
        strategy = start_tensorflow_quietly(begin)
    # On JAX every step is compiled.
    found = Hardware(strategy, FLAGS.jit_compile and backend == "tensorflow")
    _check_batches(batch_sizes, found.workers.replicas)
    return found


def _strategy(
    name: str, look_for_workers: bool, messages: TextIO, batch_sizes: Mapping[str, int]
) -> Any:
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
        from official.distribution.replicas import usable_gpus

        devices = len(usable_gpus(FLAGS.num_gpus)) or 1
        _check_batches(batch_sizes, devices * len(cluster.hosts))
    return strategies.make_strategy(
        name, FLAGS.num_gpus, FLAGS.all_reduce_alg, cluster, messages
    )
