"""Decoding a TensorFlow Datasets set into arrays."""

import functools

from official.data.array_data import LabelledImages

_TIMEOUT_SECONDS = 15


@functools.cache
def read(
    name: str, data_dir: str | None
) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """Reads a classification set whose images are all of one size.

    The stored order is kept. A set that lies prepared in `data_dir` is read without
    the network; otherwise TensorFlow Datasets downloads it there. A set is decoded
    once per process.

    Args:
        name: TensorFlow Datasets' name for it, with splits `train` and `test`.
        data_dir: folder of prepared sets; None for `~/tensorflow_datasets`.

    Returns:
        Training images, test images (uint8, not to be written to), class names.

    Raises:
        FileNotFoundError: the set is not there and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        _download(builder)
    class_names = tuple(builder.info.features["label"].names)
    return _split(builder, "train"), _split(builder, "test"), class_names


def _download(builder) -> None:
    try:
        _check_network(builder)
        builder.download_and_prepare()
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"No dataset {builder.name!r} in {builder.data_dir}, where "
            "TensorFlow Datasets keeps it as .tfrecord files beside a "
            f"dataset_info.json, and it could not be downloaded: {reason}"
        ) from error


def _check_network(builder) -> None:
    """Asks the server once: TensorFlow Datasets would retry for minutes."""
    import requests

    for url in list(builder.url_infos)[:1]:
        try:
            requests.head(url, timeout=_TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise ConnectionError(f"{url} cannot be reached") from error


def _split(builder, split: str) -> LabelledImages:
    images, labels = builder.as_dataset(
        split=split, batch_size=-1, shuffle_files=False, as_supervised=True
    )
    arrays = LabelledImages(images.numpy(), labels.numpy())
    for array in arrays:
        array.flags.writeable = False
    return arrays
