"""Two real processes train together under MultiWorkerMirroredStrategy."""

import json

import pytest

from tests.distribution.processes import all_workers, python


@pytest.fixture(scope="module")
def workers():
    def start(hosts, index):
        return python("-m", "tests.distribution.two_workers", ",".join(hosts), str(index))

    return [json.loads(out.splitlines()[-1]) for out in all_workers(2, start)]


def test_a_plain_fit_still_fails(workers):
    """If this fails, keras-team/keras#20585 is mended: remove `multi_worker_fit`."""
    assert all(worker["plain_fit"] for worker in workers)


def test_a_users_own_fit_trains(workers):
    loss = workers[0]["loss"]
    assert loss[-1] < loss[0]


@pytest.mark.parametrize("what", ["loss", "fit"])
def test_workers_end_with_the_same_bits(workers, what):
    assert workers[0][what] == workers[1][what]


@pytest.mark.parametrize(
    "name", ["transformation", "fixed", "set", "rigl", "gradual", "early_bird"]
)
def test_callbacks_give_the_same_bits_on_every_worker(workers, name):
    assert workers[0][name] == workers[1][name]


@pytest.mark.parametrize("name", ["fixed", "set", "rigl", "gradual"])
def test_removed_weights_are_exactly_zero(workers, name):
    _, nonzero, sparsity = workers[0][name]
    assert nonzero == 0 and sparsity > 0.4


def test_workers_know_who_they_are_and_agree(workers):
    assert [worker["shard"] for worker in workers] == [[0, 2], [1, 2]]
    assert all(worker["sum"] == [2.0, 1.0] for worker in workers)
    assert all(worker["from_chief"] == 5.0 for worker in workers)
