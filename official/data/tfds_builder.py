"""Finding a set of TensorFlow Datasets, and downloading it where there is a network."""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from official.common.choices import nearest

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_TIMEOUT_SECONDS = 15
_TEST_SPLITS = ("test", "validation")


def prepared_builder(
    name: str, data_dir: str | None, *, download: bool = True
) -> "tfds.core.DatasetBuilder":
    """Returns the builder of a set that lies prepared in `data_dir`.

    Args:
        name: TensorFlow Datasets' name for it.
        data_dir: folder of prepared sets; None for `~/tensorflow_datasets`.
        download: whether to download and prepare it if it is not there.

    Raises:
        ValueError: TensorFlow Datasets knows no such set.
        FileNotFoundError: the set is not there and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with _quiet():
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            raise ValueError(_unknown(name)) from None
        is_there = builder.is_prepared()
    if not is_there:
        _prepare(builder, download)
    return builder


def class_names(builder: "tfds.core.DatasetBuilder") -> tuple[str, ...]:
    """Returns what the classes are called, by label.

    Raises:
        ValueError: the set is not one of images with one class each.
    """
    import tensorflow_datasets as tfds

    features = dict(builder.info.features)
    image, label = features.get("image"), features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
    ):
        raise ValueError(
            f"Dataset {builder.name!r} does not have an 'image' with one class as its "
            f"'label'. It has: {', '.join(features)}"
        )
    return tuple(label.names)


def test_split(builder: "tfds.core.DatasetBuilder") -> str:
    """Returns the name of the split to test on: `test`, or else `validation`.

    Raises:
        ValueError: the set has neither, or no `train` split.
    """
    splits = builder.info.splits
    found = [split for split in _TEST_SPLITS if split in splits]
    if not found or "train" not in splits:
        raise ValueError(
            f"Dataset {builder.name!r} must have the splits 'train', and 'test' or "
            f"'validation'. It has: {', '.join(splits)}"
        )
    return found[0]


def _prepare(builder, download: bool) -> None:
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


def _check_network(builder) -> None:
    """Asks the server once: TensorFlow Datasets would retry for minutes."""
    import requests

    for url in list(builder.url_infos)[:1]:
        try:
            requests.head(url, timeout=_TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise ConnectionError(f"{url} cannot be reached") from error


def _unknown(name: str) -> str:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    near = nearest(re.split(r"[/:]", name)[0], known)
    hint = f" Did you mean {near!r}?" if near else ""
    return (
        f"Unknown dataset {name!r} of TensorFlow Datasets.{hint} "
        "See https://www.tensorflow.org/datasets/catalog for those there are."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that a folder which is yet to be made holds nothing."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
