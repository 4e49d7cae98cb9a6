"""Decoding a set of TensorFlow Datasets into arrays."""

import functools

from official.data.array_data import LabelledImages
from official.data.tfds_builder import class_names, prepared_builder, test_split


@functools.cache
def read(
    name: str, data_dir: str | None
) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """Reads a classification set whose images are all of one size.

    The stored order is kept. A set that lies prepared in `data_dir` is read without
    the network; otherwise TensorFlow Datasets downloads it there. A set is decoded
    once per process.

    Args:
        name: TensorFlow Datasets' name for it.
        data_dir: folder of prepared sets; None for `~/tensorflow_datasets`.

    Returns:
        Training images, test images (uint8, not to be written to), class names.

    Raises:
        FileNotFoundError: the set is not there and cannot be downloaded.
    """
    builder = prepared_builder(name, data_dir)
    names = class_names(builder)
    return _split(builder, "train"), _split(builder, test_split(builder)), names


def _split(builder, split: str) -> LabelledImages:
    images, labels = builder.as_dataset(
        split=split, batch_size=-1, shuffle_files=False, as_supervised=True
    )
    arrays = LabelledImages(images.numpy(), labels.numpy())
    for array in arrays:
        array.flags.writeable = False
    return arrays
