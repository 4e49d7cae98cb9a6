"""Saying who is waited for while workers first connect, and giving up some time.

TensorFlow waits for all of them in a call that holds the interpreter: meanwhile no thread
of this program runs, and no handler of a signal. So this file is a program too, which
looks from outside.
"""

import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TextIO

TELL_SECONDS = 30.0
GIVE_UP_SECONDS = 600.0
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0


@contextlib.contextmanager
def telling_of_missing_workers(
    hosts: Sequence[str], index: int, messages: TextIO | None = None
) -> Iterator[None]:
    """Names workers that do not answer while the body, which connects to them, runs.

    After `TELL_SECONDS` a line names them, and another one whenever they are others.
    After `GIVE_UP_SECONDS` this process is killed: nothing else ends TensorFlow's wait.
    Ctrl-C, and a SIGTERM to the whole process group, end it likewise.

    Args:
        hosts: addresses of all workers, `host:port`.
        index: which of them this process is.
        messages: a file of the system's to write to; None: the standard error.

    Example:

        >>> with telling_of_missing_workers(["a:8888", "b:8888"], index=0):
        ...     strategy = tf.distribute.MultiWorkerMirroredStrategy()
    """
    seconds = (str(TELL_SECONDS), str(GIVE_UP_SECONDS))
    command = [sys.executable, "-I", __file__, ",".join(hosts), str(index), *seconds]
    # The pipe tells the other program when this one dies.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def worker_names(hosts: Sequence[str], places: Sequence[int]) -> str:
    """Workers as a person knows them."""
    return ", ".join(f"worker {place} ({hosts[place]})" for place in places)


def answers(host: str) -> bool:
    """Whether a program listens at an address."""
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name, int(port)), _PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _missing(hosts: Sequence[str], index: int) -> list[int]:
    """The others that do not answer."""
    with ThreadPoolExecutor() as pool:
        here = list(pool.map(answers, hosts))
    return [i for i in range(len(hosts)) if i != index and not here[i]]


def _watch(hosts: list[str], index: int, tell: float, give_up: float) -> None:
    """Looks until it is killed, or the program that started it is dead."""
    program, began, told = os.getppid(), time.monotonic(), []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, functools.partial(_stop, program))
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        seconds = time.monotonic() - began
        if seconds < min(tell, give_up):
            continue
        missing = _missing(hosts, index)
        if seconds >= give_up:
            who = worker_names(hosts, missing) or "The others answer, but"
            advice = f"{worker_names(hosts, [index])} gives up. Start all workers again."
            _end(program, f"Error: {who} did not connect in {seconds:.0f} s; {advice}")
        if missing and missing != told:
            told = missing
            _say(f"Waiting for {worker_names(hosts, told)} to start.")


def _stop(program: int, number: int, frame) -> None:
    _end(program, f"Stopped by {signal.Signals(number).name}, before workers connected.")


def _end(program: int, message: str) -> NoReturn:
    """Kills the program that waits, unless it has ended by itself."""
    if os.getppid() == program:
        _say(message)
        os.kill(program, signal.SIGKILL)
    sys.exit()


def _say(message: str) -> None:
    """Without Python's buffer, which a signal's handler may find in use."""
    os.write(2, f"{message}\n".encode())


if __name__ == "__main__":
    _watch(sys.argv[1].split(","), int(sys.argv[2]), *map(float, sys.argv[3:]))
