"""One program at a time: who holds a lock is named, and a dead one holds none."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dlth_tf.experiment import lock as module
from dlth_tf.experiment.lock import InUse, Lock
from tests.program.conftest import ROOT

_HOLD = """
import sys, time
from pathlib import Path
from dlth_tf.experiment.lock import Lock
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
    while not path.read_bytes():
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()


def acquire(path, **options):
    with Lock(path, "it").held(**options):
        pass


def left_by(path, host: str) -> None:
    """What a program leaves that ended without a word."""
    record = {"host": host, "process": 17, "since": "2026-01-01", "count": 3}
    path.write_text(json.dumps(record))


def test_the_holder_is_named(path, other_program):
    with pytest.raises(InUse) as raised:
        acquire(path)
    named = f"it is in use by process {other_program.pid} on {socket.gethostname()}"
    assert named in str(raised.value)


def test_a_killed_holder_holds_nothing(path, other_program):
    other_program.send_signal(signal.SIGKILL)
    other_program.wait()
    began = time.monotonic()
    acquire(path)
    assert time.monotonic() - began < 5


def test_it_is_free_afterwards(path):
    for _ in range(2):
        acquire(path)


def test_sharing(path):
    with Lock(path, "it").held(shared=True):
        acquire(path, shared=True)
        with pytest.raises(InUse):
            acquire(path)
    acquire(path)


def test_nobody_shares_what_one_holds(path):
    with Lock(path, "it").held(), pytest.raises(InUse):
        acquire(path, shared=True)


def test_silent_holder_on_another_machine(path, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.2)
    left_by(path, "elsewhere")
    acquire(path)


def test_living_holder_on_another_machine(path, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_SECONDS", 5.0)
    left_by(path, "elsewhere")
    record = json.loads(path.read_text()) | {"count": 4}
    timer = threading.Timer(0.1, path.write_text, (json.dumps(record),))
    timer.start()
    with pytest.raises(InUse, match="process 17 on elsewhere"):
        acquire(path)
    timer.join()


def test_clocks_do_not_matter(path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    left_by(path, socket.gethostname())
    with Lock(path, "it").held(), pytest.raises(InUse):
        acquire(path)


def test_waiting_for_a_holder(path):
    order = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lock(path, "it").held())
        waiting = threading.Thread(
            target=lambda: (acquire(path, wait=True), order.append("second"))
        )
        waiting.start()
        time.sleep(0.1)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
