"""Files are written as a whole, whatever happens meanwhile."""

import errno
import os

import pytest

from dlth_tf.files import (
    WriteFailed,
    atomic_folder,
    atomic_write,
    remove_temporaries,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("before")
    return path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_leaves_the_file_and_is_named(path, monkeypatch, number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteFailed) as raised, atomic_write(path) as file:
        file.write(b"after")
    assert str(raised.value) == (
        f"'{path}' could not be written: {os.strerror(number)}. What was there before is "
        "whole."
    )
    assert path.read_text() == "before"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_whose_files_a_disk_refuses_is_not_there(path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    folder = path.parent / "export"
    with pytest.raises(WriteFailed, match="export"), atomic_folder(folder) as temporary:
        (temporary / "variables").mkdir()
        (temporary / "variables" / "index").touch()
    assert list(path.parent.iterdir()) == [path]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o026)
    try:
        with atomic_folder(tmp_path / "new" / "folder") as folder:
            (folder / "index").touch()
        with atomic_write(tmp_path / "below" / "file") as file:
            file.write(b"after")
        assert os.umask(0o026) == 0o026
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o751
    assert (tmp_path / "below" / "file").stat().st_mode & 0o777 == 0o640


def test_other_errors_are_left_alone(path):
    with pytest.raises(PermissionError), atomic_write(path):
        raise PermissionError(errno.EACCES, "not yours")
    assert path.read_text() == "before"


def test_a_folder_with_something_in_it_is_not_replaced(path):
    with pytest.raises(ValueError, match="is there already"), atomic_folder(path.parent):
        pass
    assert path.read_text() == "before"
    (path.parent / "empty").mkdir()
    with atomic_folder(path.parent / "empty") as folder:
        (folder / "export").write_text("after")
    assert (path.parent / "empty" / "export").read_text() == "after"


def test_what_killed_programs_left_is_removed(path, tmp_path):
    for writing in (atomic_write(path), atomic_folder(tmp_path / "export")):
        writing.__enter__()  # and nothing more, as when a program is killed
        assert len(list(tmp_path.iterdir())) == 2
        remove_temporaries(tmp_path)
        assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append(os.fstat(file).st_size))
    with atomic_write(tmp_path / "table.md") as file:
        file.write(b"| method |")
    assert sizes == [10]
