"""Sets of TensorFlow Datasets as they lie prepared in a folder; any as `tfds:NAME`."""

import functools
import re
from typing import Any

from absl import logging

from official.common import nearest
from official.data import presentation
from official.data.description import Description
from official.data.images import (
    DecodedImages,
    EncodedImages,
    ImageSet,
    array_path,
    read_arrays,
)
from official.data.presentation import Presentation
from official.data.tfrecords import index_images

_PREFIX = "tfds:"
_TIMEOUT_SECONDS = 15


def load(name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
    """Loads `tfds:NAME`: decoded if its images are small, else to be streamed."""
    name = name.removeprefix(_PREFIX)
    prepared = PreparedSet(name, data_dir)
    shown = prepared.presentation
    images = sum(split.num_examples for split in prepared.info.splits.values())
    if presentation.fit_in_memory(images, shown.input_shape):
        return arrays(name, data_dir), shown
    return prepared.encoded(), shown


def describe(name: str, data_dir: str | None) -> Description:
    """Describes a set that lies prepared in `data_dir`."""
    title = name.removeprefix(_PREFIX)
    prepared = PreparedSet(title, data_dir, download=False)
    shape, classes = prepared.presentation.input_shape, len(prepared.class_names)
    return Description(name, title, *prepared.sizes, shape, classes)


def encoded(name: str, data_dir: str | None) -> ImageSet[EncodedImages]:
    """Finds the images in the files of a set that lies prepared in `data_dir`."""
    return PreparedSet(name.removeprefix(_PREFIX), data_dir).encoded()


@functools.cache
def arrays(name: str, data_dir: str | None) -> ImageSet[DecodedImages]:
    """Reads a set whose images are all of one size, in stored order, once per process."""
    # Faster, and without TensorFlow
    if data_dir and array_path(name, data_dir).exists():
        return read_arrays(array_path(name, data_dir))
    return PreparedSet(name, data_dir).decoded()


class PreparedSet:
    """A set that lies prepared in `data_dir`, or is downloaded to it.

    Its test images are those of the first of the splits `tests` that it has. Raises
    `ValueError` if TensorFlow Datasets knows no such set, or it is not one of images
    with one class each; `FileNotFoundError` if it is not there.
    """

    def __init__(
        self,
        name: str,
        data_dir: str | None,
        *,
        download: bool = True,
        tests: tuple[str, ...] = ("test", "validation"),
    ) -> None:
        # It is slow to import, and machines without TensorFlow do without it.
        import tensorflow_datasets as tfds

        tfds.disable_progress_bar()
        # It warns that a folder which is yet to be made holds nothing.
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            self._builder = tfds.builder(name, data_dir=data_dir)
            is_there = self._builder.is_prepared()
        except tfds.core.DatasetNotFoundError:
            known = tfds.list_builders(with_community_datasets=False)
            near = nearest(re.split(r"[/:]", name)[0], known)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ValueError(
                f"Unknown dataset {name!r} of TensorFlow Datasets.{hint} "
                "See https://www.tensorflow.org/datasets/catalog for those there are."
            ) from None
        finally:
            logging.set_verbosity(verbosity)
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
        height, width, channels = image.shape
        self.presentation = presentation.fitting((height, width), channels)
        self.class_names: tuple[str, ...] = tuple(label.names)
        splits = self.info.splits
        found = [split for split in tests if split in splits]
        if not found or "train" not in splits:
            raise ValueError(
                f"Dataset {self._builder.name!r} must have the splits 'train', and "
                f"'test' or 'validation'. It has: {', '.join(splits)}"
            )
        self._splits = ("train", found[0])

    @property
    def sizes(self) -> tuple[int, int]:
        """How many images there are to train and test on."""
        train, test = (self.info.splits[split].num_examples for split in self._splits)
        return train, test

    def decoded(self) -> ImageSet[DecodedImages]:
        """The images, decoded by TensorFlow; the arrays are not to be written to."""
        train, test = map(self._decoded, self._splits)
        return ImageSet(train, test, self.class_names)

    def _decoded(self, split: str) -> DecodedImages:
        pixels, labels = self._builder.as_dataset(
            split=split, batch_size=-1, shuffle_files=False, as_supervised=True
        )
        images = DecodedImages(pixels.numpy(), labels.numpy())
        images.pixels.flags.writeable = images.labels.flags.writeable = False
        return images

    def encoded(self) -> ImageSet[EncodedImages]:
        """The encoded images, in stored order."""
        if self.info.file_format.value != "tfrecord":
            raise ValueError(
                f"Dataset {self._builder.name!r} must be prepared as .tfrecord files to "
                f"be streamed. In {self._builder.data_dir} it is prepared as: "
                f"{self.info.file_format.value}"
            )
        files = (self.info.splits[split].filepaths for split in self._splits)
        train, test = (index_images(list(map(str, paths))) for paths in files)
        return ImageSet(train, test, self.class_names)


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
