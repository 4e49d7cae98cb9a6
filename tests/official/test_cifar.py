import numpy as np
import pytest

from official.data import Augmentation, load, tfds
from tests.official.prepared import prepare, random_images

pytest.importorskip("tensorflow_datasets")

PIXELS = random_images(10, 32, 32, 3)
CLASSES = [f"class {number}" for number in range(10)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with a CIFAR-10 of six training and four test images."""
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    splits = {"train": (PIXELS[:6], range(6)), "test": (PIXELS[6:], range(6, 10))}
    prepare(root, "cifar10", "3.0.2", splits, CLASSES)
    return str(root)


def test_a_prepared_folder_is_read_in_stored_order(data_dir, no_network):
    data = load("cifar10", data_dir=data_dir)
    (images, labels), *rest = data.evaluation_batches("test", 10)
    assert not rest
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (PIXELS[6:] / 255 - mean) / std
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)
    assert labels.tolist() == [6, 7, 8, 9]


def test_training_images_have_the_papers_augmentation(data_dir, no_network):
    data = load("cifar10", data_dir=data_dir, train_examples=5)
    assert data.train_size == 5
    assert data.augmentation == Augmentation(pad=4, flip=True)
    assert data.class_names == tuple(CLASSES)


def test_images_are_decoded_once(data_dir, no_network):
    first, second = (tfds.arrays("cifar10", data_dir) for _ in range(2))
    assert first.train.pixels is second.train.pixels


def test_a_folder_without_the_set_is_named_in_one_line(tmp_path, no_network, caplog):
    with pytest.raises(FileNotFoundError) as error:
        load("cifar100", data_dir=str(tmp_path))
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "'cifar100'" in message and "dataset_info.json" in message
    assert message.endswith("https://example.org/set.tar cannot be reached")
    assert not caplog.records
