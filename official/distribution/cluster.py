"""The machines that train together: which of them this one is, and how they agree."""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from official.common import choose

SOURCES = ("tf_config", "slurm")

# SLURM itself tells a task which GPUs it may see. TensorFlow's resolver would share
# them out once more, and counts them to do so: a number that is always enough.
_ENOUGH_GPUS = 1024


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The addresses of a training's workers, the chief's first; which of them this is."""

    hosts: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < len(self.hosts):
            raise ValueError(
                "A worker's index (--task_index) must be from 0 to "
                f"{len(self.hosts) - 1}. Received: {self.index}"
            )


def find_cluster(
    source: str | None = None,
    worker_hosts: Sequence[str] = (),
    task_index: int | None = None,
) -> Cluster | None:
    """Finds the cluster, or None if nothing tells of one.

    The source is one of `SOURCES`: the environment variable `TF_CONFIG`, or SLURM's, read
    by TensorFlow's own resolver. None: the hosts if there are any, the same list on each
    worker, which knows its place in it; else `TF_CONFIG` if it is set. A ValueError says
    what makes no sense, or contradicts itself.
    """
    if source:
        choose("cluster", source, SOURCES)
    if worker_hosts and source:
        raise ValueError(
            "--cluster and --worker_hosts exclude each other. Received: "
            f"--cluster={source} --worker_hosts={','.join(worker_hosts)}"
        )
    if worker_hosts:
        return _listed(worker_hosts, task_index)
    if task_index is not None:
        raise ValueError(f"--task_index needs --worker_hosts. Received: {task_index}")
    if source == "slurm":
        return _slurm()
    if source == "tf_config" or "TF_CONFIG" in os.environ:
        return _tf_config()
    return None


def _listed(hosts: Sequence[str], index: int | None) -> Cluster:
    if index is None:
        raise ValueError(
            "--worker_hosts needs --task_index, the place of this worker in it. "
            "Received: none"
        )
    for host in hosts:
        if not host.rpartition(":")[2].isdigit():
            raise ValueError(
                f"--worker_hosts takes host:port, separated by commas. Received: {host!r}"
            )
    return Cluster(tuple(hosts), index)


def _tf_config() -> Cluster:
    text = os.environ.get("TF_CONFIG", "")
    try:
        content = json.loads(text)
        tasks = {kind: list(hosts) for kind, hosts in content["cluster"].items()}
        kind, index = content["task"]["type"], int(content["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            "TF_CONFIG must be JSON with 'cluster' and 'task' (type, index). "
            f"Received: {text!r}"
        ) from None
    if kind not in tasks or not set(tasks) <= {"chief", "worker"}:
        raise ValueError(
            "TF_CONFIG must name a chief, if any, and workers; others (ps, evaluator) "
            f"have no part in this. Received: cluster of {', '.join(tasks)}, task {kind}"
        )
    chiefs, workers = tasks.get("chief", []), tasks.get("worker", [])
    place = index if kind == "chief" else index + len(chiefs)
    return Cluster((*chiefs, *workers), place)


def _slurm() -> Cluster:
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=_ENOUGH_GPUS, gpus_per_task=1, auto_set_gpu=False
        )
        hosts = resolver.cluster_spec().as_dict()["worker"]
    except (RuntimeError, KeyError) as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"--cluster=slurm must be run by srun, within a job: {reason}."
        ) from None
    return Cluster(tuple(hosts), resolver.task_id)


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes that train together, each of which runs the same program.

    Every method must be called by all of them, in the same order: they wait for each
    other. A single process has nobody to wait for; its strategy may be None.
    """

    strategy: Any = None

    @property
    def count(self) -> int:
        """How many they are."""
        return self.shard[1]

    @property
    def is_chief(self) -> bool:
        """Whether this one writes and prints: the first."""
        return self.shard[0] == 0

    @property
    def shard(self) -> tuple[int, int]:
        """Which one of how many this is, as `ImageData` understands it."""
        count = len(self.hosts)
        return (self.strategy.cluster_resolver.task_id, count) if count > 1 else (0, 1)

    @property
    def hosts(self) -> list[str]:
        """Addresses of all, `host:port`; none of a single process."""
        resolver = getattr(self.strategy, "cluster_resolver", None)
        return (resolver and resolver.cluster_spec().as_dict().get("worker")) or []

    @property
    def replicas(self) -> int:
        """How many devices share each batch, those of all of them."""
        if self.strategy is None:
            return 1
        on_jax = getattr(self.strategy, "num_model_replicas", None)
        return on_jax or self.strategy.num_replicas_in_sync

    def sum(self, values: Any) -> np.ndarray:
        """The sum of all workers' values, an array of the same shape for each."""
        values = np.asarray(values, np.float64)
        if self.count == 1:
            return values
        summed = _total(self.strategy)(values)
        return self.strategy.experimental_local_results(summed)[0].numpy()

    def any(self, answers: Any) -> list[bool]:
        """Which of several questions at least one worker answers with yes."""
        return [bool(count) for count in self.sum(answers)]

    def from_chief(self, values: Any) -> np.ndarray:
        """The chief's values, an array of the same shape for each."""
        values = np.asarray(values, np.float64)
        return self.sum(values if self.is_chief else np.zeros_like(values))


@functools.lru_cache
def _total(strategy: Any) -> Callable[[np.ndarray], Any]:
    """Sums what the workers give, traced once for each shape."""
    import tensorflow as tf

    def on_replica(values: Any) -> Any:
        context = tf.distribute.get_replica_context()
        local = len(strategy.extended.worker_devices)
        first = context.replica_id_in_sync_group % local == 0
        own = tf.where(first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    @tf.function
    def total(values: Any) -> Any:
        return strategy.run(on_replica, args=(values,))

    return lambda values: total(tf.constant(values))


ALONE = Workers()
