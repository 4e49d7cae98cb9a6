"""Naming workers that do not come, and those that are gone.

While workers first connect, TensorFlow waits for all of them in a call that holds the
interpreter: meanwhile no thread of this program runs, and no handler of a signal. So this
file is a program too, which looks from outside, and starts fast: it imports nothing that
is not Python's own.
"""

import contextlib
import os
import re
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

# The errors, in `tf.errors`, of an operation that waited for another worker
_ERRORS = (
    *("UnavailableError", "AbortedError", "InternalError", "CancelledError"),
    *("FailedPreconditionError", "DeadlineExceededError"),
)


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
    """
    try:
        yield
    except Exception as error:
        lost = _lost(error, hosts, index) if len(hosts) > 1 else []
        if not lost:
            raise
        raise DeadWorker(
            f"{_names(hosts, lost)} ended before the training was done, as "
            f"{_names(hosts, [index])} noticed. Start all workers again: they go "
            "on from the last checkpoint."
        ) from None


def _lost(error: Exception, hosts: Sequence[str], index: int) -> list[int]:
    """The workers that an error is about; none if it is about something else."""
    if not any(kind.__name__ in _ERRORS for kind in type(error).__mro__):
        return []
    named = {int(place) for place in re.findall(r"/task:(\d+)", str(error))}
    # Workers that noticed earlier have ended too, and an error tells of the last as often
    # as of the first. One that a launcher has started again by now answers already.
    return _silent(hosts, index) or sorted(
        named.intersection(range(len(hosts))) - {index}
    )


@contextlib.contextmanager
def telling_of_missing_workers(
    hosts: Sequence[str], index: int, messages: TextIO | None = None
) -> Iterator[None]:
    """Names workers that do not answer while the body, which connects to them, runs.

    After `TELL_SECONDS` a line names them, and another one whenever they are others.
    After `GIVE_UP_SECONDS` this process is killed: nothing else ends TensorFlow's wait.
    Ctrl-C, and a SIGTERM to the whole process group, end it likewise. The lines go to
    `messages`, a file of the system's, or to the standard error.
    """
    seconds = (str(TELL_SECONDS), str(GIVE_UP_SECONDS))
    command = [sys.executable, "-I", __file__, ",".join(hosts), str(index), *seconds]
    # The pipe tells the other program when this one dies.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _names(hosts: Sequence[str], places: Sequence[int]) -> str:
    """Workers as a person knows them."""
    return ", ".join(f"worker {place} ({hosts[place]})" for place in places)


def _silent(hosts: Sequence[str], index: int) -> list[int]:
    """The others that do not answer."""
    others = [place for place in range(len(hosts)) if place != index]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(_answers, (hosts[place] for place in others)))
    return [place for place, here in zip(others, answers, strict=True) if not here]


def _answers(host: str) -> bool:
    """Whether a program listens at an address."""
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name, int(port)), _PATIENCE_SECONDS).close()
    except OSError:
        return False
    return True


def _watch(hosts: list[str], index: int, tell: float, give_up: float) -> None:
    """Looks until it is killed, or the program that started it is dead."""
    program, began = os.getppid(), time.monotonic()
    told: list[int] = []

    def stop(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        _end(program, f"Stopped by {name}, before workers connected.")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        seconds = time.monotonic() - began
        if seconds < min(tell, give_up):
            continue
        missing = _silent(hosts, index)
        if seconds >= give_up:
            who = _names(hosts, missing) or "The others answer, but"
            advice = f"{_names(hosts, [index])} gives up. Start all workers again."
            _end(program, f"Error: {who} did not connect in {seconds:.0f} s; {advice}")
        if missing and missing != told:
            told = missing
            _say(f"Waiting for {_names(hosts, told)} to start.")


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
