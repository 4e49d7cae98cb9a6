"""Saying which worker is gone, where TensorFlow says that a sum was aborted."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from official.distribution.connecting import answers, worker_names


class DeadWorker(Exception):
    """Another worker's program has ended, so that this one can't go on by itself."""


@contextlib.contextmanager
def naming_dead_workers(hosts: Sequence[str], index: int) -> Iterator[None]:
    """Turns TensorFlow's error about a worker that is gone into one line that names it.

    TensorFlow aborts what waits for a worker when the connection breaks, or when its
    heartbeats stay out. A worker that ended when nobody waited for it is no error.

    Args:
        hosts: addresses of all workers, `host:port`; a single one has nobody to miss.
        index: which of them this process is.

    Raises:
        DeadWorker: in place of TensorFlow's error.

    Example:

        >>> with naming_dead_workers(["a:8888", "b:8888"], index=0):
        ...     model.fit(train)
    """
    try:
        yield
    except Exception as error:
        lost = _lost(error, hosts, index) if len(hosts) > 1 else []
        if not lost:
            raise
        raise DeadWorker(
            f"{worker_names(hosts, lost)} ended before the training was done, as "
            f"{worker_names(hosts, [index])} noticed. Start all workers again: they go "
            "on from the last checkpoint."
        ) from None


def _lost(error: Exception, hosts: Sequence[str], index: int) -> list[int]:
    """The workers that an error is about; none if it is about something else."""
    import tensorflow as tf

    if not isinstance(
        error,
        (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.InternalError,
            tf.errors.FailedPreconditionError,
            tf.errors.DeadlineExceededError,
            tf.errors.CancelledError,
        ),
    ):
        return []
    others = {place for place in range(len(hosts)) if place != index}
    named = others & {int(place) for place in re.findall(r"/task:(\d+)", str(error))}
    silent = {place for place in others if not answers(hosts[place])}
    # Workers that noticed earlier have ended too, and an error tells of the last as often
    # as of the first. One that a launcher has started again by now answers already.
    return sorted(silent or named)
