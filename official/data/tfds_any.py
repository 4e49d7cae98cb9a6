"""Any classification set of TensorFlow Datasets: `tfds:NAME`."""

import math

from official.data import presentation, tfds_arrays
from official.data.array_data import image_data
from official.data.description import Description
from official.data.encoded_images import EncodedImages
from official.data.image_data import ImageData
from official.data.image_folders import ImageFolders
from official.data.streamed_data import MOST_BYTES_IN_MEMORY, streamed_data
from official.data.tfds_builder import class_names, prepared_builder, test_split
from official.data.tfrecords import index_images

PREFIX = "tfds:"


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ImageData:
    """Loads `tfds:NAME`: decoded if its images are small, else streamed."""
    tfds_name = name.removeprefix(PREFIX)
    builder = prepared_builder(tfds_name, data_dir)
    shown = _presentation(builder)
    arguments = {
        "train_examples": train_examples,
        "validation_fraction": validation_fraction,
    }
    if _fits_in_memory(builder):
        train, test, names = tfds_arrays.read(tfds_name, data_dir)
        return image_data(
            name,
            train=train,
            test=test,
            class_names=names,
            normalization=shown.normalization,
            augmentation=shown.augmentation,
            **arguments,
        )
    images = encoded(name, data_dir)
    return streamed_data(
        name,
        train=images.train,
        test=images.test,
        class_names=images.class_names,
        presentation=shown,
        **arguments,
    )


def describe(name: str, data_dir: str | None) -> Description:
    """Describes a set that lies prepared in `data_dir`."""
    tfds_name = name.removeprefix(PREFIX)
    builder = prepared_builder(tfds_name, data_dir, download=False)
    splits = builder.info.splits
    return Description(
        name=name,
        title=tfds_name,
        train_size=splits["train"].num_examples,
        test_size=splits[test_split(builder)].num_examples,
        input_shape=_presentation(builder).input_shape,
        classes=len(class_names(builder)),
    )


def encoded(name: str, data_dir: str | None) -> ImageFolders:
    """Finds the images in the files of a set that lies prepared in `data_dir`."""
    builder = prepared_builder(name.removeprefix(PREFIX), data_dir)
    return ImageFolders(
        class_names(builder),
        split_of(builder, "train"),
        split_of(builder, test_split(builder)),
    )


def split_of(builder, split: str) -> EncodedImages:
    """Returns the encoded images of a split, in stored order.

    Raises:
        ValueError: the set was prepared in another format than TFRecord.
    """
    info = builder.info
    if info.file_format.value != "tfrecord":
        raise ValueError(
            f"Dataset {builder.name!r} must be prepared as .tfrecord files to be "
            f"streamed. In {builder.data_dir} it is prepared as: {info.file_format.value}"
        )
    return index_images([str(path) for path in info.splits[split].filepaths])


def _presentation(builder) -> presentation.Presentation:
    class_names(builder)
    *size, channels = builder.info.features["image"].shape
    if presentation.is_small(size):
        return presentation.small(tuple(size), channels)
    return presentation.large(channels)


def _fits_in_memory(builder) -> bool:
    *size, channels = builder.info.features["image"].shape
    images = sum(split.num_examples for split in builder.info.splits.values())
    return presentation.is_small(size) and (
        images * math.prod(size) * channels <= MOST_BYTES_IN_MEMORY
    )
