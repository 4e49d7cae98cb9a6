"""The programs of a training on several machines: who is who, and how they agree."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes that train together, each of which runs the same program.

    Every method must be called by all of them, in the same order: they wait for each
    other. A single process has nobody to wait for.

    Attributes:
        strategy: what they train under, or None.
    """

    strategy: "tf.distribute.Strategy | None" = None

    @property
    def count(self) -> int:
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

    def sum(self, values) -> np.ndarray:
        """The sum of all workers' values, an array of the same shape for each."""
        values = np.asarray(values, np.float64)
        if self.count == 1:
            return values
        summed = _total(self.strategy)(values)
        return self.strategy.experimental_local_results(summed)[0].numpy()

    def any(self, answers) -> list[bool]:
        """Which of several questions at least one worker answers with yes."""
        return [bool(count) for count in self.sum(answers)]

    def from_chief(self, values) -> np.ndarray:
        """The chief's values, an array of the same shape for each."""
        values = np.asarray(values, np.float64)
        return self.sum(values if self.is_chief else np.zeros_like(values))

    def wait(self) -> None:
        """Returns when all workers have come here."""
        self.sum(0)


@functools.lru_cache
def _total(strategy: "tf.distribute.Strategy"):
    """Sums what the workers give, traced once for each shape."""
    import tensorflow as tf

    def on_replica(values):
        context = tf.distribute.get_replica_context()
        local = len(strategy.extended.worker_devices)
        first = context.replica_id_in_sync_group % local == 0
        own = tf.where(first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    @tf.function
    def total(values):
        return strategy.run(on_replica, args=(values,))

    return lambda values: total(tf.constant(values))


ALONE = Workers()
