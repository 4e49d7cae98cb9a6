"""ImageNet (Russakovsky et al., 2015) and a subset of 200 of its classes.

The paper does not say which 200 classes it takes, and its authors' program draws them at
random anew for each copy. Here they are every fifth class in the order of WordNet ids,
which keeps the mixture of animals, plants and things.
"""

import dataclasses
from pathlib import Path

from official.data import presentation
from official.data.description import KNOWN, Description, check_known
from official.data.folders import find_images, parted_below
from official.data.images import EncodedImages, ImageSet
from official.data.presentation import Presentation
from official.data.tfds import PreparedSet

_EVERY = {"imagenet": 1, "imagenet200": 5}
_TFDS_NAME = "imagenet2012"


def load(name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
    """Finds the images; they are streamed."""
    return encoded(name, data_dir), presentation.large()


def describe(name: str, data_dir: str | None) -> Description:
    """Describes the set, or what `data_dir` holds of it."""
    known = KNOWN[name]
    if data_dir is None:
        return known
    if _has_folders(data_dir):
        images = encoded(name, data_dir)
        return known.of_size(len(images.train), len(images.test))
    sizes = _prepared(data_dir).sizes
    # How many images 200 of the classes have, only folders tell.
    return known.of_size(*sizes) if known.is_exact else known


def encoded(name: str, data_dir: str | None) -> ImageSet[EncodedImages]:
    """Finds the images in folders, or in the files of TensorFlow Datasets."""
    every = _EVERY[name]
    if data_dir is not None and _has_folders(data_dir):
        images = find_images(data_dir, every=every)
    else:
        whole = _prepared(data_dir).encoded()
        train, test = (_every_class(part, every) for part in (whole.train, whole.test))
        images = ImageSet(train, test, whole.class_names[::every])
    check_known(name, KNOWN[name].input_shape, len(images.class_names))
    return images


def _prepared(data_dir: str | None) -> PreparedSet:
    try:
        return PreparedSet(_TFDS_NAME, data_dir, download=False, tests=("validation",))
    except FileNotFoundError:
        below = data_dir and parted_below(Path(data_dir).expanduser())
        advice = (
            f"Did you mean {below}?"
            if below
            else "It cannot be downloaded without registration at https://image-net.org"
        )
        raise FileNotFoundError(
            f"No ImageNet in {data_dir or 'TensorFlow Datasets'}: neither train/ with a "
            f"folder per class, nor {_TFDS_NAME} as TensorFlow Datasets prepares it. "
            f"{advice}"
        ) from None


def _has_folders(data_dir: str) -> bool:
    return Path(data_dir, "train").expanduser().is_dir()


def _every_class(images: EncodedImages, every: int) -> EncodedImages:
    # A label below 0 stays, to be refused by its name.
    chosen = images.take((images.labels % every == 0) | (images.labels < 0))
    return dataclasses.replace(chosen, labels=chosen.labels // every)
