"""The small sets of the papers: the digits, MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100.

scikit-learn's digits (Alpaydin and Kaynak, 1998) are 1,797 images of 8x8 grey values 0
to 16 that need no download; a quarter of each class is the test. MNIST and Fashion-MNIST
(LeCun et al., 1998; Xiao et al., 2017) have 60,000 + 10,000 grey images of 28x28 pixels.
They are padded with black to 32x32, the 1024 inputs of the papers' networks, and not
augmented. The CIFAR sets (Krizhevsky, 2009) have 50,000 + 10,000 colour images of 32x32
pixels. Augmentation and normalization are those of Bai et al. (2022): four black pixels
on each side, a random crop, a flip; CIFAR-10 with ImageNet's mean and deviation.
"""

import dataclasses

import numpy as np

from official.data import presentation, splits, tfds
from official.data.description import KNOWN, Description, check_known
from official.data.images import DecodedImages, ImageSet, array_path
from official.data.presentation import Normalization, Presentation

_NORMALIZATIONS = {
    "digits": Normalization(16.0, (0.0,), (1.0,)),
    "mnist": Normalization(255.0, (0.1307,), (0.3081,)),
    "fashion_mnist": Normalization(255.0, (0.2860,), (0.3530,)),
    "cifar10": presentation.IMAGENET,
    "cifar100": Normalization(255.0, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
_BORDERS = {"mnist": 2, "fashion_mnist": 2}
_DIGITS_TEST_FRACTION = 0.25
_DIGITS_TEST_DRAW = 1


def load(name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
    """Loads one of them through TensorFlow Datasets, or from an array file."""
    images = _digits() if name == "digits" else tfds.arrays(name, data_dir)
    if name in _BORDERS:
        images = _bordered(images, _BORDERS[name])
    shape = images.train.pixels.shape[1:]
    check_known(name, shape, len(images.class_names))
    *size, channels = shape
    shown = presentation.small(tuple(size), channels)
    return images, dataclasses.replace(shown, normalization=_NORMALIZATIONS[name])


def describe(name: str, data_dir: str | None) -> Description:
    """Describes one of them, or what an array file in `data_dir` has of it."""
    if name == "digits" or not data_dir or not array_path(name, data_dir).exists():
        return KNOWN[name]
    images = tfds.arrays(name, data_dir)
    return KNOWN[name].of_size(len(images.train), len(images.test))


def encoded(name: str, data_dir: str | None) -> None:
    """None: they are always decoded as a whole."""


def _digits() -> ImageSet:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images[..., None].astype("uint8")
    counts = np.round(_DIGITS_TEST_FRACTION * np.bincount(digits.target)).astype(int)
    test = splits.held_out(digits.target, counts, draw=_DIGITS_TEST_DRAW)
    images = DecodedImages(pixels, digits.target)
    names = tuple(map(str, digits.target_names))
    return ImageSet(images.take(~test), images.take(test), names)


def _bordered(images: ImageSet, border: int) -> ImageSet:
    """With so many black pixels on every side."""
    sides = (border, border)
    train, test = (
        DecodedImages(np.pad(part.pixels, ((0, 0), sides, sides, (0, 0))), part.labels)
        for part in (images.train, images.test)
    )
    return ImageSet(train, test, images.class_names)
