"""Sets kept as one file of arrays, which need no TensorFlow."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from official.data import describe, load
from official.data.images import DecodedImages, ImageSet, read_arrays, write_arrays
from tests.official.prepared import prepare, random_images

PIXELS = random_images(10, 32, 32, 3)
CLASSES = tuple(f"class {number}" for number in range(10))
TRAIN = DecodedImages(PIXELS[:6], np.arange(6))
TEST = DecodedImages(PIXELS[6:], np.arange(6, 10))


def test_the_file_of_a_set_is_read_in_its_place(tmp_path, no_network):
    write_arrays(tmp_path / "cifar10.npz", ImageSet(TRAIN, TEST, CLASSES))
    data = load("cifar10", data_dir=str(tmp_path))
    assert data.class_names == CLASSES
    np.testing.assert_array_equal(data.train.pixels, PIXELS[:6])
    np.testing.assert_array_equal(data.train.labels, range(6))
    assert data.split_size("test") == 4
    told = describe("cifar10", data_dir=str(tmp_path))
    assert (told.train_size, told.test_size) == (6, 4)


def test_it_is_read_in_place_of_the_prepared_set_by_its_other_name_too(tmp_path):
    splits = {"train": (PIXELS[6:], range(4)), "test": (PIXELS[6:], range(4))}
    prepare(tmp_path, "cifar10", "3.0.2", splits, list(CLASSES))
    write_arrays(tmp_path / "cifar10.npz", ImageSet(TRAIN, TEST, CLASSES))
    data = load("tfds:cifar10", data_dir=str(tmp_path))
    np.testing.assert_array_equal(data.train.pixels, PIXELS[:6])


def test_the_command_keeps_what_is_prepared(tmp_path):
    splits = {"train": (PIXELS[:6], range(6)), "test": (PIXELS[6:], range(6, 10))}
    prepare(tmp_path, "cifar10", "3.0.2", splits, list(CLASSES))
    command = [sys.executable, "-m", "official.data.array_file"]
    subprocess.run([*command, f"--data_dir={tmp_path}"], check=True, timeout=120)
    images = read_arrays(tmp_path / "cifar10.npz")
    np.testing.assert_array_equal(images.train.pixels, PIXELS[:6])
    np.testing.assert_array_equal(images.test.labels, TEST.labels)
    assert images.class_names == CLASSES


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            DecodedImages(PIXELS[6:], np.array([0, 10, 9, -1])),
            "The labels of the test split of 'cifar10' must be 0 to 9; .* Received: 10 "
            "for image 1, and 2 such labels in all",
        ),
        (replace(TEST, labels=np.arange(4) / 2), "Received: uint8 .* and float64 "),
        (replace(TEST, labels=np.arange(3)), r"Received: uint8 .* and int64 \(3,\)"),
        (replace(TEST, pixels=PIXELS[6:] / 255), "must be uint8 .* Received: float64"),
    ],
)
def test_what_are_no_images_or_labels_is_refused(tmp_path, test, message):
    write_arrays(tmp_path / "cifar10.npz", ImageSet(TRAIN, test, CLASSES))
    with pytest.raises(ValueError, match=message):
        load("cifar10", data_dir=str(tmp_path))


def test_the_classes_of_another_set_are_refused(tmp_path):
    write_arrays(tmp_path / "cifar100.npz", ImageSet(TRAIN, TEST, CLASSES))
    with pytest.raises(ValueError, match=r"cifar100 must be 100 classes .*: 10 classes"):
        load("cifar100", data_dir=str(tmp_path))


@pytest.mark.parametrize("content", ["truncated", "lacking", "text"])
def test_a_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "cifar10.npz"
    write_arrays(path, ImageSet(TRAIN, TEST, CLASSES))
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif content == "text":
        path.write_text("not a file of arrays")
    else:
        np.savez(path, train_pixels=PIXELS)
    with pytest.raises(OSError, match=r"cifar10\.npz' must hold the arrays train_images"):
        load("cifar10", data_dir=str(tmp_path))
