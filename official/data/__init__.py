"""Image data sets by name.

A small set is decoded once, into arrays; a big one is read and decoded while training.
Either way `ImageData` makes normalised and augmented batches of it, and `feed` hands
them to `model.fit`.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from official.common import choose_open
from official.data.description import Description
from official.data.image_data import ImageData, image_data
from official.data.images import EncodedImages, ImageSet
from official.data.own import OwnSet
from official.data.presentation import Augmentation, Normalization
from official.data.splits import check_fraction

__all__ = [
    "DATASETS",
    "Augmentation",
    "Description",
    "ImageData",
    "Normalization",
    "check_name",
    "describe",
    "encoded",
    "load",
    "register",
]

# Each source is a module that is imported when one of its data sets is needed, with
# `load`, `encoded` and `describe`, all of `(name, data_dir)`; or it is an `OwnSet`.
_SOURCES: dict[str, Any] = {
    **dict.fromkeys(
        ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100"), "small_sets"
    ),
    "tiny_imagenet": "folders",
    **dict.fromkeys(("imagenet", "imagenet200"), "imagenet"),
    "tfds:NAME": "tfds",
    "folder:PATH": "folders",
}

DATASETS = _SOURCES.keys()


def register(name: str, arrays: Callable[[str | None], Any]) -> None:
    """Adds a data set, which `arrays(data_dir)` gives, called once for each `data_dir`.

    Args:
        name: its name from now on, in small letters.
        arrays: returns `(images, labels), (test_images, test_labels)`: pixels 0 to 255,
            `[images, height, width, 1 or 3]`, and labels from 0.

    Example:

        >>> from official import data
        >>> pixels, labels = np.full((20, 8, 8, 1), 200), np.arange(20) % 2
        >>> data.register("squares", lambda data_dir: ((pixels, labels),) * 2)
        >>> data.describe("squares").classes
        2
    """
    _SOURCES[name] = OwnSet(functools.cache(arrays))


def check_name(name: str) -> str:
    """Returns `name` if it is written like one of `DATASETS`, or raises `ValueError`."""
    choose_open("dataset", name, DATASETS)
    return name


def _source(name: str) -> Any:
    source = _SOURCES[choose_open("dataset", name, DATASETS)]
    if isinstance(source, str):
        return importlib.import_module(f"{__name__}.{source}")
    return source


def load(
    name: str,
    *,
    data_dir: str | None = None,
    train_examples: int | None = None,
    validation_fraction: float = 0.0,
    image_size: int | None = None,
) -> ImageData:
    """Loads the data set called `name`.

    Args:
        name: one of `DATASETS`: any classification set of TensorFlow Datasets
            (`tfds:beans`), or a folder of images (`folder:~/birds`, see
            `official.data.folders.find_images` for its layout) among them.
        data_dir: folder where the data lies. For a set of TensorFlow Datasets the one
            that holds, or is to hold, its copies; its own default if None. For
            `imagenet` and `tiny_imagenet` the set's own. `digits` needs none.
        train_examples: use only this many training images, the first in stored
            order.
        validation_fraction: part of these training images that is held out of
            training, the same images for every seed, in [0, 1).
        image_size: height and width that images are shown in. None: their own, or
            224 where they differ.

    Raises:
        ValueError: unknown name, a number outside its range, or other images, classes
            or labels than a set of this name has.
        FileNotFoundError: the data set is not where it should be, and it cannot be
            downloaded.

    Example:

        >>> from official.data import load
        >>> data = load("digits", validation_fraction=0.1)
        >>> images, labels = next(iter(data.train_batches(64, seed=0)))
        >>> images.shape
        (64, 8, 8, 1)
    """
    source = _source(name)
    if train_examples is not None and train_examples < 1:
        raise ValueError(
            "`train_examples` must be at least 1. "
            f"Received: train_examples={train_examples}"
        )
    check_fraction(validation_fraction)
    if image_size is not None:
        _check_size(image_size)
    images, presentation = source.load(name, data_dir)
    if image_size is not None:
        presentation = presentation.of_size(image_size)
    return image_data(
        name,
        images,
        presentation,
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )


def encoded(name: str, *, data_dir: str | None = None) -> ImageSet[EncodedImages] | None:
    """Finds the images of a set in their files, unread; None if it is always decoded."""
    return _source(name).encoded(name, data_dir)


def describe(
    name: str,
    *,
    data_dir: str | None = None,
    train_examples: int | None = None,
    validation_fraction: float = 0.0,
    image_size: int | None = None,
) -> Description:
    """Describes the data set called `name` without loading an image.

    Its files are counted, not read. Without `data_dir` a set with a name of its own
    need not be there. The arguments are those of `load`, and the sizes those of what it
    would return.

    Raises:
        ValueError: as for `load`.
        FileNotFoundError: the set is not in `data_dir`, and it cannot be downloaded.

    Example:

        >>> from official.data import describe
        >>> describe("imagenet").steps_per_epoch(256)
        5004
    """
    description = _source(name).describe(name, data_dir)
    if image_size is not None:
        _check_size(image_size)
        description = description.shown_as(image_size)
    return description.used(train_examples, validation_fraction)


def _check_size(image_size: int) -> None:
    if image_size < 1:
        raise ValueError(
            f"`image_size` must be at least 1. Received: image_size={image_size}"
        )
