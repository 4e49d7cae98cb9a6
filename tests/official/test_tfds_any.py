"""Any set of TensorFlow Datasets, made in a folder by a builder of its own."""

import itertools

import numpy as np
import pytest

from official.data import Augmentation, describe, load
from official.data.images import DecodedImages, EncodedImages
from tests.official.prepared import random_images

tfds = pytest.importorskip("tensorflow_datasets")


class _Made(tfds.core.GeneratorBasedBuilder):
    """Random images of three classes."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE = (None, None, 3)
    SIZE = (40, 50, 3)
    SPLITS = ("train", "test")

    def _info(self):
        features = {
            "label": tfds.features.ClassLabel(names=["x", "y", "z"]),
            "image": tfds.features.Image(shape=self.SHAPE),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples() for split in self.SPLITS}

    def _generate_examples(self):
        for number, image in enumerate(random_images(9, *self.SIZE)):
            yield number, {"image": image, "label": number % 3}


class MadeLarge(_Made):
    SPLITS = ("train", "validation")


class MadeSmall(_Made):
    SHAPE = SIZE = (16, 24, 3)


class MadeGrey(_Made):
    SHAPE = SIZE = (28, 28, 1)


class MadeUntested(_Made):
    SPLITS = ("train",)


class MadeWithoutLabel(_Made):
    def _info(self):
        features = {"image": tfds.features.Image(shape=self.SHAPE)}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _generate_examples(self):
        yield 0, {"image": random_images(1, 4, 4, 3)[0]}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("made"))
    for kind in (MadeLarge, MadeSmall, MadeGrey, MadeUntested, MadeWithoutLabel):
        kind(data_dir=root).download_and_prepare()
    return root


@pytest.mark.parametrize(
    ("name", "kind", "shape", "augmentation"),
    [
        ("made_large", EncodedImages, (224, 224, 3), Augmentation(flip=True)),
        ("made_small", DecodedImages, (16, 24, 3), Augmentation(pad=2, flip=True)),
        ("made_grey", DecodedImages, (28, 28, 1), Augmentation()),
    ],
)
def test_a_set_is_shown_as_its_images_are(
    data_dir, no_network, name, kind, shape, augmentation
):
    name = f"tfds:{name}"
    data = load(name, data_dir=data_dir)
    assert type(data.train) is kind
    assert data.input_shape == shape
    assert data.augmentation == augmentation
    assert data.class_names == ("x", "y", "z")
    assert (data.train_size, data.split_size("test")) == (9, 9)
    told = describe(name, data_dir=data_dir)
    assert (told.train_size, told.test_size, told.input_shape) == (9, 9, shape)
    images, _ = next(iter(data.train_batches(6, seed=0)))
    assert images.shape == (6, *shape)


def test_streamed_images_are_those_tensorflow_datasets_reads(data_dir, no_network):
    data = load("tfds:made_large", data_dir=data_dir)
    expected = tfds.load("made_large", data_dir=data_dir, split="train")
    for index, row in enumerate(tfds.as_numpy(expected)):
        np.testing.assert_array_equal(data.train.picture(index), row["image"])
        assert data.train.labels[index] == row["label"]


def test_what_does_not_fit_in_memory_streams_the_same_batches(data_dir, monkeypatch):
    decoded = load("tfds:made_grey", data_dir=data_dir)
    monkeypatch.setattr("official.data.presentation.MOST_BYTES_IN_MEMORY", 1000)
    streamed = load("tfds:made_grey", data_dir=data_dir)
    assert type(streamed.train) is EncodedImages
    for batch, other in itertools.islice(
        zip(
            *(data.train_batches(4, seed=0) for data in (decoded, streamed)),
            strict=False,
        ),
        5,
    ):
        for array, same in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("made_smal", "Unknown dataset 'made_smal' of .*Did you mean 'made_small'"),
        ("made_untested", "must have the splits 'train', and 'test'.* It has: train"),
        ("made_without_label", "does not have an 'image' with one class"),
    ],
)
def test_a_set_that_cannot_be_used_is_explained(data_dir, no_network, name, message):
    with pytest.raises(ValueError, match=message) as error:
        load(f"tfds:{name}", data_dir=data_dir)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("act", [load, describe])
def test_a_set_that_is_not_there_is_named_in_one_line(tmp_path, no_network, act):
    with pytest.raises(FileNotFoundError, match=r"No dataset 'made_small' in ") as error:
        act("tfds:made_small", data_dir=str(tmp_path))
    assert "\n" not in str(error.value)
