"""Writing files so that a reader finds the old content or the new, never a part."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".tmp"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


class WriteFailed(OSError):
    """A disk is full or fails; the message names what was to be written."""


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path` that takes its place when all is written.

    The content is on the disk before the name changes, so that a power cut leaves the
    old file or the new one. If the body raises, `path` stays as it was.
    """
    with (
        _replacing(Path(path), _new_file, 0o666) as temporary,
        temporary.open("wb") as file,
    ):
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Makes a temporary folder beside `path` that takes its place when all is written.

    If the body raises, nothing is left. An empty folder at `path` may be there before.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"'{path}' is there already. Choose another folder.")
    with _replacing(path, tempfile.mkdtemp, 0o777) as temporary:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            with file.open("r+b") as written:  # Windows syncs only what may be written.
                os.fsync(written.fileno())


def remove_temporaries(folder: str | os.PathLike) -> None:
    """Removes what killed programs left in a folder that nobody writes to now."""
    for path in Path(folder).glob(f".*{_TEMPORARY}"):
        _remove(path)


@contextlib.contextmanager
def _replacing(path: Path, make: Callable[..., str], mode: int) -> Iterator[Path]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(make(_TEMPORARY, f".{path.name}.", path.parent))
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(mode & ~umask)
            temporary.replace(path)
        except BaseException:
            _remove(temporary)
            raise
    except OSError as error:
        if error.errno not in _NO_ROOM or isinstance(error, WriteFailed):
            raise
        raise WriteFailed(
            f"'{path}' could not be written: {os.strerror(error.errno)}. What was there "
            "before is whole."
        ) from error


def _new_file(suffix: str, prefix: str, folder: Path) -> str:
    descriptor, name = tempfile.mkstemp(suffix, prefix, folder)
    os.close(descriptor)
    return name


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
