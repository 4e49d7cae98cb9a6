"""The machines that train together, and which of them this one is."""

import dataclasses
import json
import os
from collections.abc import Sequence

from official.common.choices import choose

SOURCES = ("tf_config", "slurm")

# SLURM itself tells a task which GPUs it may see. TensorFlow's resolver would share
# them out once more, and counts them to do so: a number that is always enough.
_ENOUGH_GPUS = 1024


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, each a process.

    Attributes:
        hosts: their addresses, `host:port`; the first is the chief.
        index: which of them this process is.

    Raises:
        ValueError: there is no such worker.
    """

    hosts: tuple[str, ...]
    index: int

    def __post_init__(self):
        if not 0 <= self.index < len(self.hosts):
            raise ValueError(
                "A worker's index (--task_index) must be from 0 to "
                f"{len(self.hosts) - 1}. "
                f"Received: {self.index}"
            )

    def resolver(self, num_gpus: int):
        """The cluster as TensorFlow wants it.

        Args:
            num_gpus: GPUs that this worker uses.
        """
        import tensorflow as tf

        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(self.hosts)}),
            task_type="worker",
            task_id=self.index,
            num_accelerators={"GPU": num_gpus} if num_gpus else {},
            rpc_layer="grpc",
        )


def find_cluster(
    source: str | None = None,
    worker_hosts: Sequence[str] = (),
    task_index: int | None = None,
) -> Cluster | None:
    """Finds the cluster, or None if nothing tells of one.

    Args:
        source: one of `SOURCES`: the environment variable `TF_CONFIG`, or SLURM's
            variables, read by TensorFlow's own resolver. None: `worker_hosts` if there
            are any, else `TF_CONFIG` if it is set.
        worker_hosts: addresses of all workers, the same list on each.
        task_index: place of this worker in the list.

    Raises:
        ValueError: what is told makes no sense, or contradicts itself.

    Example:

        >>> find_cluster(worker_hosts=["a:8888", "b:8888"], task_index=1)
        Cluster(hosts=('a:8888', 'b:8888'), index=1)
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
