"""Which worker an error of TensorFlow's is about. No second process is needed."""

import socket

import pytest
import tensorflow as tf

from official.distribution.missing_workers import DeadWorker, naming_dead_workers
from tests.distribution.processes import free_hosts

ABORTED = "Collective ops is aborted by: /job:worker/replica:0/task:{} is unhealthy"


def fail(error, hosts, index=0):
    with naming_dead_workers(hosts, index):
        raise error(None, None, ABORTED.format(1))


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_worker_that_does_not_answer_is_named(listening):
    hosts = [*free_hosts(1), listening, "127.0.0.1:1"]
    with pytest.raises(DeadWorker, match=rf"^worker 0 \({hosts[0]}\)") as caught:
        fail(tf.errors.UnavailableError, hosts, index=2)
    assert "worker 1" not in str(caught.value)


def test_all_that_do_not_answer_are_named_whomever_the_error_tells_of(listening):
    hosts = [*free_hosts(1), listening, *free_hosts(1)]
    told = ABORTED.format(0)
    with pytest.raises(DeadWorker) as caught, naming_dead_workers(hosts, index=1):
        raise tf.errors.UnavailableError(None, None, told)
    dead = f"worker 0 ({hosts[0]}), worker 2 ({hosts[2]}) ended before"
    assert str(caught.value).startswith(dead)


def test_a_worker_that_was_started_again_is_named(listening):
    with pytest.raises(DeadWorker, match=rf"^worker 1 \({listening}\) ended"):
        fail(tf.errors.AbortedError, ["127.0.0.1:1", listening])


def test_another_error_stays_as_it_is():
    with pytest.raises(tf.errors.InvalidArgumentError):
        fail(tf.errors.InvalidArgumentError, free_hosts(2))


def test_a_single_process_misses_nobody():
    with pytest.raises(tf.errors.UnavailableError):
        fail(tf.errors.UnavailableError, [])
