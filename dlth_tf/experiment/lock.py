"""One program at a time on a folder or a stage, also on a shared file system.

A lock is the operating system's own (`flock`), which ends with the process that holds
it, however that ends. Its file names the holder and carries a count that the holder
raises again and again. This is for machines whose file system does not tell each other
of locks, or has not yet noticed that one of them died: a holder on another machine whose
count stands still for a while is taken to be gone. Nobody's clock is compared with
another's.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


class InUse(Exception):
    """Another program holds a lock; the message names it."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lock; `since` is the time on its own clock, for people."""

    host: str
    process: int
    since: str

    @classmethod
    def this_program(cls) -> "Holder":
        return cls(socket.gethostname(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"))

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}"


class Lock:
    """A lock on what a file stands for.

    Args:
        path: the file; its folder must be there.
        what: what a person calls that which is locked.
    """

    def __init__(self, path: Path, what: str):
        self._path = path
        self._what = what

    @contextlib.contextmanager
    def held(self, shared: bool = False, wait: bool = False) -> Iterator[None]:
        """Holds the lock.

        Args:
            shared: together with others that share it.
            wait: for its holder to finish.

        Raises:
            InUse: another program holds it.
        """
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
            self._acquire(file, shared, wait)
            over = threading.Event()
            beating = threading.Thread(target=_beat, args=(file, over), daemon=True)
            beating.start()
            try:
                yield
            finally:
                over.set()
                beating.join()
                file.truncate(0)

    def _acquire(self, file: BinaryIO, shared: bool, wait: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        told_by_system = True
        try:
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use() from None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
            told_by_system = False
        holder = _holder(self._path.read_bytes())
        here = Holder.this_program()
        if holder is None or shared or (told_by_system and holder.host == here.host):
            return
        if self._beats():
            raise self._in_use()

    def _beats(self) -> bool:
        """Whether the count is raised while we look."""
        before = self._path.read_bytes()
        end = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < end:
            time.sleep(min(1.0, SILENCE_SECONDS))
            if self._path.read_bytes() != before:
                return True
        return False

    def _in_use(self) -> InUse:
        holder = _holder(self._path.read_bytes())
        return InUse(f"{self._what} is in use by {holder or 'another program'}")


def _holder(content: bytes) -> Holder | None:
    try:
        record = json.loads(content)
        return Holder(record["host"], record["process"], record["since"])
    except (ValueError, KeyError, TypeError):
        return None


def _beat(file: BinaryIO, over: threading.Event) -> None:
    """Says who holds the lock, with a count that is raised until it is over."""
    record = dataclasses.asdict(Holder.this_program())
    count = 0
    while True:
        content = json.dumps(record | {"count": count}).encode()
        # On a full disk the name is missing; the system's lock holds all the same.
        with contextlib.suppress(OSError):
            file.seek(0)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if over.wait(BEAT_SECONDS):
            return
        count += 1
