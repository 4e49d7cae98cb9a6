"""Workers that do not come are named, and the wait for them ends."""

import fcntl
import os
import signal
import socket
import subprocess
import time

import pytest

from tests.distribution.processes import finish, free_hosts, python
from tests.distribution.test_program import TASK, addresses

# Deaf to signals, as TensorFlow makes a program that connects.
CONNECTING = """
import os, signal, sys, time
from official.distribution import missing_workers
os.setsid()
signal.signal(signal.SIGINT, lambda *_: None)
missing_workers.TELL_SECONDS, missing_workers.GIVE_UP_SECONDS = 0.1, float(sys.argv[2])
with missing_workers.telling_of_missing_workers(sys.argv[1].split(","), index=0):
    time.sleep(float(sys.argv[3]))
"""

# The standard error of its libraries is turned off, as it is for people.
PROGRAM = """
import os, sys
from official.distribution import missing_workers
missing_workers.GIVE_UP_SECONDS = float(sys.argv.pop(1))
del os.environ["TF_CPP_MIN_LOG_LEVEL"]
from dlth_tf import train
train.run()
"""


def connecting(hosts, *, give_up: float, connected: float, stderr=subprocess.PIPE):
    arguments = ",".join(hosts), str(give_up), str(connected)
    return python("-c", CONNECTING, *arguments, stderr=stderr)


def program(folder, hosts, index, give_up: float):
    arguments = [*TASK, f"--output_dir={folder}", *addresses(hosts, index)]
    return python("-c", PROGRAM, str(give_up), *arguments)


def wait_for_line(process) -> str:
    return process.stderr.readline().strip()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_only_a_worker_that_does_not_answer_is_named(listening):
    mine, missing = free_hosts(2)
    process = connecting([mine, listening, missing], give_up=60, connected=4)
    _, errors = process.communicate(timeout=60)
    assert errors == f"Waiting for worker 2 ({missing}) to start.\n"
    assert process.returncode == 0


def test_the_wait_ends_with_a_line():
    hosts = free_hosts(2)
    process = connecting(hosts, give_up=2, connected=100)
    _, errors = process.communicate(timeout=60)
    last = errors.splitlines()[-1]
    assert last.startswith(f"Error: worker 1 ({hosts[1]}) did not connect in ")
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_ends_a_program_that_is_deaf_to_it():
    process = connecting(free_hosts(2), give_up=100, connected=100)
    assert "Waiting" in wait_for_line(process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors == "Stopped by SIGINT, before workers connected.\n"
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_ends_it_in_the_middle_of_a_line():
    reading, writing = os.pipe()
    os.write(writing, b"-" * fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096))
    process = connecting(free_hosts(2), give_up=100, connected=20, stderr=writing)
    os.close(writing)
    time.sleep(3)  # Until it writes, which it can't, as nobody reads.
    os.killpg(process.pid, signal.SIGINT)
    with open(reading) as errors:
        assert errors.read().endswith("Stopped by SIGINT, before workers connected.\n")
    assert process.wait(60) == -signal.SIGKILL


@pytest.mark.long
def test_a_worker_that_comes_late_is_waited_for_by_name(tmp_path):
    hosts = free_hosts(2)
    chief = program(tmp_path, hosts, 0, give_up=600)
    began = time.monotonic()
    assert wait_for_line(chief) == f"Waiting for worker 1 ({hosts[1]}) to start."
    print(f"Told after {time.monotonic() - began:.0f} s")
    other = program(tmp_path, hosts, 1, give_up=600)
    finish(chief)
    finish(other)


@pytest.mark.long
def test_a_chief_that_never_comes_is_given_up(tmp_path):
    hosts = free_hosts(2)
    other = program(tmp_path, hosts, 1, give_up=35)
    _, errors = other.communicate(timeout=300)
    waiting, error = errors.splitlines()
    assert waiting == f"Waiting for worker 0 ({hosts[0]}) to start."
    assert error.startswith(f"Error: worker 0 ({hosts[0]}) did not connect in 35 s")
    assert other.returncode == -signal.SIGKILL
