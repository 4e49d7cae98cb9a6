"""Each fault of the table, once: nothing is lost but the steps since a checkpoint."""

import functools
import random
import subprocess

import pytest

from tests.faults.faults import (
    CHECKPOINT_EVERY,
    FAULTS,
    disk_full,
    steps_lost,
    undisturbed,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The undisturbed experiment of a kind."""
    place = tmp_path_factory.mktemp("undisturbed")
    return functools.cache(lambda kind: undisturbed(kind, place / kind.__name__))


def has_a_small_disk() -> bool:
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_end_is_the_same(fault, whole, tmp_path):
    if fault is disk_full and not has_a_small_disk():
        pytest.skip("needs to mount a small disk")
    kind = FAULTS[fault]
    trial = kind(tmp_path / "hit", random.Random(fault.__name__), whole(kind))
    # A damaged checkpoint costs the steps since the one before; with two workers there
    # is one at every tenth step.
    assert 0 <= steps_lost(fault, trial) <= 2 * CHECKPOINT_EVERY
