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
from official.data.image_folders import ImageFolders, find_images
from official.data.known import KNOWN
from official.data.streamed_data import streamed_data

_EVERY = {"imagenet": 1, "imagenet200": 5}
_TFDS_NAME = "imagenet2012"


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ImageData:
    """Loads `imagenet` or `imagenet200` from folders or from TensorFlow Datasets."""
    images = _images(name, data_dir)
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
    """Describes the set; how many images the 200 classes have, its folders tell."""
    known = KNOWN[name]
    if known.is_exact or not _has_folders(data_dir):
        return known
    size = len(_images(name, data_dir).train)
    return dataclasses.replace(known, train_size=size, is_exact=True)


def _images(name: str, data_dir: str | None) -> ImageFolders:
    if _has_folders(data_dir):
        return find_images(data_dir, every=_EVERY[name])
    from official.data import tfds_any
    from official.data.tfds_builder import class_names, prepared_builder

    try:
        builder = prepared_builder(_TFDS_NAME, data_dir, download=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"No ImageNet in {data_dir or 'TensorFlow Datasets'}: neither train/ with a "
            f"folder per class, nor {_TFDS_NAME} as TensorFlow Datasets prepares it. It "
            "cannot be downloaded without registration at https://image-net.org"
        ) from None
    names = class_names(builder)
    train, test = (
        _every_class(tfds_any.encoded(builder, split), _EVERY[name])
        for split in ("train", "validation")
    )
    return ImageFolders(names[:: _EVERY[name]], train, test)


def _has_folders(data_dir: str | None) -> bool:
    return data_dir is not None and (Path(data_dir) / "train").is_dir()


def _every_class(images: EncodedImages, every: int) -> EncodedImages:
    # A label below 0 stays, to be refused by its name.
    chosen = images.take((images.labels % every == 0) | (images.labels < 0))
    return dataclasses.replace(chosen, labels=chosen.labels // every)
