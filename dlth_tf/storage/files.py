"""Writing files so that a reader finds the old content or the new, never a part."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
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

    Raises:
        WriteFailed: the disk is full or fails.

    Example:

    >>> with atomic_write("table.md") as file:
    ...     file.write(b"| method |")
    """
    path = Path(path)
    with _full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(**_beside(path))
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Makes a temporary folder beside `path` that takes its place when all is written.

    If the body raises, nothing is left.

    Raises:
        ValueError: `path` is there already, and no empty folder.
        WriteFailed: the disk is full or fails.

    Example:

    >>> with atomic_folder("export") as folder:
    ...     (folder / "metadata.json").write_text("{}")
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"'{path}' is there already. Choose another folder.")
    with _full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(**_beside(path)))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            temporary.chmod(0o777 & ~_umask())
            temporary.replace(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def remove_temporaries(folder: str | os.PathLike) -> None:
    """Removes what programs that were killed while writing to a folder left there.

    Nobody must be writing to the folder meanwhile.
    """
    for path in Path(folder).glob(f".*{_TEMPORARY}"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _beside(path: Path) -> dict:
    """Where, and by what name, `tempfile` is to make something that becomes `path`."""
    return {"dir": path.parent, "prefix": f".{path.name}.", "suffix": _TEMPORARY}


@contextlib.contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM or isinstance(error, WriteFailed):
            raise
        raise WriteFailed(
            f"'{path}' could not be written: {os.strerror(error.errno)}. What was there "
            "before is whole."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
