"""All images of a set read once, to find those that cannot be."""

import subprocess
import sys

import pytest

from official.data.check import unreadable
from tests.official.prepared import prepare, random_images, write_classes, write_images


@pytest.fixture
def damaged(tmp_path):
    """A folder of twelve images, of which two are damaged, one a first of its class."""
    for split in ("train", "test"):
        write_classes(tmp_path / split, {"a": 3, "b": 3}, 120, 120, 3)
    first, other = tmp_path / "train/b/000.png", tmp_path / "test/a/001.png"
    first.write_bytes(first.read_bytes()[:5000])
    other.write_bytes(b"not an image")
    return tmp_path, first, other


def test_every_damaged_image_is_listed(damaged):
    root, first, other = damaged
    command = [sys.executable, "-m", "official.data.check"]
    done = subprocess.run(
        [*command, f"--dataset=folder:{root}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    one, two, last = done.stdout.splitlines()
    assert one.startswith(f"{first} is an image that cannot be read: ")
    assert two == f"{other} is no image"
    assert last == "2 images cannot be read"
    assert "6 of 6 images read" in done.stderr


def test_a_small_image_of_another_size_is_listed(tmp_path):
    write_classes(tmp_path, {"a": 5}, 16, 16, 3)
    images = [*random_images(4, 16, 16, 3), random_images(1, 9, 8, 3)[0]]
    write_images(tmp_path / "b", images)
    (message,) = unreadable(f"folder:{tmp_path}")
    assert message.endswith("16x16. Received: 9x8") and "b/004.png" in message


def test_records_are_read_too(tmp_path, no_network):
    pytest.importorskip("tensorflow_datasets")
    images = random_images(3, 100, 120, 3)
    splits = dict.fromkeys(("train", "validation"), (images, [0, 1, 2]))
    folder = prepare(tmp_path, "imagenet2012", "5.1.0", splits, [])
    assert not list(unreadable("imagenet", str(tmp_path)))
    (path,) = folder.glob("*validation*")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"IDAT", b"IDOT", 1))
    (message,) = unreadable("imagenet", str(tmp_path))
    assert f"{path}, from byte" in message


def test_what_loading_refuses_is_refused(tmp_path):
    assert not list(unreadable("digits"))
    with pytest.raises(FileNotFoundError, match=r"No folder .*nowhere"):
        list(unreadable(f"folder:{tmp_path}/nowhere"))
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        list(unreadable("digit"))
