"""One program at a time: who holds a lock is named, and a dead one holds none."""

import errno
import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dlth_tf.experiment.engine.lock import InUse, Lock
from dlth_tf.experiment.plan.runs import Shard
from dlth_tf.experiment.results import claim
from tests.program.conftest import ROOT

_HOLD = """
import sys, time
from pathlib import Path
from dlth_tf.experiment.engine.lock import Lock
with Lock(Path(sys.argv[1]), "it").held():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def other_program(path):
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, os.fspath(path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks."""

    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def acquire(path, **options) -> str:
    with Lock(path, "it").held(**options) as note:
        return note


def name_of(process: int) -> str:
    return f"it is in use by process {process} on {socket.gethostname()}, since "


def test_the_holder_is_named(path, other_program):
    with pytest.raises(InUse, match=name_of(other_program.pid)):
        acquire(path)


def test_a_longer_name_left_by_a_killed_holder_does_not_hide_the_next_one(path):
    path.write_text(
        "process 123456789 on a-machine-of-a-very-long-name, since " + "x" * 99
    )
    with Lock(path, "it").held(), pytest.raises(InUse) as raised:
        acquire(path)
    year = time.strftime("%Y")
    assert str(raised.value).startswith(name_of(os.getpid()) + year)
    assert "x" not in str(raised.value)


def test_a_killed_holder_holds_nothing(path, other_program):
    other_program.send_signal(signal.SIGKILL)
    other_program.wait()
    began = time.monotonic()
    assert acquire(path) == ""
    assert time.monotonic() - began < 5


def test_it_is_free_afterwards(path):
    for _ in range(2):
        assert acquire(path) == ""


def test_a_holder_on_another_machine_that_left_no_word_is_told_of(path):
    path.write_text("process 17 on elsewhere, since 2026-01-01 00:00:00")
    assert "it was held by process 17 on elsewhere" in acquire(path)
    assert acquire(path) == ""


@pytest.mark.usefixtures("no_flock")
def test_without_locks_none_is_pretended(path):
    with pytest.raises(OSError, match="can't be locked: its file system has no locks"):
        acquire(path)
    assert "Nothing keeps a second program off it" in acquire(path, needed=False)


def test_waiting_for_a_holder(path):
    order = []
    with Lock(path, "it").held():
        waiting = threading.Thread(
            target=lambda: (acquire(path, wait=math.inf), order.append("second"))
        )
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def begin(folder, shard=None):
    return claim.in_use(folder, shard, lambda line: None)


def test_shards_share_a_folder_with_one_another_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "_BEGINNING_SECONDS", 0.1)
    with begin(tmp_path, Shard(0, 2)), begin(tmp_path, Shard(1, 2)):
        with pytest.raises(InUse, match=f"--output_dir '{tmp_path}' is in use"):
            begin(tmp_path).__enter__()
        with pytest.raises(InUse, match=r"--shard=1/2 of --output_dir .* is in use"):
            begin(tmp_path, Shard(1, 2)).__enter__()
    with begin(tmp_path), pytest.raises(InUse):
        begin(tmp_path, Shard(0, 2)).__enter__()


@pytest.mark.usefixtures("no_flock")
def test_a_folder_without_locks_is_used_by_one_program_that_says_so(tmp_path):
    told = []
    with claim.in_use(tmp_path, None, told.append):
        assert len(told) == 1 and "has no locks (No locks available)" in told[0]
    with pytest.raises(OSError, match=f"'{tmp_path}' can't be locked"):
        begin(tmp_path, Shard(0, 2)).__enter__()
