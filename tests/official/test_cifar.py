import json

import numpy as np
import pytest
import requests

from official.data import Augmentation, load, tfds_arrays

tf = pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
CLASSES = [f"class {number}" for number in range(10)]


def write_split(folder, split, indices):
    """Writes images as TensorFlow Datasets keeps them; returns the split's entry."""
    name = f"cifar10-{split}.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for index in indices:
            png = tf.io.encode_png(PIXELS[index]).numpy()
            features = {
                "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"id"])),
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[index])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return {
        "name": split,
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "shardLengths": [str(len(indices))],
        "numBytes": "0",
    }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with a CIFAR-10 of six training and four test images."""
    root = tmp_path_factory.mktemp("tensorflow_datasets")
    folder = root / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    info = {
        "name": "cifar10",
        "version": "3.0.2",
        "fileFormat": "tfrecord",
        "splits": [
            write_split(folder, "train", range(6)),
            write_split(folder, "test", range(6, 10)),
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "label.labels.txt").write_text("\n".join(CLASSES))
    return str(root)


@pytest.fixture
def no_network(monkeypatch):
    """Fails every request, and the test if a download is begun all the same."""

    def refuse(*arguments, **options):
        raise requests.ConnectionError("a long story\nof several lines")

    def download(*arguments, **options):
        pytest.fail("began a download without a network")

    monkeypatch.setattr(requests, "head", refuse)
    builder = tfds.core.DatasetBuilder
    monkeypatch.setattr(builder, "download_and_prepare", download)
    # `monkeypatch` would look at the class property, which reads files.
    url_infos = vars(builder)["url_infos"]
    builder.url_infos = {"https://example.org/set.tar": None}
    yield
    builder.url_infos = url_infos


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
    first, second = (tfds_arrays.read("cifar10", data_dir) for _ in range(2))
    assert first[0].images is second[0].images


def test_a_folder_without_the_set_is_named_in_one_line(tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as error:
        load("cifar100", data_dir=str(tmp_path))
    message = str(error.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "'cifar100'" in message and "dataset_info.json" in message
    assert message.endswith("https://example.org/set.tar cannot be reached")
