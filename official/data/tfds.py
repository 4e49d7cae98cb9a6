"""Sets of TensorFlow Datasets as they lie prepared in a folder; any as `tfds:NAME`."""

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any

from absl import logging

from official.common.choices import nearest
from official.data import presentation
from official.data.description import Description
from official.data.images import DecodedImages, EncodedImages, ImageSet
from official.data.presentation import Presentation
from official.data.tfrecords import index_images

_PREFIX = "tfds:"
_TIMEOUT_SECONDS = 15
_TEST_SPLITS = ("test", "validation")


def load(name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
    """Loads `tfds:NAME`: decoded if its images are small, else to be streamed."""
    name = name.removeprefix(_PREFIX)
    prepared = PreparedSet(name, data_dir)
    images = sum(split.num_examples for split in prepared.info.splits.values())
    if presentation.fit_in_memory(images, prepared.image_shape):
        return decoded(name, data_dir), prepared.presentation()
    return prepared.encoded(*prepared.splits()), prepared.presentation()


def describe(name: str, data_dir: str | None) -> Description:
    """Describes a set that lies prepared in `data_dir`."""
    title = name.removeprefix(_PREFIX)
    prepared = PreparedSet(title, data_dir, download=False)
    train_size, test_size = prepared.sizes(*prepared.splits())
    shape, classes = prepared.presentation().input_shape, len(prepared.class_names)
    return Description(name, title, train_size, test_size, shape, classes)


def encoded(name: str, data_dir: str | None) -> ImageSet[EncodedImages]:
    """Finds the images in the files of a set that lies prepared in `data_dir`."""
    prepared = PreparedSet(name.removeprefix(_PREFIX), data_dir)
    return prepared.encoded(*prepared.splits())


@functools.cache
def decoded(name: str, data_dir: str | None) -> ImageSet[DecodedImages]:
    """Decodes a set whose images are all of one size, once per process.

    The stored order is kept, and the arrays are not to be written to.
    """
    prepared = PreparedSet(name, data_dir)
    train, test = map(prepared.decoded, prepared.splits())
    return ImageSet(train, test, prepared.class_names)


class PreparedSet:
    """A set that lies prepared in `data_dir`, or is downloaded to it.

    Raises:
        ValueError: TensorFlow Datasets knows no such set, or it is not one of images
            with one class each.
        FileNotFoundError: the set is not there and cannot be downloaded.
    """

    def __init__(self, name: str, data_dir: str | None, *, download: bool = True) -> None:
        # It is slow to import, and machines without TensorFlow do without it.
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        with _quiet():
            try:
                self._builder = tfds.builder(name, data_dir=data_dir)
            except tfds.core.DatasetNotFoundError:
                known = tfds.list_builders(with_community_datasets=False)
                near = nearest(re.split(r"[/:]", name)[0], known)
                hint = f" Did you mean {near!r}?" if near else ""
                raise ValueError(
                    f"Unknown dataset {name!r} of TensorFlow Datasets.{hint} "
                    "See https://www.tensorflow.org/datasets/catalog for those there are."
                ) from None
            is_there = self._builder.is_prepared()
        if not is_there:
            _prepare(self._builder, download)
        self.info = self._builder.info
        features = dict(self.info.features)
        image, label = features.get("image"), features.get("label")
        if not (
            isinstance(image, tfds.features.Image)
            and isinstance(label, tfds.features.ClassLabel)
        ):
            raise ValueError(
                f"Dataset {self._builder.name!r} does not have an 'image' with one class "
                f"as its 'label'. It has: {', '.join(features)}"
            )
        # Height and width are None if they differ.
        self.image_shape: tuple[Any, ...] = image.shape
        self.class_names: tuple[str, ...] = tuple(label.names)

    def presentation(self) -> Presentation:
        """How the images are shown."""
        height, width, channels = self.image_shape
        if presentation.is_small((height, width)):
            return presentation.small((height, width), channels)
        return presentation.large(channels)

    def splits(self) -> tuple[str, str]:
        """The names of the splits to train and test on: `test`, or else `validation`."""
        splits = self.info.splits
        found = [split for split in _TEST_SPLITS if split in splits]
        if not found or "train" not in splits:
            raise ValueError(
                f"Dataset {self._builder.name!r} must have the splits 'train', and "
                f"'test' or 'validation'. It has: {', '.join(splits)}"
            )
        return "train", found[0]

    def sizes(self, train: str, test: str) -> tuple[int, int]:
        """How many images two splits have."""
        splits = self.info.splits
        return splits[train].num_examples, splits[test].num_examples

    def decoded(self, split: str) -> DecodedImages:
        """The images of a split, decoded by TensorFlow."""
        pixels, labels = self._builder.as_dataset(
            split=split, batch_size=-1, shuffle_files=False, as_supervised=True
        )
        images = DecodedImages(pixels.numpy(), labels.numpy())
        images.pixels.flags.writeable = images.labels.flags.writeable = False
        return images

    def encoded(self, train: str, test: str) -> ImageSet[EncodedImages]:
        """The encoded images of two splits, in stored order."""
        if self.info.file_format.value != "tfrecord":
            raise ValueError(
                f"Dataset {self._builder.name!r} must be prepared as .tfrecord files to "
                f"be streamed. In {self._builder.data_dir} it is prepared as: "
                f"{self.info.file_format.value}"
            )
        files = [self.info.splits[split].filepaths for split in (train, test)]
        of_train, of_test = (index_images(list(map(str, paths))) for paths in files)
        return ImageSet(of_train, of_test, self.class_names)


def _prepare(builder: Any, download: bool) -> None:
    try:
        if not download:
            raise LookupError("it must be prepared first")
        _check_network(builder)
        builder.download_and_prepare(file_format="tfrecord")
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"No dataset {builder.name!r} in {builder.data_dir}, where "
            "TensorFlow Datasets keeps it as .tfrecord files beside a "
            f"dataset_info.json, and it could not be downloaded: {reason}"
        ) from error


def _check_network(builder: Any) -> None:
    """Asks the server once: TensorFlow Datasets would retry for minutes."""
    import requests  # comes with TensorFlow Datasets

    for url in list(builder.url_infos)[:1]:
        try:
            requests.head(url, timeout=_TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise ConnectionError(f"{url} cannot be reached") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that a folder which is yet to be made holds nothing."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
