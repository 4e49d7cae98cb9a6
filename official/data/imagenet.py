"""ImageNet (Russakovsky et al., 2015) and a subset of 200 of its classes.

The paper does not say which 200 classes it takes, and its authors' program draws them at
random anew for each copy. Here they are every fifth class in the order of WordNet ids,
which keeps the mixture of animals, plants and things.
"""

import dataclasses
from pathlib import Path

from official.data import presentation
from official.data.description import Description
from official.data.encoded_images import EncodedImages
from official.data.image_data import ImageData
from official.data.image_folders import ImageFolders, find_images, parted_below
from official.data.known import KNOWN, check_known
from official.data.streamed_data import streamed_data

_EVERY = {"imagenet": 1, "imagenet200": 5}
_TFDS_NAME = "imagenet2012"
_SPLITS = ("train", "validation")


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ImageData:
    """Loads `imagenet` or `imagenet200` from folders or from TensorFlow Datasets."""
    images = encoded(name, data_dir)
    return streamed_data(
        name,
        train=images.train,
        test=images.test,
        class_names=images.class_names,
        presentation=presentation.large(),
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )


def describe(name: str, data_dir: str | None) -> Description:
    """Describes the set, or what `data_dir` holds of it.

    How many images 200 of the classes have, only folders tell.
    """
    known = KNOWN[name]
    if data_dir is None:
        return known
    if _has_folders(data_dir):
        images = encoded(name, data_dir)
        sizes = {"train_size": len(images.train), "test_size": len(images.test)}
        return dataclasses.replace(known, **sizes, is_exact=True)
    parts = _builder(data_dir).info.splits
    if not known.is_exact:
        return known
    train, test = (parts[split].num_examples for split in _SPLITS)
    return dataclasses.replace(known, train_size=train, test_size=test)


def encoded(name: str, data_dir: str | None) -> ImageFolders:
    """Finds the images in folders, or in the files of TensorFlow Datasets."""
    if _has_folders(data_dir):
        images = find_images(data_dir, every=_EVERY[name])
    else:
        images = _records(_builder(data_dir), _EVERY[name])
    check_known(name, KNOWN[name].input_shape, len(images.class_names))
    return images


def _records(builder, every: int) -> ImageFolders:
    from official.data import tfds_any
    from official.data.tfds_builder import class_names

    train, test = (
        _every_class(tfds_any.split_of(builder, split), every) for split in _SPLITS
    )
    return ImageFolders(class_names(builder)[::every], train, test)


def _builder(data_dir: str | None):
    from official.data.tfds_builder import prepared_builder

    try:
        return prepared_builder(_TFDS_NAME, data_dir, download=False)
    except FileNotFoundError:
        below = data_dir and parted_below(Path(data_dir).expanduser())
        raise FileNotFoundError(
            f"No ImageNet in {data_dir or 'TensorFlow Datasets'}: neither train/ with a "
            f"folder per class, nor {_TFDS_NAME} as TensorFlow Datasets prepares it. "
            + (
                f"Did you mean {below}?"
                if below
                else "It cannot be downloaded without registration at "
                "https://image-net.org"
            )
        ) from None


def _has_folders(data_dir: str | None) -> bool:
    return data_dir is not None and Path(data_dir, "train").expanduser().is_dir()


def _every_class(images: EncodedImages, every: int) -> EncodedImages:
    # A label below 0 stays, to be refused by its name.
    chosen = images.take((images.labels % every == 0) | (images.labels < 0))
    return dataclasses.replace(chosen, labels=chosen.labels // every)
