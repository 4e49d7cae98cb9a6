"""One program at a time on a folder or a stage, also on a shared file system.

A lock is the operating system's own (`flock`, by way of filelock): it ends with the
process that holds it, however that ends. Its file names the holder, for people.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_LONGEST_NAME = 1000


class InUse(Exception):
    """Another program holds a lock; the message names it."""


class Lock:
    """A lock on what a file stands for, which a person calls `what`."""

    def __init__(self, path: Path, what: str):
        self._path, self._what = path, what

    @contextlib.contextmanager
    def held(self, wait: float = 0.0, needed: bool = True) -> Iterator[str]:
        """Holds the lock; gives what a person should know of it, which mostly is nothing.

        Args:
            wait: so many seconds for its holder to finish; then raises `InUse`.
            needed: whether to fail where the file system has no locks; otherwise the
                body runs without.
        """
        notes = []
        lock = FileLock(
            self._path,
            timeout=wait,
            fallback_to_soft=False,
            on_acquired=lambda file: notes.append(self._sign(file)),
        )
        try:
            lock.acquire()
        except Timeout:
            holder = self._path.read_text(errors="replace") or "another program"
            raise InUse(f"{self._what} is in use by {holder}") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
            why = (
                f"{self._what} can't be locked: its file system has no locks "
                f"({os.strerror(error.errno or 0)})."
            )
            if needed:
                raise OSError(
                    f"{why} Programs that share a folder need them: choose one elsewhere."
                ) from None
            yield f"{why} Nothing keeps a second program off it: start none."
            return
        try:
            yield notes[0]
        finally:
            with contextlib.suppress(OSError):
                os.truncate(self._path, 0)
            lock.release()

    def _sign(self, file: int) -> str:
        """Writes who holds the lock; returns what to think of one who did not leave."""
        host = f" on {socket.gethostname()}, since "
        left = os.pread(file, _LONGEST_NAME, 0).decode(errors="replace")
        # On a full disk the name is missing; the lock holds all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            os.pwrite(file, f"process {os.getpid()}{host}{now}".encode(), 0)
            os.fsync(file)
        if not left or host in left:
            return ""
        return (
            f"{self._what} was held by {left}, which left without a word. If it still "
            "runs, machines do not know of each other's locks here: end one of the two."
        )
