"""Decoding a set of TensorFlow Datasets into arrays, or reading those kept before."""

import functools

from official.data import array_file
from official.data.array_data import LabelledImages
from official.data.tfds_builder import class_names, prepared_builder, test_split


@functools.cache
def read(name: str, data_dir: str | None) -> array_file.Arrays:
    """Reads a classification set whose images are all of one size.

    The stored order is kept. A file of arrays in `data_dir` comes first: it needs no
    TensorFlow (see `official.data.array_file`). A set that lies prepared there is read
    without the network; otherwise TensorFlow Datasets downloads it. A set is decoded
    once per process.

    Args:
        name: TensorFlow Datasets' name for it.
        data_dir: folder of prepared sets; None for `~/tensorflow_datasets`.

    Returns:
        Training images, test images (uint8, not to be written to), class names.

    Raises:
        FileNotFoundError: the set is not there and cannot be downloaded.
    """
    kept = array_file.array_file(name, data_dir or ".")
    if data_dir and kept.exists():
        return array_file.read(kept)
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
