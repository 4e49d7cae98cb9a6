"""Sets kept as one file of arrays, which need no TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from official.data import array_file, load
from official.data.array_data import LabelledImages
from tests.official.prepared import prepare, random_images

PIXELS = random_images(10, 32, 32, 3)
CLASSES = tuple(f"class {number}" for number in range(10))
TRAIN = LabelledImages(PIXELS[:6], np.arange(6))
TEST = LabelledImages(PIXELS[6:], np.arange(6, 10))


def test_the_file_of_a_set_is_read_in_its_place(tmp_path, no_network):
    array_file.write(tmp_path / "cifar10.npz", (TRAIN, TEST, CLASSES))
    data = load("cifar10", data_dir=str(tmp_path))
    assert data.class_names == CLASSES
    np.testing.assert_array_equal(data.train.images, PIXELS[:6])
    np.testing.assert_array_equal(data.train.labels, range(6))
    assert data.split_size("test") == 4


def test_the_command_keeps_what_is_prepared(tmp_path):
    splits = {"train": (PIXELS[:6], range(6)), "test": (PIXELS[6:], range(6, 10))}
    prepare(tmp_path, "cifar10", "3.0.2", splits, list(CLASSES))
    command = [sys.executable, "-m", "official.data.array_file"]
    subprocess.run([*command, f"--data_dir={tmp_path}"], check=True, timeout=120)
    train, test, class_names = array_file.read(tmp_path / "cifar10.npz")
    np.testing.assert_array_equal(train.images, PIXELS[:6])
    np.testing.assert_array_equal(test.labels, TEST.labels)
    assert class_names == CLASSES


@pytest.mark.parametrize("content", ["truncated", "lacking", "text"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "cifar10.npz"
    array_file.write(path, (TRAIN, TEST, CLASSES))
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif content == "text":
        path.write_text("not a file of arrays")
    else:
        np.savez(path, train_images=PIXELS)
    with pytest.raises(OSError, match=r"cifar10\.npz' must hold the arrays train_images"):
        load("cifar10", data_dir=str(tmp_path))
